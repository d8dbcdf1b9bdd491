"""Golden values of PyTorch, with the weights and inputs that they were computed with.

``golden/proxies.json`` is written by ``benchmarks/torch/make_golden.py``; its ``meta``
says what is drawn from which seed. Nothing here needs PyTorch.
"""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxproxy.spaces import nasbench201
from jaxproxy.testing._oracle_cases import Case
from jaxproxy.testing._oracle_cases import parameters as place
from jaxproxy.types import Batch, Fidelity

FILE = Path(__file__).parents[1] / "golden" / "proxies.json"
DATA: dict[str, Any] = json.loads(FILE.read_text())
ENTRIES: list[dict[str, Any]] = DATA["archs"]
NAMES = [entry["name"] for entry in ENTRIES]
SPACE = nasbench201(num_classes=DATA["meta"]["num_classes"])


class Inputs(NamedTuple):
    """Four batches in float64, NHWC, and the Zen-score's perturbation."""

    batches: tuple[Batch, ...]
    eps: Array


@cache
def inputs() -> Inputs:
    """What all entries share. Call it, and all else here, with x64 enabled."""
    rng = np.random.default_rng(777)
    shape = (DATA["meta"]["B"], 3, DATA["meta"]["R"], DATA["meta"]["R"])
    batches = []
    for _ in range(4):
        x = _images(rng.standard_normal(shape))
        y = rng.integers(0, DATA["meta"]["num_classes"], len(x))
        batches.append(Batch(x, jnp.asarray(y, jnp.int32)))
    return Inputs(tuple(batches), _images(rng.standard_normal(shape)))


def fidelity(entry: dict[str, Any]) -> Fidelity:
    """Size of the network and of a batch."""
    meta = DATA["meta"]
    return Fidelity(meta["C"], entry["N"], meta["B"], meta["R"])


def code(entry: dict[str, Any]) -> np.ndarray:
    """The architecture."""
    return SPACE.from_str(entry["arch"])


def parameters(
    entry: dict[str, Any], *, scaled: bool = True, draw: int | None = None
) -> Any:
    """The network's parameters in float64.

    Args:
      entry: of :data:`ENTRIES`.
      scaled: whether weights are He-normal; else N(0, 1).
      draw: of the proxy ``cv``, from 0; None for all other proxies.
    """
    seed = 1000 + entry["index"]
    if draw is not None:
        seed = 10000 + 100 * entry["index"] + draw
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in entry["param_order"]:
        if len(shape) > 1:
            scale = math.sqrt(2 / math.prod(shape[1:])) if scaled else 1.0
            values = rng.standard_normal(shape) * scale
        else:
            values = np.full(shape, float(name.endswith("weight")))
            if entry["perturbed"]:
                values = values + 0.1 * rng.standard_normal(shape)
        tensors[name] = values.astype(np.float32)
    batch = inputs().batches[0]
    case = Case(
        entry["name"], entry["arch"], fidelity(entry), batch, batch, tensors, {}
    )
    return place(SPACE, case, code(entry))


def signs(index: int, shape: tuple[int, ...]) -> Array:
    """AZ-NAS's random signs of a feature [N, H, W, C], the first cell's index being 1.

    The seed is of the NCHW array.
    """
    n, height, width, channels = shape
    rng = np.random.default_rng(5000 + index)
    drawn = np.sign(rng.standard_normal((n, channels, height, width)))
    return jnp.asarray(drawn.transpose(0, 2, 3, 1))


def _images(nchw: np.ndarray) -> jax.Array:
    return jnp.asarray(nchw.astype(np.float32).transpose(0, 2, 3, 1), jnp.float64)
