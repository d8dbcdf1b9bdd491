"""Fidelities refuse what would fail later, inside a trace."""

import dataclasses
import json

import pytest

from jaxproxy.types import PRESETS, Fidelity


def test_presets_are_hashable_and_json_able():
    """They are static arguments and go into the manifest."""
    for fidelity in PRESETS.values():
        assert Fidelity(**json.loads(json.dumps(dataclasses.asdict(fidelity)))) == (
            fidelity
        )
        assert isinstance(hash(fidelity), int)
    assert Fidelity() == PRESETS["paper"]


@pytest.mark.parametrize("name", ["width", "cells", "batch_size", "resolution"])
@pytest.mark.parametrize("value", [0, -4, 8.0, True, "8", None])
def test_fields_are_positive_ints(name, value):
    """Also not ``True``, which is an int."""
    with pytest.raises(ValueError, match=f"{name} must be a positive int"):
        Fidelity(**{name: value})
