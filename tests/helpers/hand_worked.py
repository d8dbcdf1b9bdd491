"""Networks of a few numbers, and what proxies read of them."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from jaxproxy.measure import (
    BoundTaps,
    Layout,
    Meter,
    Network,
    PassInputs,
    Readings,
    Slot,
    Tap,
    cross_entropy,
    make_passes,
    network_from_nnx,
    read_passes,
)
from jaxproxy.proxies import Proxy
from jaxproxy.types import Batch


def linear(*layers: Sequence[Sequence[float]]) -> tuple[Network, Any]:
    """Matrices one after another, without biases: a network and its parameters."""
    weights = [jnp.array(layer, jnp.float32) for layer in layers]

    class Chain(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.layers = nnx.List(
                [nnx.Linear(*w.shape, use_bias=False, rngs=rngs) for w in weights]
            )

        def __call__(self, x: Array) -> Array:
            for layer in self.layers:
                x = layer(x)
            return x

    params = {"layers": {i: {"kernel": w} for i, w in enumerate(weights)}}
    return network_from_nnx(Chain), {"params": params, "rest": {}}


def tapped(
    kinds: Sequence[str], function: Callable[[Array], Array] = lambda x: x
) -> Network:
    """A function without parameters, whose output is all that is tapped."""

    def apply(params: Any, x: Array, code: Array | None, tap: Tap) -> Array:
        y = function(x)
        for kind in kinds:
            y = tap(kind, y, kind)
        return y

    return Network(lambda key: {}, apply)


def score(
    proxy: Proxy,
    network: Network,
    params: Any,
    x: Any,
    y: Sequence[Any] | None = None,
) -> tuple[float, bool]:
    """The score of a network on batches [M, B, ...], and whether it is valid."""
    x = jnp.asarray(x, jnp.float32)
    labels = jnp.zeros(x.shape[:2], int) if y is None else jnp.array(y)
    prepared = PassInputs(params, Batch(x, labels), jax.random.key(0))
    runs = make_passes(proxy.meters)
    bound = [BoundTaps(run, network, network, cross_entropy) for run in runs]
    readings, _ = read_passes(bound, [prepared] * len(bound), None)
    return _result(proxy, readings)


def score_readings(proxy: Proxy, *values: Any) -> tuple[float, bool]:
    """The score of given readings of the proxy's meters, all slots being there."""
    # Numbers, but for hashes.
    hashes = [getattr(value, "dtype", None) == np.uint32 for value in values]
    arrays = [
        jnp.asarray(value, jnp.uint32 if is_hash else jnp.float32)
        for value, is_hash in zip(values, hashes, strict=True)
    ]
    given: list[tuple[Meter, Array]] = list(zip(proxy.meters, arrays, strict=True))
    slots = {meter.name: (Slot("given", "given", 0, 1),) for meter, _ in given}
    mask = {m.name: jnp.ones(len(v), bool) for m, v in given}
    table = {meter.name: value for meter, value in given}
    return _result(proxy, Readings(table, mask, Layout(tuple(slots.items()))))


def _result(proxy: Proxy, readings: Readings) -> tuple[float, bool]:
    assert proxy.score is not None
    value = proxy.score(readings)
    assert value.shape == ()
    return float(value), bool(proxy.is_valid(readings, value))
