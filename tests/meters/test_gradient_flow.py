"""The derivative of readings in forward mode is that of reverse mode twice."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen
from helpers.every import spaces

import jaxproxy
from jaxproxy.measure import (
    Model,
    ParameterMeter,
    collect,
    cross_entropy,
    make_batch,
    network_from_linen,
)
from jaxproxy.meters import (
    PARAMETERS,
    accuracies_of_constants,
    gradient_flow,
)
from jaxproxy.meters._network import _WEIGHTS, _derivative_along_weights
from jaxproxy.spaces import SPACES, Mode, nasbench201
from jaxproxy.types import Batch, Fidelity

TINY = Fidelity(width=3, cells=1, batch_size=4, resolution=8)
CONSTANT = re.compile("scale|bias|offset|norm")
"""In the names that networks of our spaces give parameters that are no weights."""
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


# One of each form: nested loops, kernels that are scaled, a kernel of its own, heads.
FORMS = (
    *("nasbench201", "nasbench_nlp", "transnasbench101_micro"),
    *("nasbench101", "natsbench_sss"),
)


@pytest.mark.parametrize("name", spaces(FORMS[:3], FORMS))
def test_a_derivative_is_the_slope_of_the_readings(name: str) -> None:
    """Through loops and branches, by a difference in float64."""
    fidelity = Fidelity(width=8, cells=1, batch_size=2, resolution=32)
    with jax.enable_x64(True):
        space = SPACES[name]()
        network = space.network(fidelity, Mode())
        code = jnp.asarray(space.sample(np.random.default_rng(0), 1)[0])
        keys = jax.random.split(jax.random.key(0), 3)
        params = jax.jit(network.init)(keys[0])
        if network.choose is not None:
            params = network.choose(params, code)
        batch = space.task.batch(keys[1], fidelity)
        model = Model(network, params, batch, code, keys[2], space.task.loss)
        meter = ParameterMeter(
            _WEIGHTS, lambda p: jnp.square(p.gradient).sum(), reads="gradient", name="g"
        )
        slope = jax.jit(lambda: _derivative_along_weights(model, meter))()

        @jax.jit
        def moved(step: float) -> jax.Array:
            def grow(path: Any, leaf: jax.Array) -> jax.Array:
                return leaf if CONSTANT.search(str(path[-1])) else leaf * (1 + step)

            params = jax.tree_util.tree_map_with_path(grow, model.params)
            given = network, params, batch, code, [meter]
            return collect(*given, loss=space.task.loss)[meter]

        difference = (moved(1e-5) - moved(-1e-5)) / 2e-5
    assert np.abs(slope).max() > 1e-2
    np.testing.assert_allclose(
        slope, difference, rtol=1e-4, atol=1e-6 * np.abs(slope).max()
    )


@pytest.mark.parametrize("name", sorted(SPACES))
def test_weights_are_what_is_drawn(name: str) -> None:
    """By the kinds that networks give their tensors; all others are constants."""
    fidelity = Fidelity(width=8, cells=1, batch_size=2, resolution=32)
    space = SPACES[name]()
    network = space.network(fidelity, Mode())
    spread = ParameterMeter(
        PARAMETERS["all"], lambda p: p.weight.max() - p.weight.min(), name="spread"
    )
    code = jnp.asarray(space.sample(np.random.default_rng(0), 1)[0])

    @jax.jit
    def read(code: jax.Array) -> Any:
        params = network.init(jax.random.key(0))
        if network.choose is not None:
            params = network.choose(params, code)
        batch = space.task.batch(jax.random.key(1), fidelity)
        return collect(network, params, batch, code, [spread])

    readings = read(code)
    kinds = {slot.kind for slot in readings.slots(spread)}
    assert kinds & {"conv_w", "linear_w"}
    for slot, value, present in zip(
        readings.slots(spread),
        readings[spread],
        readings.present(spread),
        strict=True,
    ):
        # Where widths are data, what does not exist is 0, and constants spread too.
        if present and not (value == 1 and slot.kind in ("bn_w", "ln_w")):
            assert (slot.kind in _WEIGHTS) == (value > 0), slot


def _named_norm(scale: str, shift: str) -> linen.Module:
    """A network with a normalisation of its own, by the names of its parameters."""

    class Norm(linen.Module):
        @linen.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            x = (x - x.mean(0)) / (x.std(0) + 0.1)
            ones, zeros = linen.initializers.ones, linen.initializers.zeros
            gain = self.param(scale, ones, (x.shape[-1],))
            return x * gain + self.param(shift, zeros, (x.shape[-1],))

    return linen.Sequential([linen.Dense(6), Norm(), linen.relu, linen.Dense(3)])


def test_scales_and_shifts_are_told_by_what_they_are_and_not_by_name() -> None:
    """``gamma`` and ``beta`` were taken for weights, ``scale`` and ``bias`` not."""
    x = jax.random.normal(jax.random.key(0), (8, 4))
    models = {"plain": ("scale", "bias"), "greek": ("gamma", "beta")}
    found = jaxproxy.population(
        {name: _named_norm(*names) for name, names in models.items()},
        x,
        ["grasp", "weight_agnostic", "snip", "ntk"],
    )
    assert not any(found.refused.values())
    for name, (plain, greek) in found.scores.items():
        assert np.isfinite(plain), name
        np.testing.assert_allclose(plain, greek, rtol=1e-5, err_msg=name)


def test_a_constant_leaves_scales_and_shifts_alone() -> None:
    """Weights all 0 leave the shifts, here one of class 2, as the only output."""
    x = jax.random.normal(jax.random.key(0), (8, 4))
    network = network_from_linen(linen.Sequential([_named_norm("gamma", "beta")]), x)
    params = network.init(jax.random.key(1))
    dense = params["params"]["layers_0"]["layers_3"]
    dense["bias"] = jnp.array([0.0, 0.0, 1.0])
    model = Model(network, params, Batch(x, jnp.full(8, 2)), None, jax.random.key(2))
    assert accuracies_of_constants((0.0, 1.0)).measure(model)[0] == 1
