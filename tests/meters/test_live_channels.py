"""A wide layer with channels that do not exist reads as the narrow one, in all meters.

The narrow layer is measured without being told a number of channels, as everywhere.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxproxy import meters
from jaxproxy.measure import (
    Activation,
    ActivationMeter,
    Meter,
    MeterSet,
    ParameterMeter,
    Recorder,
    Tap,
)

LIVE, WIDE = 3, 8
FORWARD = (
    meters.channels(),
    meters.covariance(),
    meters.covariance(rows="raw"),
    meters.covariance(rows="images"),
    meters.spectrum(),
    *(meters.renyi_entropy(order=order) for order in (0.1, 1, 2, float("inf"))),
    meters.variance(("conv",)),
    meters.smallest_correlation(("conv",)),
    meters.activation_kernel(("conv",)),
    meters.activation_patterns(("conv",)),
    meters.influence(),
    meters.features(),
    meters.logits(),
    meters.log_scale(),
)
BACKWARD = (meters.fisher_information(), meters.input_correlation())
WEIGHT = (meters.weight_norm(), meters.weight_size())
GRADIENT = (
    meters.gradient(),
    meters.gradient_norm(),
    meters.saliency(),
    meters.nuclear_saliency(("conv_w",)),
    meters.gradient_agreement(),
    meters.gradient_products(),
    meters.gradient_snr(),
    meters.gradient_stability(),
    meters.first_gradient(),
)
WHOLE = {
    "accuracies_of_constants",
    "accuracies_of_draws",
    "classes",
    "equal_weights_outputs",
    "first_slopes",  # of elements: it sees no channels
    "fisher_spectrum",
    "gradient_flow",
    "pattern_hashes",  # other numbers, equal where they were: tests/proxies
    "tangent_kernel",
    "trainability",
}


def widened(array: np.ndarray, axes: tuple[int, ...] = (-1,)) -> np.ndarray:
    pads = [(0, 0)] * array.ndim
    for axis in axes:
        pads[axis] = (0, WIDE - array.shape[axis])
    return np.pad(array, pads)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Rectified float32[4, 3, 3, 3], no pixel of which is inactive everywhere."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 3, 3, LIVE)) @ rng.standard_normal((LIVE, LIVE)) + 0.5
    x[0] = np.abs(x[0]) + 0.1
    return np.maximum(x, 0).astype(np.float32)


def same(wide: jax.Array, narrow: jax.Array) -> None:
    """Equal, or, for lists of units, equal but for zeros in between."""
    a, b = np.asarray(wide), np.asarray(narrow)
    if a.shape != b.shape:
        keep = (a != 0, b != 0)
        a, b = a[keep[0]], b[keep[1]]
    np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


def test_every_meter_is_here() -> None:
    here = (*FORWARD, *BACKWARD, *WEIGHT, *GRADIENT)
    named = {m.name.partition("(")[0] for m in here}
    assert named | WHOLE == meters.METERS.keys()


@pytest.mark.parametrize("meter", FORWARD, ids=lambda m: m.name)
def test_forward(meter: Meter, images: np.ndarray) -> None:
    narrow = meter.measure(Activation(jnp.asarray(images)))
    wide = jax.jit(lambda x, n: meter.measure(Activation(x, live=n)))
    same(wide(widened(images), LIVE), narrow)


@pytest.mark.parametrize("meter", FORWARD, ids=lambda m: m.name)
def test_all_channels_live_is_as_not_said(meter: Meter, images: np.ndarray) -> None:
    x = jnp.asarray(images)
    same(
        meter.measure(Activation(x, live=jnp.int32(LIVE))), meter.measure(Activation(x))
    )


@pytest.mark.parametrize("meter", BACKWARD, ids=lambda m: m.name)
def test_backward(meter: Meter, images: np.ndarray) -> None:
    cotangent = np.random.default_rng(1).standard_normal(images.shape, np.float32)
    narrow = meter.measure(
        Activation(jnp.asarray(images)).with_gradient(jnp.asarray(cotangent))
    )
    activation = Activation(jnp.asarray(widened(images)), live=jnp.int32(LIVE))
    wide = activation.with_gradient(jnp.asarray(widened(cotangent)))
    same(meter.measure(wide), narrow)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("meter", [*WEIGHT, *GRADIENT], ids=lambda m: m.name)
def test_parameters(meter: Meter, size: int) -> None:
    """A kernel of several taps, and a single element."""
    shape = (size, size, LIVE, LIVE) if size > 1 else (1, 1, 1, 1)
    weight, grad = np.random.default_rng(2).standard_normal((2, *shape), np.float32)
    number = jnp.int32(weight.size)

    def read(w: np.ndarray, g: np.ndarray, number: jax.Array | None) -> jax.Array:
        meters = MeterSet((meter,))
        if meter.phase == "weight":
            return meters.weight("conv_w", jnp.asarray(w), number)[meter.name]
        args = jnp.asarray(w), jnp.asarray(g), number
        return meters.gradient("conv_w", *args)[meter.name]

    wide = read(widened(weight, (2, 3)), widened(grad, (2, 3)), number)
    same(wide, read(weight, grad, None))


def test_covariance_by_hand() -> None:
    """Two channels of 1, -1 and 2, -2: variances 2 and 8, covariance 4."""
    x = jnp.array([[1.0, 2, 0, 0], [-1, -2, 0, 0]])
    reading = meters.covariance().measure(Activation(x, live=jnp.int32(2)))
    np.testing.assert_allclose(reading, [10, 4 + 64 + 2 * 16, 2])


def test_a_constant_channel_still_counts() -> None:
    """That channels which exist are constant is told from those which do not."""
    x = jnp.array([[1.0, 5, 0], [-1, 5, 0]])
    meter = meters.smallest_correlation(("conv",))
    assert meter.measure(Activation(x, live=jnp.int32(2))) == 0
    np.testing.assert_allclose(
        meter.measure(Activation(x, live=jnp.int32(1))), 1, rtol=1e-6
    )


def test_taps_hand_the_number_on() -> None:
    """Also users' own meters, which take an activation or a weight and its gradient."""
    own = ActivationMeter(
        ("conv",), lambda a: jnp.asarray(a.size, jnp.float32), name="own"
    )
    plain = ParameterMeter(
        ("conv_w",),
        lambda p: (p.weight * p.gradient).sum(),
        reads="gradient",
        name="plain",
    )
    asked = MeterSet((own, plain, meters.gradient(), meters.fisher_information()))
    x = jnp.asarray(widened(np.arange(6, dtype=np.float32).reshape(2, 3)))
    tap = Tap(asked)

    def loss(sinks: dict | None, live: jax.Array) -> jax.Array:
        nonlocal tap
        tap = Tap(Recorder(asked, sinks))
        w = tap.parameter("w", x, "conv_w", 2 * live)
        return jnp.square(tap("y", w, "conv", live)).sum()

    live = jnp.int32(LIVE)
    loss(None, live)
    asked_for = tap.recorder.sinks.items()
    sinks = {n: {k: r.values for k, r in rows.items()} for n, rows in asked_for}
    read = jax.grad(loss)(sinks, live)
    assert [rows.values["own"].tolist() for rows in tap.recorder.forward] == [[LIVE]]
    elements = 2 * np.arange(6.0)
    gradient = read["w"]["conv_w"]
    np.testing.assert_allclose(
        gradient[meters.gradient().name][0], [elements.std(ddof=1), 10], rtol=1e-6
    )
    np.testing.assert_allclose(gradient["plain"], [2 * np.square(np.arange(6)).sum()])
