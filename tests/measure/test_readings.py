"""Readings of a toy space whose branches are outside its taps."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxproxy.measure import (
    ActivationMeter,
    Meter,
    Network,
    ParameterMeter,
    Readings,
    Slot,
    Tap,
    collect,
    cross_entropy,
    network_from_tapped,
)
from jaxproxy.meters import covariance, gradient, spectrum
from jaxproxy.types import Batch

_FUNCTIONS = (lambda h: h, jax.nn.relu, jnp.tanh)

SUM = ActivationMeter(("activation", "hidden"), lambda h: h.value.sum(), name="sum")
SLOPE = ActivationMeter(
    ("activation",),
    lambda h: (h.value * h.gradient).sum(),
    gradient=True,
    name="slope",
)
SNIP = ParameterMeter(
    ("linear_w",),
    lambda p: jnp.abs(p.weight * p.gradient).sum(),
    reads="gradient",
    name="snip",
)
ALL = (SUM, SLOPE, SNIP)


class _ToyNet(nnx.Module):
    """Three layers, each with a function that the code chooses, and a head."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List([nnx.Linear(8, 8, rngs=rngs) for _ in range(3)])
        self.head = nnx.Linear(8, 4, rngs=rngs)

    def __call__(self, x: jax.Array, code: jax.Array, tap: Tap) -> jax.Array:
        for i, layer in enumerate(self.layers):
            kernel = tap.parameter(f"layer{i}.w", layer.kernel[...], "linear_w")
            x = tap(f"layer{i}", jax.lax.switch(code[i], _FUNCTIONS, x @ kernel))
        return self.head(x)


@pytest.fixture(scope="module")
def toy() -> tuple[Network, Any, Batch]:
    network = network_from_tapped(lambda rngs: _ToyNet(rngs))
    x = jax.random.normal(jax.random.key(1), (5, 8))
    return network, network.init(jax.random.key(0)), Batch(x, jnp.arange(5) % 4)


@pytest.fixture(scope="module")
def readings_of(toy: tuple) -> Callable[[Any], Readings]:
    return jax.jit(lambda code: collect(*toy, code, ALL))


def plain(
    toy: tuple, code: list[int], kernels: list[jax.Array], shifts: list[jax.Array]
) -> tuple[jax.Array, list[jax.Array]]:
    """Loss and tapped activations, each shifted."""
    _, params, (x, y) = toy
    hidden = []
    for gene, kernel, shift in zip(code, kernels, shifts, strict=True):
        x = _FUNCTIONS[gene](x @ kernel) + shift
        hidden.append(x)
    head = params["params"]["head"]
    return cross_entropy(x @ head["kernel"] + head["bias"], y), hidden


@pytest.mark.parametrize("code", [[0, 1, 2], [2, 2, 0], [1, 1, 1]], ids=str)
def test_readings_of_a_code_are_those_of_its_plain_network(
    toy: tuple, readings_of: Callable, code: list[int]
) -> None:
    kernels = [toy[1]["params"]["layers"][i]["kernel"] for i in range(3)]
    shifts = [jnp.zeros((5, 8))] * 3
    loss = jax.grad(lambda *args: plain(toy, code, *args)[0], (0, 1))
    (dkernels, dhidden), (_, hidden) = (
        loss(kernels, shifts),
        plain(toy, code, kernels, shifts),
    )
    given = readings_of(jnp.array(code))
    expected = {
        SUM: [h.sum() for h in hidden],
        SLOPE: [(h * dh).sum() for h, dh in zip(hidden, dhidden, strict=True)],
        SNIP: [abs(w * g).sum() for w, g in zip(kernels, dkernels, strict=True)],
    }
    for meter, values in expected.items():
        np.testing.assert_allclose(given[meter], values, rtol=1e-4, atol=1e-6)


def test_readings_tell_where_they_come_from(readings_of: Callable) -> None:
    readings = readings_of(jnp.array([0, 1, 2]))
    names = [slot.name for slot in readings.slots(SUM)]
    assert names == ["layer0", "layer1", "layer2"]
    assert readings.slots(SNIP)[1]._replace(depth=0) == Slot(
        "layer1.w", "linear_w", 0, 8
    )
    np.testing.assert_array_equal(readings.channels(SUM), [8, 8, 8])
    assert readings.count(SUM) == 3
    assert readings.present(SUM).all()


def test_readings_pass_through_map_and_vmap(toy: tuple, readings_of: Callable) -> None:
    codes = jnp.array([[0, 1, 2], [2, 0, 1], [1, 1, 0]])
    singly = [readings_of(code) for code in codes]
    for together in (
        jax.jit(lambda c: jax.lax.map(readings_of, c))(codes),
        jax.jit(jax.vmap(readings_of))(codes),
    ):
        assert together.slots(SLOPE) == singly[0].slots(SLOPE)
        for meter in ALL:
            expected = jnp.stack([one[meter] for one in singly])
            np.testing.assert_allclose(together[meter], expected, rtol=1e-4, atol=1e-6)


def test_only_meters_of_gradients_run_a_backward_pass(toy: tuple) -> None:
    def text(*meters: Meter) -> str:
        return str(
            jax.make_jaxpr(lambda c: collect(*toy, c, meters))(jnp.zeros(3, int))
        )

    assert text(SUM).count("dot_general") == 4
    assert text(SUM, SNIP).count("dot_general") > 8


def test_only_meters_of_gradients_need_a_loss(toy: tuple) -> None:
    network, params, (x, _) = toy
    called = []

    def loss(logits: jax.Array, y: None) -> jax.Array:
        called.append(y)
        return jnp.square(logits).sum()

    unlabelled = Batch(x, None)
    collect(network, params, unlabelled, jnp.zeros(3, int), [SUM], loss=loss)
    assert called == []
    given = collect(network, params, unlabelled, jnp.zeros(3, int), ALL, loss=loss)
    assert called == [None]
    assert (given[SNIP] > 0).all()


def test_a_meter_redefined_under_its_name_is_measured_anew(toy: tuple) -> None:
    for factor in (1, 3):
        meter = ActivationMeter(
            ("activation",), lambda h, f=factor: _one(f), gradient=True, name="x"
        )
        given = jax.jit(lambda c, m=meter: collect(*toy, c, [m]))(jnp.zeros(3, int))
        np.testing.assert_array_equal(given[meter], [factor] * 3)


def _one(factor: int) -> jax.Array:
    return jnp.full((), float(factor))


class _Sparse(nnx.Module):
    """Takes readings itself: rows of two sizes, in no order, some of them absent."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        del rngs

    def __call__(self, x: jax.Array, code: jax.Array, tap: Tap) -> jax.Array:
        base = tap.recorder.advance(4)
        late = tuple(Slot(f"late{i}", "hidden", base + 2 + i, 2) for i in range(2))
        early = (Slot("early", "hidden", base, 3),)
        present = jnp.stack([code[0] == 0, code[0] == 1])
        values = jnp.array([[1.0, 2.0], [jnp.nan, 4.0]])
        tap.recorder.record(late, {"pair": values, "sum": values[:, 1]}, present)
        one = {"pair": jnp.array([[5.0, 6.0, 7.0]]), "sum": jnp.ones(1)}
        tap.recorder.record(early, one)
        tap("between", x, "hidden")
        return tap("last", x, "hidden")


def test_rows_are_put_in_order_of_depth_and_absent_ones_are_zero() -> None:
    network = network_from_tapped(lambda rngs: _Sparse(rngs))
    pair = ActivationMeter(("none of these",), lambda h: h.value, name="pair")
    batch = Batch(jnp.ones((2, 3)), jnp.zeros(2, int))
    params = network.init(jax.random.key(0))
    given = collect(network, params, batch, jnp.array([0]), [SUM, pair])
    names = [slot.name for slot in given.slots(SUM)]
    assert names == ["early", "late0", "late1", "between", "last"]
    np.testing.assert_array_equal(given[SUM], [1, 2, 0, 6, 6])
    np.testing.assert_array_equal(given.present(SUM), [True, True, False, True, True])
    assert given.count(SUM) == 4
    # Shorter rows end in zeros; the NaN of the absent slot is gone.
    np.testing.assert_array_equal(given[pair], [[5, 6, 7], [1, 2, 0], [0, 0, 0]])


def test_no_meters_no_readings(toy: tuple) -> None:
    assert collect(*toy, jnp.zeros(3, int), []).values == {}


def test_a_meter_given_twice_is_taken_once(toy: tuple) -> None:
    given = collect(*toy, jnp.zeros(3, int), [SUM, SUM])
    assert list(given.values) == ["sum"]


def test_a_meter_that_is_not_there(readings_of: Callable) -> None:
    readings = readings_of(jnp.zeros(3, int))
    message = r"no readings of meter 'spectrum\(conv\)'; choose from \['slope', 'snip'"
    for ask in (readings.__getitem__, readings.present, readings.count, readings.slots):
        with pytest.raises(ValueError, match=message):
            ask(spectrum())


@pytest.mark.parametrize(
    ("meters", "message"),
    [
        (
            [covariance("conv")],
            r"covariance\(conv\).* kinds \('conv',\); .* none of them",
        ),
        ([gradient("conv")], r"gradient\(conv\).* none of them"),
        ([SUM, ActivationMeter(("linear",), _one, name="sum")], "two different meters"),
    ],
)
def test_meters_that_cannot_be_taken(
    toy: tuple, meters: list[Meter], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        collect(*toy, jnp.zeros(3, int), meters)
