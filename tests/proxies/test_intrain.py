"""InTrain and capacity: worked by hand, in every variant, and by name."""

import itertools
import math
from collections.abc import Callable
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxproxy.measure import Meter, Network, Readings, Tap, collect
from jaxproxy.meters import ACTIVATIONS, PARAMETERS, covariance, gradient
from jaxproxy.ops import avg_pool, batch_norm, conv
from jaxproxy.proxies import Proxy, capacity, gamma, gradient_health, intrain
from jaxproxy.proxies._intrain import DEPTHS, Coupling, Dead
from jaxproxy.types import Batch

CORNERS = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], np.float32)


def _two_layers(
    params: dict[str, jax.Array], x: jax.Array, code: None, tap: Tap
) -> jax.Array:
    for i, weight in enumerate((params["first"], params["second"])):
        x = tap(f"z{i}", x @ tap.parameter(f"w{i}", weight, "linear_w"), "linear")
    return x


@pytest.fixture(scope="module")
def golden() -> Readings:
    """Two linear layers on the corners of a square, loss = an output of a sample.

    Covariances are diag(9, 1) and diag(9, 9) times 4/3, so PR = 100/82 and 2.
    Gradients are [[1, 0], [1, 0]] (deviation sqrt(1/3), largest 1) and
    [[3, 0], [1, 0]] (deviation sqrt(2), largest 3).
    """
    params = {"first": jnp.diag(jnp.array([3.0, 1.0]))}
    params["second"] = jnp.diag(jnp.array([1.0, 3.0]))
    network = Network(lambda key: params, _two_layers)
    meters = (covariance("convlin"), gradient("weights"))
    batch = Batch(jnp.asarray(CORNERS), jnp.zeros(4, int))
    return collect(network, params, batch, None, meters, loss=lambda z, y: z[0, 0])


GAMMA = math.log(100 / 82) + math.log(2)
HEALTH = math.sqrt(1 / 3) + math.sqrt(2) / 3


@pytest.mark.parametrize(
    ("proxy", "expected"),
    [
        (intrain(layers="convlin"), GAMMA * (1 + HEALTH) / math.log(3)),
        (intrain(layers="convlin", coupling="sum"), (GAMMA + HEALTH) / math.log(3)),
        (intrain(layers="convlin", coupling="gamma", depth="none"), GAMMA),
        (intrain(layers="convlin", coupling="o", depth="linear"), HEALTH / 3),
        (capacity(layers="convlin"), GAMMA / math.log(3)),
        (capacity(layers="convlin", depth="sqrt"), GAMMA / math.sqrt(3)),
        (capacity(layers="convlin", dead="paper", depth="none"), GAMMA),
    ],
)
def test_golden(golden: Readings, proxy: Proxy, expected: float) -> None:
    np.testing.assert_allclose(proxy.score(golden), expected, rtol=1e-6)


def _every_kind(
    params: dict[str, jax.Array], x: jax.Array, code: jax.Array, tap: Tap
) -> jax.Array:
    """A tap of every kind; the code multiplies the input of the second part."""

    def block(name: str, x: jax.Array) -> jax.Array:
        kernel = tap.parameter(f"{name}.w", params[name], "conv_w")
        scale = tap.parameter(f"{name}.bn.w", params["scale"], "bn_w")
        bias = tap.parameter(f"{name}.bn.b", params["bias"], "bn_b")
        x = tap(f"{name}.relu", jax.nn.relu(x), "relu")
        x = tap(f"{name}.conv", conv(x, kernel), "conv")
        return tap(f"{name}.bn", batch_norm(x, scale, bias), "bn")

    x = tap("skip", block("a", x), "skip")
    branch = block("b", x * code[0])
    pooled = tap("pool", avg_pool(branch, 3, padding=1), "pool")
    x = tap("cell", x + pooled + tap("none", jnp.zeros_like(x), "none"), "cell")
    x = tap("reduction", avg_pool(x, 2, stride=2), "reduction")
    head = tap.parameter("head.w", params["head"], "linear_w")
    bias = tap.parameter("head.b", jnp.zeros(5), "linear_b")
    return tap("head", x.mean((1, 2)) @ head + bias, "linear")


def _draw(factor: float = 1) -> tuple[Network, dict[str, jax.Array], Batch]:
    keys = jax.random.split(jax.random.key(0), 4)
    params = {
        "a": jax.random.normal(keys[0], (3, 3, 3, 4)) * factor,
        "b": jax.random.normal(keys[1], (1, 1, 4, 4)) * factor,
        "head": jax.random.normal(keys[2], (4, 5)),
        "scale": jnp.arange(1.0, 5),
        "bias": jnp.zeros(4),
    }
    x = jax.random.normal(keys[3], (3, 6, 6, 3))
    return Network(lambda key: params, _every_kind), params, Batch(x, jnp.arange(3))


ROWS = ("pixels", "raw", "images")
EVERY_METER = (
    *(covariance(layers) for layers in ACTIVATIONS),
    *(covariance(rows=rows) for rows in ROWS[1:]),
    *(gradient(params) for params in PARAMETERS),
)


@pytest.fixture(scope="module")
def readings() -> dict[str, Readings]:
    collected = jax.jit(lambda code: collect(*_draw(), code, EVERY_METER))
    return {
        "live": collected(jnp.array([1.0])),
        "dead": collected(jnp.array([0.0])),
        "broken": collected(jnp.array([jnp.nan])),
    }


def _variants() -> list[Proxy]:
    made: list[Proxy] = []
    rest = {"dead": get_args(Dead), "depth": DEPTHS}
    for values in itertools.product(*rest.values()):
        options = dict(zip(rest, values, strict=True))
        for coupling, params in itertools.product(get_args(Coupling), PARAMETERS):
            made.append(intrain(coupling=coupling, params=params, **options))
        for factory in (capacity, intrain):
            made += [factory(layers=layers, **options) for layers in ACTIVATIONS]
            made += [factory(rows=rows, **options) for rows in ROWS]
    return made


def test_every_variant_scores_a_live_architecture(
    readings: dict[str, Readings],
) -> None:
    scored = jax.jit(lambda r: [proxy.score(r) for proxy in _variants()])
    scores = np.array(scored(readings["live"]))
    assert np.isfinite(scores).all()
    assert (scores > 0).all()


def test_a_dead_layer_counts_as_its_largest_ratio_or_not_at_all(
    readings: dict[str, Readings],
) -> None:
    live, dead = (readings[name] for name in ("live", "dead"))
    meter = covariance("conv")
    first = gamma(live, meter, dead="live")[0] - _log_ratio(live, meter, 1)
    for rows, largest in (("pixels", 4), ("raw", 4), ("images", 3)):
        trace, square, size = np.asarray(dead[covariance(rows=rows)])[1]
        assert (trace, square, size) == (0, 0, largest)
    counted = gamma(dead, meter, dead="paper")
    np.testing.assert_allclose(counted, [first + math.log(4), 2], rtol=1e-5)
    left_out = gamma(dead, meter, dead="live")
    np.testing.assert_allclose(left_out, [first, 1], rtol=1e-5)
    # The same for the depth, which counts what gamma counts.
    given = capacity(dead="paper").score(dead)
    np.testing.assert_allclose(given, (first + math.log(4)) / math.log(3), rtol=1e-5)
    np.testing.assert_allclose(capacity().score(dead), first / math.log(2), rtol=1e-5)
    # A layer that is alive does not care.
    for mode in get_args(Dead):
        np.testing.assert_array_equal(
            gamma(live, meter, dead=mode), gamma(live, meter, dead="live")
        )


def _log_ratio(readings: Readings, meter: Meter, layer: int) -> float:
    trace, square, _ = readings[meter][layer]
    return float(jnp.log(trace**2 / square))


def test_dead_parameters_count_zero(readings: dict[str, Readings]) -> None:
    meter = gradient("conv")
    live, dead = (gradient_health(readings[k], meter) for k in ("live", "dead"))
    assert ((live > 0) & (live <= 1)).all()
    # Of the two kernels, the second sees zeros and gets no gradient.
    np.testing.assert_array_equal(dead > 0, [True, False])
    given = intrain(params="conv", coupling="o", depth="none").score(readings["dead"])
    np.testing.assert_allclose(given, dead[0])


def test_nan_is_not_taken_for_a_dead_layer(readings: dict[str, Readings]) -> None:
    for dead in get_args(Dead):
        assert math.isnan(intrain(dead=dead).score(readings["broken"]))
        assert math.isnan(capacity(dead=dead).score(readings["broken"]))


def test_no_live_layer_has_no_capacity(readings: dict[str, Readings]) -> None:
    meter = covariance("conv")
    empty = Readings(
        {meter.name: readings["dead"][meter][1:]},
        {meter.name: jnp.ones(1, bool)},
        readings["dead"].layout,
    )
    assert math.isnan(capacity().score(empty))  # 0 / log 1
    assert capacity(depth="none").score(empty) == 0


def test_scale_of_weights_before_batch_norm_does_not_matter(
    readings: dict[str, Readings],
) -> None:
    proxy = intrain(layers="rcb", coupling="gamma")

    @jax.jit
    def scaled(code: jax.Array) -> jax.Array:
        return proxy.score(collect(*_draw(factor=7), code, proxy.meters))

    expected = proxy.score(readings["live"])
    np.testing.assert_allclose(scaled(jnp.array([1.0])), expected, rtol=1e-4)


def test_capacity_is_intrains_gamma_over_log_depth(
    readings: dict[str, Readings],
) -> None:
    for name, dead in itertools.product(("live", "dead"), get_args(Dead)):
        total, count = gamma(readings[name], covariance("conv"), dead=dead)
        given = capacity(dead=dead).score(readings[name])
        np.testing.assert_allclose(given, total / jnp.log(count + 1), rtol=1e-6)
        half = intrain(coupling="gamma", dead=dead).score(readings[name])
        np.testing.assert_array_equal(given, half)


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_ratio_of_small_and_large_activations(scale: float) -> None:
    golden = jnp.array([[10.0, 82.0], [18.0, 162.0]]) * 4 / 3
    traces, squares = golden[:, 0] * scale, golden[:, 1] * 4 / 3 * scale**2
    meter = covariance("conv")
    values = jnp.stack([traces, squares, jnp.full(2, 2.0)], 1)
    r = Readings({meter.name: values}, {meter.name: jnp.ones(2, bool)}, None)
    # The paper's jitter of 1e-10 starts to show where variances are 1e-8.
    np.testing.assert_allclose(gamma(r, meter, dead="paper")[0], GAMMA, rtol=0.02)


@pytest.mark.parametrize("factory", [capacity, intrain])
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("layers", "unknown layers 'x'; .*convlin"),
        ("depth", "unknown depth 'x'; .*linear.*log.*none.*sqrt"),
        ("dead", "unknown dead 'x'; .*live.*paper"),
        ("rows", "unknown rows 'x'; .*images"),
    ],
)
def test_unknown_options(
    factory: Callable[..., Proxy], option: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        factory(**{option: "x"})


def test_unknown_options_of_intrain_alone() -> None:
    with pytest.raises(ValueError, match=r"unknown coupling 'x'; .*gamma.*product"):
        intrain(coupling="x")
    with pytest.raises(ValueError, match=r"unknown params 'x'; .*weights"):
        intrain(params="x")
