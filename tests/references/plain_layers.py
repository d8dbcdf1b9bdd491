"""Plain layers for networks that are written out, one architecture at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxproxy.measure import Meter, Readings
from jaxproxy.scoring import make_scorer
from jaxproxy.spaces import Space
from jaxproxy.testing import check_proxy
from jaxproxy.types import Fidelity

EPS = 1e-5


def convolve(x: Array, kernel: Array, stride: int = 1, groups: int = 1) -> Array:
    pad = kernel.shape[0] // 2
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), [(pad, pad)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups,
    )  # fmt: skip


def normalised(x: Array) -> Array:
    """BatchNorm with scale 1 and bias 0."""
    mean, var = x.mean((0, 1, 2), keepdims=True), x.var((0, 1, 2), keepdims=True)
    return (x - mean) / jnp.sqrt(var + EPS)


def cross_entropy(logits: Array, y: Array) -> Array:
    return -jax.nn.log_softmax(logits)[np.arange(len(y)), y].mean()


def spread(gradient: Array) -> np.ndarray:
    """Standard deviation, 0 of one element, and largest magnitude of a tensor."""
    flat = np.asarray(gradient).ravel()
    std = flat.std(ddof=1) if flat.size > 1 else 0
    return np.array([std, np.abs(flat).max()])


def covariance(x: Array) -> np.ndarray:
    """Trace and squared norm of the channels' covariance, and their number."""
    flat = np.asarray(x).reshape(-1, x.shape[-1])
    matrix = np.cov(flat.T).reshape(x.shape[-1], -1)
    return np.array([np.trace(matrix), (matrix**2).sum(), x.shape[-1]])


def present(readings: Readings, meter: Meter) -> dict[str, np.ndarray]:
    """Name -> reading of the slots that an architecture has."""
    rows = zip(
        readings.slots(meter), readings[meter], readings.present(meter), strict=True
    )
    return {slot.name: np.asarray(row) for slot, row, here in rows if here}


def assert_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """The same names, and readings equal but for rounding."""
    assert sorted(ours) == sorted(theirs)
    for name, row in theirs.items():
        np.testing.assert_allclose(ours[name], row, rtol=2e-3, atol=1e-6, err_msg=name)


def assert_same_readings(
    readings: Readings,
    meters: tuple[Meter, Meter],
    loss: Callable[[dict[str, Array]], tuple[Array, dict[str, Array]]],
    weights: dict[str, Array],
) -> None:
    """Covariances and gradients of a network that is written out.

    Args:
      readings: of the network under test.
      meters: covariances of convolutions, spreads of gradients.
      loss: weights by name -> loss, and the outputs of convolutions by name.
      weights: those of the architecture.
    """
    gradients, outputs = jax.jit(jax.grad(loss, has_aux=True))(weights)
    theirs = {name: covariance(y) for name, y in outputs.items()}
    assert_same(present(readings, meters[0]), theirs)
    theirs = {f"{name}.weight": spread(g) for name, g in gradients.items()}
    assert_same(present(readings, meters[1]), theirs)


def assert_one_program(space: Space, fidelity: Fidelity) -> None:
    """Contracts of two proxies, whatever the architectures, by one trace."""
    scorer = make_scorer(
        space, ["capacity", "naswot"], fidelity=fidelity, devices=1, block_size=6
    )
    for proxy in scorer.proxies:
        check_proxy(proxy, space, fidelity=fidelity, scorer=scorer)
    assert scorer.num_traces == 1
