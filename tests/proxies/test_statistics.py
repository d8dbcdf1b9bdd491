"""Participation and variance: worked by hand, masked, and on degenerate networks."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxproxy import make_scorer
from jaxproxy.analysis import ENSEMBLES
from jaxproxy.measure import Network, Readings, Tap, collect
from jaxproxy.meters import covariance, influence
from jaxproxy.proxies import Proxy, parse_proxy, participation, variance
from jaxproxy.spaces import nasbench201
from jaxproxy.testing import check_proxy
from jaxproxy.types import Batch, Fidelity

SMALL = Fidelity(width=4, cells=1, batch_size=2, resolution=8)
COVARIANCE, INFLUENCE = covariance("conv"), influence("conv")
# Trace, squared norm and channels: PR is 2 of 2, 1 of 2, 0 of nothing, 4 of 4.
LAYERS = np.array([[2, 2, 2], [6, 36, 2], [0, 0, 2], [4, 4, 4]], np.float32)


def _readings(used: list[int], present: list[int] | None = None) -> Readings:
    here = jnp.array(present or [1] * len(LAYERS), bool)
    values = {
        COVARIANCE.name: jnp.where(here[:, None], jnp.asarray(LAYERS), 0),
        INFLUENCE.name: jnp.array(used, jnp.float32),
    }
    return Readings(values, dict.fromkeys(values, here), None)  # type: ignore[arg-type]


LOG2, LOG4 = math.log(2), math.log(4)
# log(1 + 1), log(1 + 3), log(1 + 0), log(1 + 1)
VARIANCES = [LOG2, LOG4, 0, LOG2]


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        ("sqrt", (LOG2 + LOG4) / math.sqrt(5)),
        ("mean", (LOG2 + LOG4) / 4),
        ("std", np.std([LOG2, 0, 0, LOG4])),
        ("min", 0),
        ("max", LOG4),
        ("last", LOG4),
        ("slope", np.polyfit([0, 1 / 3, 2 / 3, 1], [LOG2, 0, 0, LOG4], 1)[0]),
    ],
)
def test_participation_by_hand(over: str, expected: float) -> None:
    given = participation(over=over).score(_readings([1, 1, 1, 1]))
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-7)


def test_relative_participation_by_hand() -> None:
    # A full covariance has 1, whatever its size.
    given = participation(over="mean", relative=True).score(_readings([1, 1, 1, 1]))
    np.testing.assert_allclose(given, 2 / 4, rtol=1e-5)


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        ("mean", np.mean(VARIANCES)),
        ("std", np.std(VARIANCES)),
        ("min", 0),
        ("max", LOG4),
        ("last", LOG2),
    ],
)
def test_variance_by_hand(over: str, expected: float) -> None:
    given = variance(layers="conv", over=over).score(_readings([1, 1, 1, 1]))
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("absent", ["unused", "missing"])
def test_layers_that_are_not_used_do_not_count(absent: str) -> None:
    kept = [0, 1, 1, 0]
    readings = _readings(kept) if absent == "unused" else _readings([1] * 4, kept)
    expected = {
        "sqrt": LOG4 / math.sqrt(3),
        "mean": LOG4 / 2,
        "std": LOG4 / 2,
        "min": 0,
        "max": LOG4,
        "last": 0,
        "slope": -3 * LOG4,  # a third of the depth between them
    }
    for over, value in expected.items():
        given = variance(layers="conv", over=over).score(readings)
        np.testing.assert_allclose(given, value, rtol=1e-5, atol=1e-6, err_msg=over)


@pytest.mark.parametrize("proxy", [participation(), variance(layers="conv")])
def test_no_layer_is_invalid_and_one_layer_has_no_slope(proxy: Proxy) -> None:
    assert proxy.score is not None
    assert math.isnan(proxy.score(_readings([0, 0, 0, 0])))
    assert variance(layers="conv", over="slope").score(_readings([1, 0, 0, 0])) == 0


def test_nan_stays_visible() -> None:
    readings = _readings([1, 1, 1, 1])
    readings.values[COVARIANCE.name] = jnp.full((4, 3), jnp.nan)
    for proxy in (participation(), variance(layers="conv")):
        assert proxy.score is not None
        assert math.isnan(proxy.score(readings))


def test_direction_of_a_reading() -> None:
    assert participation().higher_is_better
    assert not participation(prefer="less").higher_is_better
    assert not variance(prefer="less").higher_is_better


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": "x"}, "unknown layers 'x'; .*cell"),
        ({"over": "x"}, "unknown over 'x'; .*slope.*sqrt"),
        ({"prefer": "x"}, "unknown prefer 'x'; .*less.*more"),
        ({"relative": "x"}, "'relative' of participation must be True or False"),
    ],
)
def test_unknown_options(options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        participation(**options)
    if "relative" not in options:
        with pytest.raises(ValueError, match=message):
            variance(**options)


def test_kinds_that_a_network_lacks() -> None:
    def apply(params: None, x: jax.Array, code: None, tap: Tap) -> jax.Array:
        return tap("only", x, "conv")

    network = Network(lambda key: None, apply)
    batch = Batch(jnp.ones((2, 4, 4, 3)), jnp.zeros(2, int))
    with pytest.raises(ValueError, match=r"'covariance\(bn\)' reads taps of kinds"):
        collect(network, None, batch, None, participation(layers="bn").meters)
    # A network that does not know what it uses is taken to use everything.
    readings = collect(network, None, batch, None, participation().meters)
    np.testing.assert_array_equal(readings[INFLUENCE], [1])


PAIRS = [  # an architecture, and the same without what its output cannot see
    (
        "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|none~2|",
        "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|",
    ),
    (
        "|none~0|+|none~0|nor_conv_1x1~1|+|nor_conv_3x3~0|avg_pool_3x3~1|skip_connect~2|",
        "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|",
    ),
]
NOTHING = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


@pytest.fixture(scope="module")
def scores() -> dict[str, np.ndarray]:
    """Of both members of each pair, and of the cell without any operation."""
    space = nasbench201()
    archs = [arch for pair in PAIRS for arch in pair] + [NOTHING]
    codes = np.stack([space.from_str(arch) for arch in archs])
    proxies = [
        *(f"participation(layers={k},over=mean)" for k in ("conv", "relu", "cell")),
        *(f"variance(layers={k},over=sqrt)" for k in ("bn", "cell", "leaf")),
    ]
    return make_scorer(space, proxies, fidelity=SMALL).score(codes).scores


def test_useless_operations_change_nothing(scores: dict[str, np.ndarray]) -> None:
    for name, values in scores.items():
        if "leaf" in name:  # which counts the operation none as a layer
            continue
        np.testing.assert_allclose(values[0], values[1], rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(values[2], values[3], rtol=1e-5, err_msg=name)


def test_a_network_without_operations(scores: dict[str, np.ndarray]) -> None:
    cell = scores["participation(layers=cell,over=mean)"]
    assert cell[4] == 0
    assert (cell[:4] > 0).all()
    assert all(np.isfinite(values[4]).all() for values in scores.values())


def test_spread_is_six_readings_of_one_forward_pass() -> None:
    proxies = [parse_proxy(text) for text in ENSEMBLES["spread"].components]
    assert [proxy.name for proxy in proxies] == list(ENSEMBLES["spread"].components)
    assert [proxy.higher_is_better for proxy in proxies] == [True] * 5 + [False]
    assert {m.phase for proxy in proxies for m in proxy.meters} == {"forward"}


def test_contract() -> None:
    check_proxy(participation(layers="relu", over="slope"), nasbench201())
