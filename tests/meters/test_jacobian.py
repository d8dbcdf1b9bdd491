"""Slopes of single parameters, image by image, against one pass for each of them."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen
from jax import Array

from jaxproxy.measure import (
    Model,
    Network,
    Tap,
    collect,
    make_batch,
    network_from_linen,
    scan,
    switch,
)
from jaxproxy.meters import _jacobian as jacobian
from jaxproxy.meters import covariance, first_slopes
from jaxproxy.spaces import nasbench201
from jaxproxy.spaces._layers import Conv, tapped_conv_bn, tapped_dense
from jaxproxy.spaces._mode import Mode
from jaxproxy.types import Batch, Fidelity

TINY = Fidelity(width=4, cells=1, batch_size=2, resolution=8)
MODE = Mode("kaiming", "fixed", plain=True)


def _moved(params: Any) -> Any:
    """Parameters of which none is zero or one."""
    return jax.tree.map(
        lambda p: p + 0.1 * jax.random.normal(jax.random.key(p.size), p.shape), params
    )


def _small() -> Network:
    """Every layer that taps its slopes, the middle ones in a loop and a branch."""
    conv = jax.ShapeDtypeStruct((3, 3, 3, 4), jnp.float32)
    depthwise = jax.ShapeDtypeStruct((2, 3, 3, 1, 4), jnp.float32)

    def init(key: Array) -> Any:
        shapes = {"conv": conv, "depthwise": depthwise, "dense": np.zeros((4, 5))}
        return {k: jax.random.normal(key, v.shape) for k, v in shapes.items()} | {
            "affine": jnp.ones((2, 4)), "affines": jnp.ones((2, 2, 4)),
            "bias": jnp.ones(5),
        }  # fmt: skip

    def layer(code: Array, x: Array, here: Any, tap: Tap) -> Array:
        def separable(x: Array, tap: Tap) -> Array:
            return tapped_conv_bn("sep", x, Conv(*here), tap, MODE, groups=4)

        return switch(tap, code[0], [lambda x, tap: x, separable], x)

    def apply(params: Any, x: Array, code: Array | None, tap: Tap) -> Array:
        stem = Conv(params["conv"], *params["affine"])
        x = tapped_conv_bn("stem", x, stem, tap, MODE, stride=2)
        rows = params["depthwise"], params["affines"][0], params["affines"][1]
        x = scan(tap, ["0", "1"], partial(layer, code), jax.nn.relu(x), rows)
        x = jax.nn.relu(x).mean((1, 2))
        return tapped_dense("head", x, params["dense"], params["bias"], tap)

    return Network(init, apply)


def _model(network: Network, params: Any, x: Array) -> Model:
    batch = Batch(x, jnp.zeros(len(x), int))
    return Model(network, params, batch, None, jax.random.key(0))


def _compare(network: Network, codes: list[list[int]]) -> None:
    params = _moved(network.init(jax.random.key(0)))
    x = make_batch(jax.random.key(1), TINY, 10).x

    def both(code: Array) -> tuple[jacobian.Jacobian, jacobian.Jacobian]:
        model = _model(network, params, x)._replace(code=code)
        assert jacobian._taps_slopes(model)
        return jacobian._by_class(model), jacobian._one_by_one(model)

    compare = jax.jit(both)
    for code in codes:
        one, other = compare(jnp.array(code))
        np.testing.assert_array_equal(one.present, other.present)
        np.testing.assert_allclose(one.logits, other.logits, rtol=1e-4, atol=1e-5)
        expected = np.where(other.present, other.values, 0)
        found = np.where(one.present, one.values, 0)
        largest = np.abs(expected).max()
        assert largest > 0.1
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * largest)


def test_by_class_is_one_by_one() -> None:
    _compare(_small(), [[0], [1]])


def test_nasbench201_by_class_is_one_by_one() -> None:
    network = nasbench201().network(TINY, Mode(norm="fixed"))
    _compare(network, [[3, 2, 4, 3, 1, 2], [0, 1, 2, 4, 3, 3], [0] * 6])


def test_networks_without_slopes_are_run_one_by_one() -> None:
    x = jnp.arange(6.0).reshape(3, 2)
    network = network_from_linen(linen.Dense(2), x, norm="fixed")
    params = network.init(jax.random.key(0))
    model = _model(network, params, x)
    assert not jacobian._taps_slopes(model)
    logits, values, present = jacobian.logit_jacobian(model)
    assert logits.shape == (3, 2)
    assert present.tolist() == [True, True]
    # d logit_0 / d b_0 = 1 and d logit_0 / d w_00 = x_0; logit 1 has other parameters.
    np.testing.assert_array_equal(values[:, 0, 0], 1)
    np.testing.assert_array_equal(values[:, 0, 1], x[:, 0])
    np.testing.assert_array_equal(values[:, 1], 0)


def test_slopes_of_dependent_images_are_not_tapped() -> None:
    network = nasbench201().network(TINY, Mode(plain=True))
    params, x = network.init(jax.random.key(0)), jnp.zeros((2, 16, 16, 3))
    model = _model(network, params, x)
    model = model._replace(code=jnp.zeros(6, jnp.int32))
    assert not jacobian._taps_slopes(model)


def test_slopes_share_no_pass_with_activations() -> None:
    network = nasbench201().network(TINY, Mode(norm="fixed"))
    params = network.init(jax.random.key(0))
    batch, code = make_batch(jax.random.key(1), TINY, 10), jnp.zeros(6, jnp.int32)
    meters = [first_slopes(), covariance()]
    with pytest.raises(ValueError, match=r"slopes share no pass with covariance\(conv"):
        collect(network, params, batch, code, meters)
