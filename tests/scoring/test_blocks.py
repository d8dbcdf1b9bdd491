"""Which devices a program runs on."""

from types import SimpleNamespace
from typing import Any, cast

import jax
import numpy as np
import pytest

from jaxproxy.scoring._devices import Devices
from jaxproxy.scoring._lanes import Lanes
from jaxproxy.scoring._program import Blocks


def _blocks(platform: str, num: int = 2) -> Blocks:
    devices = np.array([SimpleNamespace(platform=platform)] * num, object)
    mesh = cast(Any, SimpleNamespace(devices=devices, size=num))
    return Blocks(Devices(mesh), 64, Lanes(16))


def test_float64_stays_on_cpus() -> None:
    blocks = _blocks("cpu")
    assert blocks.in_float64() is blocks


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_float64_is_left_to_the_host_of_an_accelerator(platform: str) -> None:
    blocks = _blocks(platform).in_float64()
    assert blocks.devices.all == jax.devices("cpu")[:1]
    assert (blocks.size, blocks.lanes) == (64, Lanes(1))


def test_a_host_that_may_not_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(backend: str) -> list[Any]:
        raise RuntimeError(f"Unknown backend {backend}")

    monkeypatch.setattr(jax, "local_devices", refuse)
    with pytest.raises(ValueError, match=r"JAX_PLATFORMS=tpu,cpu.*Unknown backend cpu"):
        _blocks("tpu").in_float64()
