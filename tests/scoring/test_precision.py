"""Products are as precise as a fidelity says, whatever JAX is set to."""

import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from helpers.compiled import precisions
from helpers.toy_space import toy

from jaxproxy.runs import StoreError
from jaxproxy.scoring import make_scorer, sweep
from jaxproxy.scoring._devices import check_precision
from jaxproxy.spaces import nasbench201
from jaxproxy.types import PRECISIONS, Fidelity

SIZE = Fidelity(width=2, cells=1, batch_size=2, resolution=8)


@pytest.mark.parametrize("lanes", [1, 2])
def test_products_are_of_float32_whatever_jax_is_set_to(lanes: int) -> None:
    options = {"fidelity": SIZE, "devices": 1, "block_size": 2, "lanes": lanes}
    scorer = make_scorer(nasbench201(), ["intrain"], **options)
    text = scorer.lower()[0].as_text()
    assert precisions(text) == {"HIGHEST"}
    with jax.default_matmul_precision("bfloat16"):
        assert scorer.lower()[0].as_text() == text


def test_scores_are_the_same_whatever_jax_is_set_to() -> None:
    codes = toy().sample(np.random.default_rng(0), 4)
    scores = []
    for precision in (None, "bfloat16"):
        scorer = make_scorer(toy(), ["grad_norm"], devices=1, block_size=4)
        with jax.default_matmul_precision(precision):
            scores.append(scorer.score_block(codes).scores["grad_norm"])
    np.testing.assert_array_equal(*scores)


def test_a_precision_is_one_of_three() -> None:
    assert Fidelity().precision == PRECISIONS[0] == "float32"
    with pytest.raises(ValueError, match="unknown precision 'half'; choose from"):
        Fidelity(precision="half")


@pytest.mark.parametrize(
    ("platform", "choices"),
    [
        ("cpu", {"float32"}),
        ("gpu", {"float32", "tensorfloat32"}),
        ("tpu", {"float32", "bfloat16"}),
    ],
)
def test_devices_refuse_what_they_do_not_compute_in(
    platform: str, choices: set[str]
) -> None:
    devices: Any = [SimpleNamespace(platform=platform)]
    for precision in PRECISIONS:
        if precision in choices:
            check_precision(precision, devices)
        else:
            with pytest.raises(ValueError, match=f"no products of .*'{precision}'"):
                check_precision(precision, devices)


def test_a_cpu_refuses_less_than_float32() -> None:
    fidelity = dataclasses.replace(SIZE, precision="bfloat16")
    with pytest.raises(ValueError, match=r"choose from \['float32'\]"):
        make_scorer(toy(), ["grad_norm"], fidelity=fidelity)


def test_a_run_goes_on_with_the_same_precision_only(tmp_path: Any) -> None:
    """One of an earlier version, which says nothing, is of float32."""
    codes = toy().sample(np.random.default_rng(0), 3)
    scorer = make_scorer(toy(), ["params"], fidelity=SIZE, devices=1)
    assert scorer.describe()["fidelity"]["precision"] == "float32"
    sweep(scorer, codes, tmp_path, progress=False)
    file = tmp_path / "_manifest.json"
    manifest = json.loads(file.read_text())
    del manifest["scorer"]["fidelity"]["precision"]
    file.write_text(json.dumps(manifest))
    sweep(scorer, codes, tmp_path, progress=False)
    manifest["scorer"]["fidelity"]["precision"] = "bfloat16"
    file.write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match=r"precision is 'bfloat16' there and 'float32"):
        sweep(scorer, codes, tmp_path, progress=False)
