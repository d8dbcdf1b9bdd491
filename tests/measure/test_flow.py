"""Taps inside of switches and scans read what they read outside."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from jaxproxy import meters
from jaxproxy.measure import MeterSet, Network, Readings, Tap, collect
from jaxproxy.measure import _flow as flow
from jaxproxy.ops import conv
from jaxproxy.types import Batch

METERS = (
    meters.covariance("conv"),
    meters.spectrum("conv"),
    meters.gradient("weights"),
    meters.weight_size("weights"),
    meters.fisher_information("conv"),
)
WIDTHS = (3, 5)  # of what the two operations put between two convolutions
LAYERS = 3


def _init(key: Array) -> dict[str, Array]:
    keys = jax.random.split(key, 3)
    return {
        "a": jax.random.normal(keys[0], (LAYERS, 1, 1, 4, 5)),
        "b": jax.random.normal(keys[1], (LAYERS, 1, 1, 5, 4)),
        "stem": jax.random.normal(keys[2], (1, 1, 3, 4)),
    }


def _pair(width: int, params: dict[str, Array], x: Array, tap: Tap) -> Array:
    """Two convolutions with ``width`` channels between them."""
    a = tap.parameter("a.w", params["a"][..., :width], "conv_w")
    x = tap("a", jnp.tanh(conv(x, a)), "conv")
    b = tap.parameter("b.w", params["b"][..., :width, :], "conv_w")
    return tap("b", conv(x, b), "conv")


def _stem(params: dict[str, Array], x: Array, tap: Tap) -> Array:
    stem = tap.parameter("stem.w", params["stem"], "conv_w")
    return tap("stem", conv(x, stem), "conv")


def _looped(params: dict[str, Array], x: Array, code: Array | None, tap: Tap) -> Array:
    x = _stem(params, x, tap)

    def body(x: Array, layer: tuple[Array, dict[str, Array]], tap: Tap) -> Array:
        gene, params = layer
        pairs = [lambda x, tap, w=width: _pair(w, params, x, tap) for width in WIDTHS]
        return flow.switch(tap, gene, [lambda x, tap: x, *pairs], x)

    layers = code, {k: params[k] for k in "ab"}
    return flow.scan(tap, "xyz", body, x, layers).mean((1, 2))


def _unrolled(code: np.ndarray) -> Network:
    def apply(params: dict[str, Array], x: Array, _: None, tap: Tap) -> Array:
        x = _stem(params, x, tap)
        for i, (gene, name) in enumerate(zip(code, "xyz", strict=True)):
            if gene:
                here = {k: params[k][i] for k in "ab"}
                x = _pair(WIDTHS[gene - 1], here, x, _Prefixed(tap, name))
        return x.mean((1, 2))

    return Network(_init, apply)


class _Prefixed:
    def __init__(self, tap: Tap, prefix: str) -> None:
        self.tap, self.prefix = tap, prefix

    def __call__(self, name: str, x: Array, kind: str) -> Array:
        return self.tap(f"{self.prefix}.{name}", x, kind)

    def parameter(self, name: str, x: Array, kind: str) -> Array:
        return self.tap.parameter(f"{self.prefix}.{name}", x, kind)


@pytest.fixture(scope="module")
def batch() -> Batch:
    x = jax.random.normal(jax.random.key(0), (4, 4, 4, 3))
    return Batch(x, jnp.arange(4, dtype=jnp.int32))


def _present(readings: Readings, meter: meters.Meter) -> dict[str, np.ndarray]:
    rows = zip(
        readings.slots(meter), readings[meter], readings.present(meter), strict=True
    )
    return {slot.name: np.asarray(row) for slot, row, here in rows if here}


def test_same_readings_as_unrolled(batch: Batch) -> None:
    params = _init(jax.random.key(1))
    network = Network(_init, _looped)
    read = jax.jit(lambda code: collect(network, params, batch, code, METERS))
    for code in ([0, 0, 0], [1, 2, 0], [2, 2, 1]):
        looped = read(jnp.array(code))
        plain = collect(_unrolled(np.array(code)), params, batch, None, METERS)
        for meter in METERS:
            ours, theirs = _present(looped, meter), _present(plain, meter)
            assert list(ours) == list(theirs)
            for name, row in theirs.items():
                length = [slice(n) for n in row.shape]
                # The error of an eigenvalue is relative to the largest one.
                atol = 1e-6 * max(1, np.abs(row).max())
                np.testing.assert_allclose(
                    ours[name][tuple(length)], row, rtol=2e-4, atol=atol
                )


def test_one_slot_for_what_branches_share(batch: Batch) -> None:
    params = _init(jax.random.key(1))
    code = jnp.array([1, 2, 0])
    meter = meters.covariance("conv")
    readings = collect(Network(_init, _looped), params, batch, code, (meter,))
    names = [slot.name for slot in readings.slots(meter)]
    # "b" has 4 channels either way, "a" as many as the branch gives it.
    assert names == ["stem"] + [f"{i}.{s}" for i in "xyz" for s in ("a", "a", "b")]


@pytest.mark.smoke
def test_bad_calls() -> None:
    tap = Tap(MeterSet((meters.covariance("conv"),)))
    x = jnp.ones((2, 2, 2, 3))

    def body(x: Array, _: Array, tap: Tap) -> Array:
        return tap("a", x, "conv")

    with pytest.raises(ValueError, match="2 names for arrays of \\[3\\] rows"):
        flow.scan(tap, "ab", body, x, jnp.zeros(3))
    with pytest.raises(ValueError, match=r"tap 'x\.a' is used twice"):
        flow.scan(tap, "xx", body, x, jnp.zeros(2))
    tap("b", x, "conv")
    with pytest.raises(ValueError, match="tap 'b' is used twice"):
        flow.switch(tap, jnp.int32(0), [lambda x, tap: tap("b", x, "conv")], x)
