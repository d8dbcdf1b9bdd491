"""Odd models, with layers in loops, shared, subclassed or unused: read or refused."""

from collections.abc import Callable
from typing import Any

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
    ParameterMeter,
    Readings,
    Tap,
    collect,
    cross_entropy,
    network_from_linen,
    network_from_nnx,
    network_from_tapped,
)
from jaxproxy.meters import covariance, gradient
from jaxproxy.types import Batch

GRADIENT = gradient("all")
FORWARD = covariance("convlin", rows="raw")
BACKWARD = ActivationMeter(
    ("linear",),
    lambda h: jnp.abs(h.value * h.gradient).sum(),
    gradient=True,
    name="saliency",
)
NORM = ParameterMeter(
    ("linear_w", "other_w", "other_b"),
    lambda p: jnp.square(p.weight).sum(),
    reads="gradient",
    name="norm",
)
X = np.random.default_rng(1).standard_normal((4, 6)).astype(np.float32)
BATCH = Batch(X, np.array([0, 1, 2, 0]))
DENSE = (FORWARD, BACKWARD)


def by_name(readings: Readings, meter: Meter) -> dict[str, np.ndarray]:
    names = [slot.name for slot in readings.slots(meter)]
    assert readings.present(meter).all()
    return dict(zip(names, np.asarray(readings[meter]), strict=True))


def small(network: Network, *meters: Meter) -> Readings:
    return collect(network, network.init(jax.random.key(0)), BATCH, None, meters)


class _Cell(linen.Module):
    @linen.compact
    def __call__(self, x: jax.Array, _: None = None) -> tuple[jax.Array, None]:
        return jnp.tanh(linen.Dense(6)(x)), None


class _Lifted(linen.Module):
    lift: Callable[[type], Callable[..., Any]]

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return self.lift(_Cell)()(x, None)[0]


def _scan(cell: type) -> Callable[..., Any]:
    return linen.scan(
        cell, variable_axes={"params": 0}, split_rngs={"params": True}, length=3
    )


class _Scanned(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.dense = nnx.Linear(6, 6, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return lax.scan(lambda x, _: (jnp.tanh(self.dense(x)), None), x, length=3)[0]


LIFTED = {
    "linen scan": lambda: network_from_linen(_Lifted(_scan), X),
    "linen remat": lambda: network_from_linen(_Lifted(linen.remat), X),
    "nnx scan": lambda: network_from_nnx(lambda rngs: _Scanned(rngs)),
}


@pytest.mark.parametrize("name", LIFTED)
def test_a_layer_inside_a_transformation_is_read_step_by_step(name: str) -> None:
    """By hand, and by ``jax.grad`` of what is added to its output."""
    network, steps = LIFTED[name](), 1 if "remat" in name else 3
    params = network.init(jax.random.key(0))
    by_rank = {leaf.ndim: leaf for leaf in jax.tree.leaves(params["params"])}
    if 3 not in by_rank:  # one layer, perhaps at every step
        by_rank = {n + 1: jnp.stack([leaf] * steps) for n, leaf in by_rank.items()}
    kernels, biases = by_rank[3], by_rank[2]
    assert len(kernels) == steps

    def forward(added: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
        x, hidden = jnp.asarray(X), []
        for kernel, bias, more in zip(kernels, biases, added, strict=True):
            hidden.append(x @ kernel + bias + more)
            x = jnp.tanh(hidden[-1])
        return x, hidden

    zeros = jnp.zeros((steps, *X.shape))
    hidden = forward(zeros)[1]
    gradients = jax.grad(lambda a: cross_entropy(forward(a)[0], BATCH.y))(zeros)
    readings = by_name(small(network, BACKWARD), BACKWARD)
    for i, name in enumerate(readings):
        assert name.endswith(f".{i}" if steps > 1 else "Dense_0")
    expected = [
        float(jnp.abs(h * g).sum()) for h, g in zip(hidden, gradients, strict=True)
    ]
    np.testing.assert_allclose(list(readings.values()), expected, rtol=1e-4)
    covariances = np.asarray(small(network, FORWARD)[FORWARD])
    squares = [float(jnp.square(h).sum()) / len(X) for h in hidden]
    np.testing.assert_allclose(covariances[:, 0], squares, rtol=1e-5)


class _Endless(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.dense = nnx.Linear(6, 6, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        small = lambda x: jnp.square(x).sum() < 1e3  # noqa: E731
        return lax.while_loop(small, lambda x: 2 * x + self.dense(x), x)


def test_a_layer_inside_a_loop_of_unknown_length_is_refused() -> None:
    network = network_from_nnx(lambda rngs: _Endless(rngs))
    with pytest.raises(ValueError, match="'dense' is inside a loop, vmap or custom"):
        small(network, FORWARD)


class _Mapped(nnx.Module):
    """Over an axis of six, which then comes before the images."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.dense = nnx.Linear(6, 6, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        many = jnp.stack([x, 2 * x, 3 * x], axis=1)
        return jax.vmap(self.dense, in_axes=1, out_axes=1)(many).mean(1)


def test_a_layer_inside_a_vmap_is_refused_where_it_is_read() -> None:
    """Its first axis is the one that is mapped: naswot compared those, not images."""
    network = network_from_nnx(lambda rngs: _Mapped(rngs))
    for meter in DENSE:
        with pytest.raises(ValueError, match="'dense' is inside a vmap of the model"):
            small(network, meter)
    assert (small(network, GRADIENT)[GRADIENT][:, 1] > 0).all()


def test_a_layer_inside_a_jit_is_read() -> None:
    network = network_from_linen(_Lifted(linen.jit), X)
    params = network.init(jax.random.key(0))
    (kernel,) = [w for w in jax.tree.leaves(params) if w.ndim == 2]
    hidden = X @ np.asarray(kernel)
    (row,) = by_name(small(network, FORWARD), FORWARD).values()
    np.testing.assert_allclose(row[0], np.square(hidden).sum() / len(X), rtol=1e-5)


@pytest.mark.parametrize("make", LIFTED.values(), ids=list(LIFTED))
def test_parameters_inside_a_transformation_are_read(
    make: Callable[[], Network],
) -> None:
    assert (small(make(), GRADIENT)[GRADIENT][:, 1] > 0).all()


class _Branching(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.dense = nnx.Linear(6, 6, rngs=rngs)

    def __call__(self, x: jax.Array, code: jax.Array, tap: Tap) -> jax.Array:
        def layers(h: jax.Array) -> jax.Array:
            scale = tap.parameter("scale", jnp.full(6, 2.0), "bn_w")
            return jax.nn.relu(self.dense(jax.nn.relu(h)) * scale)

        branches = [lambda h: h, jax.nn.relu, layers]
        x = lax.switch(code[0], branches, x + 1)
        return jax.nn.relu(x - 0.5)


@pytest.mark.parametrize("chosen", range(3))
def test_what_is_inside_a_branch_is_read_where_it_is_taken(chosen: int) -> None:
    """Values and gradients, with names that do not depend on the branch."""
    network = network_from_nnx(_Branching, takes_code=True)
    params, code = network.init(jax.random.key(0)), jnp.array([chosen])
    rectified, scales = covariance("relu", rows="raw"), gradient("all")

    @jax.jit
    def read(code: jax.Array) -> Readings:
        return collect(network, params, BATCH, code, (rectified, scales, BACKWARD))

    readings = read(code)
    names = [slot.name for slot in readings.slots(rectified)]
    assert names == ["relu.0", "relu.1", "relu.2", "relu.3"]
    present = [[0, 0, 0, 1], [1, 0, 0, 1], [0, 1, 1, 1]][chosen]
    np.testing.assert_array_equal(readings.present(rectified), present)
    dense, first = params["params"]["dense"], np.maximum(X + 1, 0)
    second = np.maximum((first @ dense["kernel"] + dense["bias"]) * 2, 0)
    taken = (X + 1, first, second)[chosen]
    inside = {1: [first], 2: [first, second]}.get(chosen, [])
    expected = [*inside, np.maximum(taken - 0.5, 0)]
    rows = np.asarray(readings[rectified])
    np.testing.assert_array_equal(rows[~np.array(present, bool)], 0)
    traces = [np.square(h).sum() / len(X) for h in expected]
    np.testing.assert_allclose(rows[np.array(present, bool), 0], traces, rtol=1e-5)
    live = {"dense.kernel", "dense.bias", "scale"}
    largest = {
        slot.name: value
        for slot, (_, value) in zip(
            readings.slots(scales), np.asarray(readings[scales]), strict=True
        )
    }
    assert {name for name, value in largest.items() if value} == (
        live if chosen == 2 else set()
    )
    assert (np.asarray(readings[BACKWARD]) > 0).tolist() == [chosen == 2]


class _SharedLinen(linen.Module):
    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        dense = linen.Dense(6, name="dense")
        return dense(jnp.tanh(dense(x)))


class _SharedNNX(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.dense = nnx.Linear(6, 6, rngs=rngs)
        self.same = self.dense

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.same(jnp.tanh(self.dense(x)))


class _TwiceTapped(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        pass

    def __call__(self, x: jax.Array, code: None, tap: Tap) -> jax.Array:
        return tap("dense", tap("dense", x, "linear") + 1, "linear")


SHARED = {
    "linen": lambda: network_from_linen(_SharedLinen(), X),
    "nnx": lambda: network_from_nnx(lambda rngs: _SharedNNX(rngs)),
    "tapped": lambda: network_from_tapped(lambda rngs: _TwiceTapped(rngs)),
}


@pytest.mark.parametrize("meter", DENSE, ids=lambda meter: meter.phase)
@pytest.mark.parametrize("make", SHARED.values(), ids=list(SHARED))
def test_a_layer_called_twice_is_refused(
    make: Callable[[], Network], meter: Meter
) -> None:
    with pytest.raises(ValueError, match="the tap 'dense' is used twice"):
        small(make(), meter)


@pytest.mark.parametrize("kind", ["linen", "nnx"])
def test_gradients_of_a_layer_called_twice_add_up(kind: str) -> None:
    network = SHARED[kind]()
    weights = network.init(jax.random.key(0))["params"]["dense"]

    def loss(kernel: jax.Array) -> jax.Array:
        hidden = jnp.tanh(X @ kernel + weights["bias"])
        return cross_entropy(hidden @ kernel + weights["bias"], BATCH.y)

    grad = jax.grad(loss)(weights["kernel"])
    given = by_name(small(network, GRADIENT), GRADIENT)["dense.kernel"]
    np.testing.assert_allclose(
        given, [np.std(grad, ddof=1), abs(grad).max()], rtol=1e-4
    )


class _ScaledLinen(linen.Dense):
    def __call__(self, x: jax.Array) -> jax.Array:
        return 2 * super().__call__(x)


class _ScaledNNX(nnx.Linear):
    def __call__(self, x: jax.Array) -> jax.Array:
        return 2 * super().__call__(x)


@pytest.mark.parametrize(
    "make",
    [
        lambda: network_from_linen(linen.Sequential([_ScaledLinen(6)]), X),
        lambda: network_from_nnx(
            lambda rngs: nnx.Sequential(_ScaledNNX(6, 6, rngs=rngs))
        ),
    ],
    ids=["linen", "nnx"],
)
def test_a_subclass_of_a_layer_is_one_layer(make: Callable[[], Network]) -> None:
    network = make()
    (kernel,) = (
        w for w in jax.tree.leaves(network.init(jax.random.key(0))) if w.ndim == 2
    )
    given = small(network, FORWARD)[FORWARD]
    assert given.shape == (1, 3)
    trace = jnp.square(2 * X @ kernel).mean(0).sum()
    np.testing.assert_allclose(given[0, 0], trace, rtol=1e-5)


class _Odd(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.used = nnx.Linear(6, 6, rngs=rngs)
        self.unused = nnx.Linear(6, 6, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.factors = nnx.List([nnx.Param(jnp.full((6, 6), float(i))) for i in (1, 2)])
        self.scale = nnx.Param(jnp.ones(()))

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.dropout(self.used(x)) @ self.factors[0][...] @ self.factors[1][...]
        return x * self.scale[...]


def test_an_unused_parameter_has_no_gradient_but_is_measured() -> None:
    network = network_from_nnx(lambda rngs: _Odd(rngs))
    kernel = network.init(jax.random.key(0))["params"]["unused"]["kernel"]
    readings = small(network, NORM, GRADIENT)
    np.testing.assert_array_equal(by_name(readings, GRADIENT)["unused.kernel"], [0, 0])
    norms = by_name(readings, NORM)
    np.testing.assert_allclose(norms["unused.kernel"], (kernel**2).sum(), rtol=1e-6)
    np.testing.assert_allclose(norms["factors.1"], 36 * 2.0**2)
    assert {s.name: s.kind for s in readings.slots(GRADIENT)}["scale"] == "other_b"


def test_boxed_parameters_are_unboxed() -> None:
    boxed = linen.with_partitioning(linen.initializers.lecun_normal(), (None, "model"))
    network = network_from_linen(linen.Dense(6, kernel_init=boxed), X)
    assert set(by_name(small(network, GRADIENT), GRADIENT)) == {"kernel", "bias"}


def test_a_tap_measures_nothing_that_no_meter_asks_for() -> None:
    tap = Tap(MeterSet((covariance("bn"),)))
    assert tap("a", X, "linear") is X
    assert tap.parameter("a.kernel", X, "linear_w") is X
    assert tap.recorder.forward == []
    assert tap.recorder.sinks == {}
