"""The derivative of readings in forward mode is that of reverse mode twice."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxproxy.measure import Model, collect, cross_entropy, make_batch
from jaxproxy.meters import gradient_flow, gradient_norm
from jaxproxy.meters._network import _derivative, is_weight
from jaxproxy.spaces import SPACES, Mode, nasbench201
from jaxproxy.types import Fidelity

TINY = Fidelity(width=3, cells=1, batch_size=4, resolution=8)
CODES = [(3, 2, 3, 4, 1, 2), (2, 2, 3, 3, 4, 1), (0, 1, 0, 3, 0, 2)]


def _model(code: tuple[int, ...], *, plain: bool) -> Model:
    network = nasbench201().network(TINY, Mode(plain=plain))
    batch = make_batch(jax.random.key(1), TINY, 10)
    params = network.init(jax.random.key(0))
    return Model(network, params, batch, jnp.array(code), jax.random.key(2))


def _by_reverse_mode_twice(model: Model) -> jax.Array:
    x, y = model.batch

    def weights(tree: Any) -> Any:
        def keep(path: Any, leaf: jax.Array) -> jax.Array:
            return jnp.zeros_like(leaf) if path[-1].key in ("scale", "bias") else leaf

        return jax.tree_util.tree_map_with_path(keep, tree)

    def flow(params: Any) -> jax.Array:
        loss = jax.grad(lambda params: cross_entropy(model.logits(params, x), y))
        squares = jax.tree.map(lambda g: jnp.square(g).sum(), weights(loss(params)))
        return jax.tree.reduce(jnp.add, squares) / 2

    products = jax.tree.map(
        lambda w, d: (w * d).sum(), weights(model.params), jax.grad(flow)(model.params)
    )
    return jax.tree.reduce(jnp.add, products)


@pytest.fixture(scope="module")
def flows() -> tuple[jax.stages.Wrapped, jax.stages.Wrapped]:
    """Ours and the plain one as functions of a code, compiled once for all."""
    with jax.enable_x64(True):
        fast, plain = (_model(CODES[0], plain=plain) for plain in (False, True))
        return (
            jax.jit(lambda code: gradient_flow().measure(fast._replace(code=code))),
            jax.jit(lambda code: _by_reverse_mode_twice(plain._replace(code=code))),
        )


@pytest.mark.parametrize("code", CODES, ids=str)
def test_gradient_flow_is_that_of_reverse_mode_twice(
    code: tuple[int, ...], flows: tuple[jax.stages.Wrapped, jax.stages.Wrapped]
) -> None:
    with jax.enable_x64(True):
        ours, theirs = (flow(jnp.array(code)) for flow in flows)
    np.testing.assert_allclose(ours, theirs, rtol=1e-8)


def test_a_derivative_is_the_slope_of_the_readings() -> None:
    """Of any meter of gradients, here by a difference in float64."""
    with jax.enable_x64(True):
        model = _model(CODES[0], plain=False)
        direction = jax.tree.map(jnp.cos, model.params)
        meter = gradient_norm("conv")
        slope = jax.jit(lambda: _derivative(model, meter, direction))()

        @jax.jit
        def moved(step: float) -> jax.Array:
            params = jax.tree.map(lambda w, d: w + step * d, model.params, direction)
            given = model.network, params, model.batch, model.code, [meter]
            return collect(*given)[meter]

        difference = (moved(1e-5) - moved(-1e-5)) / 2e-5
    assert np.abs(slope).max() > 1e-2
    np.testing.assert_allclose(slope, difference, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", sorted(SPACES))
def test_weights_are_what_is_drawn(name: str) -> None:
    """By their names, which scales, biases and other constants must not have."""
    fidelity = Fidelity(width=8, cells=1, batch_size=2, resolution=32)
    params = SPACES[name]().network(fidelity, Mode()).init(jax.random.key(0))
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        last = str(getattr(path[-1], "key", getattr(path[-1], "idx", "")))
        is_drawn = len(np.unique(leaf)) > 2
        assert is_weight(last) == is_drawn, jax.tree_util.keystr(path)
