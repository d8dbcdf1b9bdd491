"""Taps in users' own Linen and NNX modules, against the same network in plain JAX."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import lax

from jaxproxy.measure import (
    ActivationMeter,
    Meter,
    MeterSet,
    Network,
    Readings,
    Tap,
    collect,
    cross_entropy,
    network_from_linen,
    network_from_nnx,
)
from jaxproxy.meters import covariance, gradient
from jaxproxy.types import Batch

LAYERS = ("conv", "bn", "linear")
FORWARD = covariance(LAYERS, rows="raw")
SALIENCY = ActivationMeter(
    LAYERS,
    lambda h: jnp.abs(h.value * h.gradient).sum(),
    gradient=True,
    name="saliency",
)
GRADIENT = gradient("all")
METERS = (FORWARD, SALIENCY, GRADIENT)


class _Linen(linen.Module):
    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = linen.Conv(4, (3, 3), name="first")(x)
        x = linen.relu(linen.BatchNorm(use_running_average=False, name="norm")(x))
        x = linen.Conv(5, (3, 3), use_bias=False, name="second")(x)
        return linen.Dense(3, name="head")(x.mean((1, 2)))


class _NNX(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        first = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        second = nnx.Conv(4, 5, (3, 3), use_bias=False, rngs=rngs)
        self.convs = nnx.List([first, second])
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.head = nnx.Linear(5, 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.norm(self.convs[0](x)))
        return self.head(self.convs[1](x).mean((1, 2)))


def plain(
    weights: dict[str, jax.Array], shifts: dict[str, jax.Array], x: jax.Array
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Logits and activations; a shift is added to each activation."""
    layers = {}

    def tap(name: str, y: jax.Array) -> jax.Array:
        layers[name] = y + shifts[name] if name in shifts else y
        return layers[name]

    def conv(name: str, x: jax.Array) -> jax.Array:
        layout = ("NHWC", "HWIO", "NHWC")
        kernel = weights[f"{name}.kernel"]
        y = lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=layout
        )
        return tap(name, y + weights.get(f"{name}.bias", jnp.zeros(y.shape[-1])))

    x = conv("first", x)
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    normal = (x - mean) / jnp.sqrt(variance + 1e-5)
    x = tap("norm", normal * weights["norm.scale"] + weights["norm.bias"])
    x = conv("second", jnp.maximum(x, 0)).mean((1, 2))
    return tap("head", x @ weights["head.kernel"] + weights["head.bias"]), layers


class Model(NamedTuple):
    network: Network
    params: Any
    batch: Batch
    names: dict[str, str]
    """Plain name -> the module's."""

    def weights(self) -> dict[str, jax.Array]:
        """The parameters by plain name."""
        leaves = jax.tree_util.tree_leaves_with_path(self.params["params"])
        given = {".".join(str(k.key) for k in path): leaf for path, leaf in leaves}
        back = {theirs: ours for ours, theirs in self.names.items()}
        split = {name: name.rsplit(".", 1) for name in given}
        return {f"{back[split[n][0]]}.{split[n][1]}": w for n, w in given.items()}


NAMES = {name: name for name in ("first", "norm", "second", "head")}


@pytest.fixture(scope="module", params=["linen", "nnx"])
def model(request: pytest.FixtureRequest) -> Model:
    keys = iter(jax.random.split(jax.random.key(0), 20))
    batch = Batch(jax.random.normal(next(keys), (4, 6, 6, 3)), jnp.array([0, 2, 1, 0]))
    if request.param == "linen":
        network, names = network_from_linen(_Linen(), batch.x), NAMES
    else:
        network = network_from_nnx(lambda rngs: _NNX(rngs))
        names = NAMES | {"first": "convs.0", "second": "convs.1"}
    params = network.init(next(keys))
    moved = jax.tree.map(
        lambda w: w + 0.3 * jax.random.normal(next(keys), w.shape), params["params"]
    )
    return Model(network, params | {"params": moved}, batch, names)


@pytest.fixture(scope="module")
def readings(model: Model) -> Readings:
    network, params, batch, _ = model
    collected = jax.jit(lambda p: collect(network, p, batch, None, METERS))
    return collected(params)


def by_name(readings: Readings, meter: Meter) -> dict[str, np.ndarray]:
    names = [slot.name for slot in readings.slots(meter)]
    assert readings.present(meter).all()
    return dict(zip(names, np.asarray(readings[meter]), strict=True))


def test_network_computes_what_its_module_does(model: Model) -> None:
    network, params, batch, _ = model
    logits = network.apply(params, batch.x, None, Tap(MeterSet(())))
    expected, _ = plain(model.weights(), {}, batch.x)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_slots_have_names_and_kinds_of_their_layers(
    model: Model, readings: Readings
) -> None:
    given = [(s.name, s.kind, s.channels) for s in readings.slots(FORWARD)]
    layers = zip(NAMES, ("conv", "bn", "conv", "linear"), (4, 4, 5, 3), strict=True)
    assert given == [(model.names[name], kind, c) for name, kind, c in layers]
    kinds = {slot.name: slot.kind for slot in readings.slots(GRADIENT)}
    expected = {
        "first.kernel": "conv_w",
        "first.bias": "conv_b",
        "norm.scale": "bn_w",
        "norm.bias": "bn_b",
        "second.kernel": "conv_w",
        "head.kernel": "linear_w",
        "head.bias": "linear_b",
    }
    renamed = {}
    for name, kind in expected.items():
        layer, tensor = name.split(".")
        renamed[f"{model.names[layer]}.{tensor}"] = kind
    assert kinds == renamed


def test_forward_readings_are_those_of_the_plain_activations(
    model: Model, readings: Readings
) -> None:
    _, layers = plain(model.weights(), {}, model.batch.x)
    given = by_name(readings, FORWARD)
    for name, h in layers.items():
        flat = np.asarray(h, float).reshape(-1, h.shape[-1])
        second = flat.T @ flat / len(flat)
        expected = np.trace(second), (second**2).sum(), h.shape[-1]
        np.testing.assert_allclose(given[model.names[name]], expected, rtol=1e-4)


def test_backward_readings_are_gradients_of_shifts(
    model: Model, readings: Readings
) -> None:
    weights, (x, y) = model.weights(), model.batch
    _, layers = plain(weights, {}, x)
    shifts = {name: jnp.zeros_like(h) for name, h in layers.items()}
    cotangents = jax.grad(lambda s: cross_entropy(plain(weights, s, x)[0], y))(shifts)
    given = by_name(readings, SALIENCY)
    for name, h in layers.items():
        expected = jnp.abs(h * cotangents[name]).sum()
        np.testing.assert_allclose(given[model.names[name]], expected, rtol=1e-3)


def test_backward_readings_are_finite_differences(model: Model) -> None:
    network, params, batch, names = model
    direction = jax.random.normal(jax.random.key(5), (4, 6, 6, 5))
    meter = ActivationMeter(
        ("conv",), lambda h: _slope(direction, h.gradient), gradient=True, name="slope"
    )
    slope = by_name(collect(network, params, batch, None, [meter]), meter)

    def loss(step: float) -> float:
        shifted = plain(model.weights(), {"second": step * direction}, batch.x)[0]
        return float(cross_entropy(shifted, batch.y))

    expected = (loss(0.05) - loss(-0.05)) / 0.1
    np.testing.assert_allclose(slope[names["second"]], expected, rtol=1e-2)


def _slope(direction: jax.Array, cotangent: jax.Array) -> jax.Array:
    if direction.shape != cotangent.shape:
        return jnp.zeros(())
    return (direction * cotangent).sum()


def test_gradient_readings_are_those_of_jax_grad(
    model: Model, readings: Readings
) -> None:
    x, y = model.batch
    loss = jax.grad(lambda w: cross_entropy(plain(w, {}, x)[0], y))
    given = by_name(readings, GRADIENT)
    # A bias before BatchNorm has no gradient, only rounding.
    for name, g in loss(model.weights()).items():
        layer, tensor = name.split(".")
        expected = np.std(g, ddof=1), np.abs(g).max()
        actual = given[f"{model.names[layer]}.{tensor}"]
        np.testing.assert_allclose(actual, expected, rtol=2e-3, atol=1e-7)


def test_readings_are_the_same_again_and_under_vmap(
    model: Model, readings: Readings
) -> None:
    network, params, (x, y), _ = model

    @jax.jit
    @jax.vmap
    def each(x: jax.Array) -> Readings:
        return collect(network, params, Batch(x, y), None, METERS)

    both = each(jnp.stack([2 * x, x]))
    for meter in METERS:
        assert both[meter].shape == (2, *readings[meter].shape)
        given = both[meter][1]
        np.testing.assert_allclose(given, readings[meter], rtol=1e-3, atol=1e-7)
