"""One model that fails does not take the others with it, and its reason is one line."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import Array

import jaxproxy
from jaxproxy.proxies import Proxy, grad_norm

X = jnp.zeros((4, 6))


class _Plain(linen.Module):
    @linen.compact
    def __call__(self, x: Array) -> Array:
        x = jax.nn.relu(linen.Dense(4)(x))
        return linen.Dense(3)(x)


class _With(linen.Module):
    """Does something to its features."""

    function: Callable[[Array], Any]

    @linen.compact
    def __call__(self, x: Array) -> Array:
        x = self.function(linen.Dense(4)(x))
        return linen.Dense(3)(x)


class _Flag(linen.Module):
    @linen.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        x = jax.nn.relu(linen.Dense(4)(x)) * (2 if train else 1)
        return linen.Dense(3)(x)


class _Keyword(nnx.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.head = nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, x: Array, scale: int = 1) -> Array:
        return self.head(x) * scale


class _Several(linen.Module):
    tree: Callable[[Array], Any]

    @linen.compact
    def __call__(self, x: Array) -> Any:
        return self.tree(linen.Dense(3)(x))


def _raise(error: Exception) -> Callable[[Array], Array]:
    def function(x: Array) -> Array:
        raise error

    return function


FAILING = {
    "type": (_With(_raise(TypeError("odd"))), "TypeError: odd"),
    "todo": (_With(_raise(NotImplementedError())), "NotImplementedError"),
    "name": (_With(lambda x: x @ undefined), "NameError: name 'undefined'"),  # type: ignore  # noqa: F821
    "key": (_With(_raise(KeyError("w"))), "KeyError: 'w'"),
    "check": (_With(_raise(AssertionError("no"))), "AssertionError: no"),
    "trace": (_With(lambda x: x if x.sum() > 0 else -x), "TracerBoolConversionError"),
    "shape": (_With(lambda x: x @ jnp.ones((9, 9))), "TypeError: dot_general"),
    "axis": (_With(lambda x: jax.lax.pmean(x, "batch")), "build it without axis_name"),
    "flag": (_Flag(), "call={'train': True}"),
    "flax": (_With(lambda x: linen.Dense(4, parent=None)(x)), "CallCompactUnbound"),
    "pair": (
        _Several(lambda y: (y, {"a": y})),
        r"[0] float32[1, 3], [1]['a'] float32[1, 3]",
    ),
    "dict": (_Several(lambda y: {"a": y, "b": y}), "['a'] float32[1, 3], ['b']"),
    "none": (_Several(lambda y: None), "the model gives None"),
    "class": (_Plain, "_Plain is a class; give an instance"),
    "nnx class": (_Keyword, "lambda rngs: _Keyword(..., rngs=rngs)"),
    "function": (lambda x: x.mean(), "give a Linen module, an NNX module"),
    "of two": (lambda params, x: x, "cannot be called with nnx.Rngs alone"),
    "no module": (lambda rngs: 3, "gives no NNX module"),
    "tuple": ((_Plain(), {}), "is no model"),
}


def test_models_that_fail_are_refused_and_the_others_scored() -> None:
    """Whatever exception is the model's own, or of tracing it."""
    models = {name: model for name, (model, _) in FAILING.items()}
    proxies = ["params", "grad_norm"]
    found = jaxproxy.population({"a": _Plain(), **models, "b": _Plain()}, X, proxies)
    alone = jaxproxy.population({"a": _Plain()}, X, proxies)
    for proxy in proxies:
        assert list(found.refused[proxy]) == list(models)
        for name, (_, reason) in FAILING.items():
            assert reason in found.refused[proxy][name]
            assert "\n" not in found.refused[proxy][name]
        (score,) = alone.scores[proxy]
        assert found.scores[proxy][[0, -1]].tolist() == [score, score]
        assert np.isnan(found.scores[proxy][1:-1]).all()
        assert found.valid[proxy].tolist() == [True, *[False] * len(models), True]


@pytest.mark.parametrize("name", list(FAILING))
def test_a_model_that_fails_alone_is_an_error(name: str) -> None:
    """It would leave nothing to score."""
    with pytest.raises(ValueError) as raised:
        jaxproxy.population({name: FAILING[name][0]}, X)
    assert str(raised.value).startswith(f"no model can be scored; {name}: ")
    assert FAILING[name][1] in str(raised.value)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()])
def test_what_is_no_failure_of_the_model_ends_the_call(error: Any) -> None:
    """The user's interruption, and memory that is gone."""
    with pytest.raises(type(error)):
        jaxproxy.population({"a": _Plain(), "b": _With(_raise(error))}, X)


def test_a_proxy_that_fails_is_refused_and_the_others_scored() -> None:
    """While it is made, or traced."""
    good = grad_norm()

    def fail(readings: Any) -> Array:
        raise ZeroDivisionError("of the proxy")

    def uneven(space: Any, codes: np.ndarray) -> np.ndarray:
        raise KeyError("count")

    bad = Proxy("bad", meters=good.meters, score=fail)
    worse = Proxy("worse", count=uneven)
    found = jaxproxy.population({"a": _Plain()}, X, [bad, good, worse])
    assert found.refused["bad"] == {"a": "ZeroDivisionError: of the proxy"}
    assert found.refused["worse"] == {"a": "KeyError: 'count'"}
    assert found.valid["grad_norm"].all()


def test_keywords_of_the_call() -> None:
    """By name, in all dialects; a model that does not take them is refused."""
    call = {"train": True}
    models = {"with": _Flag(), "without": _Plain()}
    found = jaxproxy.population(models, X, ["grad_norm"], call=call)
    assert "unexpected keyword" in found.refused["grad_norm"]["without"]
    bound = jaxproxy.population({"with": _With(lambda x: 2 * jax.nn.relu(x))}, X,
                                ["grad_norm"])  # fmt: skip
    np.testing.assert_allclose(
        found.scores["grad_norm"][0], bound.scores["grad_norm"][0], rtol=1e-6
    )
    model = _Keyword(rngs=nnx.Rngs(0))
    for space in (
        jaxproxy.from_nnx(model, X, call={"scale": 0}),
        jaxproxy.from_linen(_Flag(), X, call=call),
    ):
        assert int(space.num_params(np.array([0]))) > 0
    with pytest.raises(TypeError, match="missing 1 required keyword-only"):
        jaxproxy.from_linen(_Flag(), X)


class _Dropout(linen.Module):
    rate: float
    stream: str = "dropout"

    @linen.compact
    def __call__(self, x: Array) -> Array:
        x = jax.nn.relu(linen.Dense(4)(x))
        x = linen.Dropout(self.rate, deterministic=False, rng_collection=self.stream)(x)
        return linen.Dense(3)(x)


def test_dropout_is_drawn_of_the_seed() -> None:
    """Equal seeds, equal scores; a rate of zero is none."""
    models = {
        "plain": _Plain(),
        "zero": _Dropout(0.0),
        "half": _Dropout(0.5),
        "other stream": _Dropout(0.5, "noise"),
    }
    first, again, other = (
        jaxproxy.population(models, X, ["grad_norm"], seeds=[seed]).scores["grad_norm"]
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()
    assert first[1] == pytest.approx(first[0], rel=1e-6)
    assert first[2] != pytest.approx(first[0], rel=1e-3)
    # One key for all streams, whatever their names.
    assert first[3] == pytest.approx(first[2], rel=1e-6)
