"""What is made of ReLU6 and is no rectifier, and BatchNorm in evaluation mode."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import Array

import jaxproxy

X = jnp.zeros((4, 6))


class _Net(linen.Module):
    activation: Callable[[Array], Array]
    gate: Callable[[Array], Array] | None = None

    @linen.compact
    def __call__(self, x: Array) -> Array:
        y = self.activation(linen.Dense(16)(x))
        if self.gate is not None:
            y = y * self.gate(linen.Dense(16)(x))
        return linen.Dense(2)(y)


def _written_out(x: Array) -> Array:
    return x * jax.nn.relu6(x + 3.0) / 6


def _in_a_loop(x: Array) -> Array:
    return jax.lax.scan(lambda c, _: (jax.nn.hard_swish(c), None), x, length=2)[0]


NONE = {
    "hard swish": _Net(jax.nn.hard_swish),
    "hard sigmoid": _Net(jax.nn.hard_sigmoid),
    "written out": _Net(_written_out),
    "the other way": _Net(lambda x: jax.nn.relu6(3 + x) * x * (1 / 6)),
    "jitted": _Net(jax.jit(_written_out)),
    "in a loop": _Net(_in_a_loop),
    "gate": _Net(jax.nn.silu, jax.nn.hard_sigmoid),
    "silu": _Net(jax.nn.silu),
}


def _kernel_score(active: np.ndarray) -> float:
    active = active.reshape(len(active), -1).astype(float)
    agree = active @ active.T + (1 - active) @ (1 - active).T
    return np.linalg.slogdet(agree)[1]


def test_hard_gates_are_no_rectifiers() -> None:
    """A model with nothing else has no patterns."""
    proxies = ["naswot", "linear_regions", "swap(images=4)", "capacity(layers=relu)"]
    found = jaxproxy.population(NONE, X, proxies)
    for proxy in proxies:
        assert set(found.refused[proxy]) == set(NONE)
        assert np.isnan(found.scores[proxy]).all()


@pytest.mark.parametrize(
    "model",
    [
        _Net(jax.nn.relu),
        _Net(jax.nn.relu6),
        _Net(jax.nn.relu, jax.nn.hard_sigmoid),
        _Net(lambda x: jax.nn.relu(x + 0.0)),
        _Net(lambda x: _written_out(jax.nn.relu(x))),
    ],
)
def test_rectifiers_beside_them_are_read_alone(model: _Net) -> None:
    """The kernel by numpy, of the first layer's rectifier."""
    found = jaxproxy.population({"a": model}, X, ["naswot"])
    weight_key, batch_key = jax.random.split(jax.random.key(0))
    params = model.init(weight_key, X)["params"]["Dense_0"]
    x = jax.random.normal(jax.random.split(batch_key)[0], (X.size,)).reshape(X.shape)
    expected = _kernel_score(np.asarray(x @ params["kernel"] + params["bias"]) > 0)
    assert found.scores["naswot"][0] == pytest.approx(expected, rel=1e-4)


class _Normalised(linen.Module):
    """BatchNorm whose mode is of the module, or of its call, by place or by name."""

    how: str
    running: bool
    axis_name: str | None = None

    @linen.compact
    def __call__(self, x: Array) -> Array:
        x = linen.Dense(16, use_bias=False)(x)
        if self.how == "module":
            x = linen.BatchNorm(self.running, axis_name=self.axis_name)(x)
        elif self.how == "call":
            x = linen.BatchNorm()(x, use_running_average=self.running)
        else:
            x = linen.BatchNorm()(x, self.running)
        return linen.Dense(2)(jax.nn.relu(x))


class _NNX(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(6, 16, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(16, rngs=rngs)
        self.head = nnx.Linear(16, 2, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.head(jax.nn.relu(self.norm(self.first(x))))


def test_batch_norm_is_in_the_mode_of_the_setup() -> None:
    """Whatever the model's own: by the batch, or by running statistics."""
    proxies = ["naswot", "grad_norm", "capacity(layers=linear)", "vkdnw_entropy"]
    models: dict[str, Any] = {
        f"{how} {running}": _Normalised(how, running)
        for how in ("module", "call", "place")
        for running in (False, True)
    }
    models["devices"] = _Normalised("module", running=False, axis_name="batch")
    found = jaxproxy.population(models, X, proxies)
    for proxy in proxies:
        assert found.refused[proxy] == {}
        np.testing.assert_allclose(found.scores[proxy], found.scores[proxy][0], 1e-5)
    # By numpy: a unit is active where its value is above the mean.
    weight_key, batch_key = jax.random.split(jax.random.key(0))
    kernel = models["call True"].init(weight_key, X)["params"]["Dense_0"]["kernel"]
    x = jax.random.normal(jax.random.split(batch_key)[0], (X.size,)).reshape(X.shape)
    z = np.asarray(x @ kernel)
    expected = _kernel_score(z > z.mean(0))
    assert found.scores["naswot"][1] == pytest.approx(expected, rel=1e-4)
    train, evaluate = _NNX(nnx.Rngs(0)), _NNX(nnx.Rngs(0))
    train.train()
    evaluate.eval()
    found = jaxproxy.population({"train": train, "eval": evaluate}, X, proxies)
    for proxy in proxies:
        one, other = found.scores[proxy]
        assert one == pytest.approx(other, rel=1e-5)
