"""Meters against numpy's definitions."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxproxy.measure import Activation, Meter, MeterSet, Parameter
from jaxproxy.meters import (
    ACTIVATIONS,
    PARAMETERS,
    covariance,
    gradient,
    renyi_entropy,
    spectrum,
)
from jaxproxy.ops import moments


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """float32[6, 3, 4, 5] with correlated channels and means that are not zero."""
    rng = np.random.default_rng(0)
    mixed = rng.standard_normal((6, 3, 4, 5)) @ rng.standard_normal((5, 5)) + 3
    return mixed.astype(np.float32)


def measured(meter: Meter, x: np.ndarray) -> np.ndarray:
    return np.asarray(jax.jit(lambda x: meter.measure(Activation(x)))(x))


def eigenvalues(x: np.ndarray) -> np.ndarray:
    """Descending, of the channel covariance, by numpy in float64."""
    flat = x.reshape(-1, x.shape[-1]).astype(float)
    return np.linalg.eigvalsh(np.cov(flat.T))[::-1]


def test_covariance_gives_the_participation_ratio(images: np.ndarray) -> None:
    trace, square, size = measured(covariance(), images)
    values = eigenvalues(images)
    np.testing.assert_allclose(trace, values.sum(), rtol=1e-5)
    np.testing.assert_allclose(square, (values**2).sum(), rtol=1e-5)
    ratio = values.sum() ** 2 / (values**2).sum()
    np.testing.assert_allclose(trace**2 / square, ratio, rtol=1e-5)
    assert size == 5


def test_covariance_of_raw_rows_is_not_centred(images: np.ndarray) -> None:
    flat = images.reshape(-1, 5).astype(float)
    second = flat.T @ flat / len(flat)
    expected = np.trace(second), (second**2).sum(), 5
    given = measured(covariance(rows="raw"), images)
    np.testing.assert_allclose(given, expected, rtol=1e-5)


def test_covariance_of_images_is_that_of_their_features(images: np.ndarray) -> None:
    features = np.cov(images.reshape(6, -1).astype(float).T)
    expected = np.trace(features), (features**2).sum(), 6
    given = measured(covariance(rows="images"), images)
    np.testing.assert_allclose(given, expected, rtol=1e-5)


def test_covariance_of_a_matrix_has_its_columns_as_channels() -> None:
    x = np.random.default_rng(1).standard_normal((20, 3)).astype(np.float32)
    given = measured(covariance("convlin"), x)
    np.testing.assert_allclose(given[0], np.cov(x.T).trace(), rtol=1e-5)


def test_spectrum_is_numpys(images: np.ndarray) -> None:
    given = measured(spectrum(), images)
    values = eigenvalues(images)
    np.testing.assert_allclose(given, values, rtol=1e-4, atol=1e-5 * values[0])


def test_spectrum_of_few_pixels_is_not_negative() -> None:
    x = np.random.default_rng(2).standard_normal((3, 8)).astype(np.float32)
    values = measured(spectrum(), x)
    assert (values >= 0).all()
    assert (values[2:] < 1e-5 * values[0]).all()  # three points span a plane


def entropy(p: np.ndarray, order: float) -> float:
    if order == 1:
        return -(p * np.log(p)).sum()
    return (
        -np.log(p.max())
        if math.isinf(order)
        else np.log((p**order).sum()) / (1 - order)
    )


@pytest.mark.parametrize("order", [0.5, 1, 2, 3.5, math.inf])
def test_renyi_entropy_is_its_formula(images: np.ndarray, order: float) -> None:
    values = eigenvalues(images)
    given = measured(renyi_entropy(order=order), images)
    np.testing.assert_allclose(given, entropy(values / values.sum(), order), rtol=1e-4)


def test_renyi_entropy_of_order_2_is_the_log_participation_ratio(
    images: np.ndarray,
) -> None:
    trace, square, _ = measured(covariance(), images)
    given = measured(renyi_entropy(order=2), images)
    np.testing.assert_allclose(given, np.log(trace**2 / square), rtol=1e-4)


@pytest.mark.parametrize("order", [0.5, 1, 2, math.inf])
def test_renyi_entropy_of_white_noise_is_log_channels(order: float) -> None:
    x = np.concatenate([np.eye(4), -np.eye(4)]).astype(np.float32)
    given = measured(renyi_entropy(order=order), x)
    np.testing.assert_allclose(given, math.log(4), rtol=1e-6)


@pytest.mark.parametrize(
    "meter",
    [covariance(), covariance(rows="raw"), covariance(rows="images"), spectrum()]
    + [renyi_entropy(order=order) for order in (0.5, 1, 2, math.inf)],
    ids=lambda meter: meter.name,
)
class TestSpecialActivations:
    """A dead layer reads zero; a broken one stays visible."""

    def test_zeros_read_zero(self, meter: Meter) -> None:
        given = measured(meter, np.zeros((4, 3, 3, 2), np.float32))
        size = 4 if "images" in meter.name else 2
        expected = (
            [0, 0, size] if meter.name.startswith("cov") else np.zeros_like(given)
        )
        np.testing.assert_array_equal(given, expected)

    def test_nan_stays_nan(self, meter: Meter) -> None:
        x = np.ones((4, 3, 3, 2), np.float32)
        x[0, 0, 0, 0] = np.nan
        assert np.isnan(measured(meter, x)).any()


@pytest.mark.parametrize("size", [(1, 1, 1, 4), (1, 4)], ids=str)
@pytest.mark.parametrize("make", [covariance, spectrum, renyi_entropy])
def test_one_observation_has_no_covariance(
    make: Callable[..., Meter], size: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="at least 2 observations, not 1"):
        make().measure(Activation(jnp.zeros(size)))


def test_one_image_has_no_covariance_of_images() -> None:
    with pytest.raises(ValueError, match="at least 2 observations, not 1"):
        covariance(rows="images").measure(Activation(jnp.zeros((1, 4, 4, 3))))


@pytest.mark.parametrize("shape", [(3, 3, 4, 6), (7, 5), (9,)], ids=str)
def test_gradient_is_numpys_spread(shape: tuple[int, ...]) -> None:
    grad = np.random.default_rng(3).standard_normal(shape).astype(np.float32) - 0.5
    given = gradient().measure(Parameter(jnp.ones(shape), jnp.asarray(grad)))
    expected = grad.std(ddof=1, dtype=float), np.abs(grad).max()
    np.testing.assert_allclose(given, expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1,), ()], ids=str)
def test_gradient_of_one_number_has_no_spread(shape: tuple[int, ...]) -> None:
    given = gradient().measure(Parameter(jnp.ones(shape), jnp.full(shape, -2.0)))
    np.testing.assert_array_equal(given, [0, 2])


def test_gradient_of_zeros_is_zero() -> None:
    given = gradient().measure(Parameter(jnp.ones((3, 2)), jnp.zeros((3, 2))))
    np.testing.assert_array_equal(given, [0, 0])


def test_activation_computes_what_is_asked_and_once() -> None:
    calls = []

    def value() -> jax.Array:
        calls.append("value")
        return jnp.ones((2, 3, 3, 4))

    lazy = Activation(value, (2, 3, 3, 4), moments=lambda: moments(jnp.eye(4)))
    assert (lazy.channels, lazy.samples, lazy.shape) == (4, 18, (2, 3, 3, 4))
    covariance().measure(lazy)
    assert calls == []  # the moments that were given sufficed
    covariance(rows="raw").measure(lazy)
    covariance(rows="images").measure(lazy)
    assert calls == ["value"]


def test_names_tell_meters_apart() -> None:
    meters = [
        covariance(),
        covariance("relu"),
        covariance(rows="raw"),
        covariance(("conv", "pool")),
        spectrum(),
        renyi_entropy(order=1),
        renyi_entropy(order=1 + 1e-9),
        renyi_entropy(order=math.inf),
        gradient(),
        gradient("all"),
    ]
    assert len({meter.name for meter in meters}) == len(set(meters)) == len(meters)
    assert covariance("conv") == covariance()
    assert hash(renyi_entropy(order=2)) == hash(renyi_entropy(order=2.0))


def test_a_set_of_meters_finds_those_of_a_phase_and_kind() -> None:
    meters = MeterSet((covariance("rcb"), spectrum("conv"), gradient("weights")))
    ones = Activation(jnp.ones((2, 2, 2, 3)))
    assert set(meters.forward("conv", ones)) == {"covariance(rcb)", "spectrum(conv)"}
    assert set(meters.forward("relu", ones)) == {"covariance(rcb)"}
    assert (
        meters.forward("linear", ones)
        == meters.backward("conv", ones, ones.value)
        == {}
    )
    assert set(meters.gradient("conv_w", *[jnp.ones(2)] * 2)) == {"gradient(weights)"}
    assert meters.needs_gradients()
    assert not MeterSet((spectrum(),)).needs_gradients()
    assert meters.wants("gradient", "bn_w", "linear_w")
    assert not meters.wants("backward", "conv", "relu", "bn")


@pytest.mark.parametrize("make", [covariance, spectrum, renyi_entropy])
def test_unknown_layers(make: Callable[..., Meter]) -> None:
    choices = ".*".join(sorted(ACTIVATIONS))
    with pytest.raises(ValueError, match=f"unknown layers 'convs'; .*{choices}"):
        make("convs")


def test_unknown_rows_params_and_order() -> None:
    with pytest.raises(ValueError, match=r"unknown rows 'rows'; .*images.*pixels.*raw"):
        covariance(rows="rows")
    with pytest.raises(ValueError, match=".*".join(["'biases'", *sorted(PARAMETERS)])):
        gradient("biases")
    for order in (0, -1.0, math.nan):
        with pytest.raises(ValueError, match=f"order must be positive, not {order}"):
            renyi_entropy(order=order)
