"""Scores of networks whose weights are all equal, without a scorer."""

from collections.abc import Callable

import jax
from jax import Array

from jaxproxy.measure import PassInputs, make_passes, read_passes
from jaxproxy.proxies import Proxy
from jaxproxy.scoring import bind_pass
from jaxproxy.spaces import Space
from jaxproxy.types import Batch, Fidelity


def make_program(
    proxy: Proxy, space: Space, fidelity: Fidelity, batch: Batch
) -> Callable[[Array], Array]:
    """Returns code -> score on the images of a batch; call it under float64."""
    (spec,) = make_passes(proxy.meters)
    bound = bind_pass(space, fidelity, spec)
    images = jax.tree.map(lambda leaf: leaf[None], batch)
    prepared = [bound.prepare(PassInputs((), images, jax.random.key(0)))]

    def score(code: Array) -> Array:
        readings, _ = read_passes([bound], prepared, code)
        assert proxy.score is not None
        return proxy.score(readings)

    return score
