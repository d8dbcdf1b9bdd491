"""Unlike models in one call: what applies is scored, the rest refused with a reason."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import Array

import jaxproxy
from jaxproxy.measure import (
    MeterSet,
    Network,
    Tap,
    network_from_linen,
    network_from_nnx,
)
from jaxproxy.scoring import Population
from jaxproxy.spaces import anatomy
from jaxproxy.types import Fidelity

X = jnp.zeros((4, 6, 6, 3))
PROXIES = (
    "params",
    "macs",
    "grad_norm",
    "naswot",
    "synflow",
    "participation",
    "zen",
    "az_trainability",
)


class _Convolutional(linen.Module):
    scale: float = 1.0
    stateless: bool = False

    @linen.compact
    def __call__(self, x: Array) -> Array:
        draw = linen.initializers.normal(self.scale)
        x = linen.Conv(4, (3, 3), kernel_init=draw, use_bias=False)(x)
        x = linen.BatchNorm(use_running_average=self.stateless)(x)
        return linen.Dense(5)(jax.nn.relu(x).mean((1, 2)))


class _Tokens(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.embed = nnx.Linear(9, 8, rngs=rngs)
        self.norm = nnx.LayerNorm(8, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)
        self.head = nnx.Linear(8, 5, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        tokens = self.embed(x.reshape(len(x), 12, 9))
        return self.head((tokens + self.attention(self.norm(tokens))).mean(1))


MODELS = {
    "narrow": _Convolutional(0.1),
    "tokens": lambda rngs: _Tokens(rngs),
    "wide": _Convolutional(3.0),
}


@pytest.fixture(scope="module", autouse=True)
def _quickly() -> Iterator[None]:
    yield


@pytest.fixture(scope="module")
def scored() -> Population:
    return jaxproxy.population(MODELS, X, PROXIES)


def test_equal_structures_share_a_program_and_keep_their_weights(
    scored: Population,
) -> None:
    """Not even the initialisers need to be equal."""
    assert scored.names == ("narrow", "tokens", "wide")
    assert scored.num_structures == 2
    narrow, _, wide = scored.scores["grad_norm"]
    assert narrow != pytest.approx(wide, rel=0.1)
    # Synflow draws its own, by seed.
    assert scored.scores["synflow"][0] == scored.scores["synflow"][2]
    for name, column in (("narrow", 0), ("wide", 2)):
        space = jaxproxy.from_linen(MODELS[name], X, name=name)
        fidelity = Fidelity(width=1, cells=1, batch_size=4)
        (alone,) = jaxproxy.score(space, [name], ["grad_norm"], fidelity=fidelity)[
            "grad_norm"
        ]
        assert scored.scores["grad_norm"][column] == pytest.approx(alone, rel=1e-5)


def test_counts_are_those_of_the_layers(scored: Population) -> None:
    """By hand."""
    convolutional = 27 * 4 + 2 * 4 + 4 * 5 + 5
    attention = 4 * (8 * 8 + 8)
    tokens = (9 * 8 + 8) + 16 + attention + (8 * 5 + 5)
    expected = [convolutional, tokens, convolutional]
    np.testing.assert_array_equal(scored.scores["params"], expected)
    products = 2 * 12 * 12 * 8  # queries by keys, and weights by values
    token_macs = 12 * 9 * 8 + 4 * 12 * 8 * 8 + products + 8 * 5
    convolutional_macs = 36 * 27 * 4 + 4 * 5
    expected = [convolutional_macs, token_macs, convolutional_macs]
    np.testing.assert_array_equal(scored.scores["macs"], expected)


def test_what_does_not_apply_is_refused_with_a_reason(scored: Population) -> None:
    """And the rest is scored."""
    lacking = {"zen": "features", "az_trainability": "blocks"}
    for proxy, reason in lacking.items():
        assert set(scored.refused[proxy]) == set(MODELS)
        assert all(reason in text for text in scored.refused[proxy].values())
    for proxy, kind in {"naswot": "relu", "participation": "conv"}.items():
        assert kind in scored.refused[proxy]["tokens"]
    assert not scored.refused["grad_norm"]
    for proxy, values in scored.scores.items():
        here = [name in scored.refused[proxy] for name in scored.names]
        np.testing.assert_array_equal(np.isnan(values), here)
        np.testing.assert_array_equal(scored.valid[proxy], np.logical_not(here))


def test_rectifiers_are_tapped_though_they_are_functions(scored: Population) -> None:
    """The kernel of naswot, from the model's own activations."""
    model = _Convolutional(0.1)
    weight_key, batch_key = jax.random.split(jax.random.key(0))
    variables = model.init(weight_key, X)
    x_key, _ = jax.random.split(batch_key)
    x = jax.random.normal(x_key, (X.size,)).reshape(X.shape)
    kernel = variables["params"]["Conv_0"]["kernel"]
    z = jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    active = np.asarray(z > z.mean((0, 1, 2))).reshape(4, -1).astype(float)
    agree = active @ active.T + (1 - active) @ (1 - active).T
    expected = np.linalg.slogdet(agree)[1]
    assert scored.scores["naswot"][0] == pytest.approx(expected, rel=1e-3)


def _logits(net: Network, variables: Any, x: Array) -> Array:
    return net.apply(variables, x, None, Tap(MeterSet(())))


def test_modes_of_normalisation_and_weights() -> None:
    """Running statistics, none, and weights drawn anew."""
    x = jax.random.normal(jax.random.key(3), X.shape)
    key = jax.random.key(0)
    net = network_from_linen(_Convolutional(), X, norm="fixed")
    variables = net.init(key)
    expected = _Convolutional(stateless=True).apply(variables, x)
    np.testing.assert_allclose(_logits(net, variables, x), expected, rtol=1e-5)
    bare = network_from_linen(_Convolutional(), X, norm="none")
    twice = jax.tree.map(lambda leaf: leaf, variables)
    twice["params"]["Conv_0"]["kernel"] = 2 * variables["params"]["Conv_0"]["kernel"]
    # No bias before the rectifier, and none drawn after it: homogeneous.
    np.testing.assert_allclose(
        _logits(bare, twice, x), 2 * _logits(bare, variables, x), rtol=1e-5
    )
    drawn = network_from_nnx(lambda rngs: _Tokens(rngs), weights="normal").init(key)
    query = drawn["params"]["attention"]["query"]["kernel"]
    assert query.shape == (8, 2, 4)
    assert float(query.std()) == pytest.approx(1, abs=0.3)
    assert not np.any(drawn["params"]["head"]["bias"])
    with pytest.raises(ValueError, match="unknown norm 'layer'; choose from"):
        network_from_linen(_Convolutional(), X, norm="layer")
    with pytest.raises(ValueError, match="unknown weights 'zeros'; choose from"):
        network_from_nnx(lambda rngs: _Tokens(rngs), weights="zeros")


def test_an_nnx_instance_keeps_its_weights() -> None:
    """Whatever the seed."""
    made = _Tokens(nnx.Rngs(7))
    net = network_from_nnx(made)
    x = jax.random.normal(jax.random.key(3), X.shape)
    for seed in (0, 1):
        given = _logits(net, net.init(jax.random.key(seed)), x)
        np.testing.assert_allclose(given, made(x), rtol=1e-5)


@pytest.mark.parametrize(
    ("models", "x", "message"),
    [
        ({}, X, "at least one model"),
        ({"a": 3}, X, "3 is no model; give a Linen module"),
        ({"a": _Convolutional()}, jnp.zeros((4, 6, 6, 3), int), "give real numbers if"),
        ({"a": _Convolutional()}, jnp.zeros((4, 6, 6, 3), bool), "must be real"),
    ],
)
def test_what_is_no_model_is_an_error(models: Any, x: Array, message: str) -> None:
    """It would leave nothing to score."""
    with pytest.raises(ValueError, match=message):
        jaxproxy.population(models, x)


def test_unknown_model_of_a_space() -> None:
    """The choices are named."""
    space = jaxproxy.from_linen(_Convolutional(), X, name="mine")
    with pytest.raises(ValueError, match=r"unknown model 'yours'; .* \['mine'\]"):
        space.from_str("yours")


def test_structure_tells_constants_apart() -> None:
    """Programs that differ in a constant only are not one program."""

    class Shifted(linen.Module):
        shift: int

        @linen.compact
        def __call__(self, x: Array) -> Array:
            return linen.Dense(5)(x.reshape(len(x), -1) + np.arange(108.0) * self.shift)

    one, two, again = (anatomy("a", Shifted(s), X).structure for s in (1, 2, 1))
    assert one == again != two
