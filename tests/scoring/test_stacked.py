"""Layers in a stack, under remat and written out have the same scores."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import Array

import jaxproxy
from jaxproxy.measure import network_from_linen, network_from_nnx

D, L = 5, 3
X = jnp.zeros((4, D))
PROXIES = (
    *("params", "macs", "num_tensors", "grad_norm", "snip", "fisher", "grasp"),
    *(
        "l2_norm",
        "jacov",
        "ntk(weights=kaiming)",
        "naswot",
        "linear_regions",
        "cv(draws=3)",
    ),
    *("intrain(layers=linear)", "capacity(layers=relu)", "vkdnw_entropy"),
)
"""Those whose weights are the model's own, or whose draws do not show."""


def _waves(key: Array, shape: Any, dtype: Any = jnp.float32) -> Array:
    """Equal weights for equal shapes."""
    numbers = jnp.sin(1.7 * jnp.arange(1, np.prod(shape) + 1, dtype=dtype) ** 2)
    return numbers.reshape(shape)


class _Layer(linen.Module):
    @linen.compact
    def __call__(self, x: Array, _: None = None) -> tuple[Array, None]:
        x = linen.LayerNorm()(x)
        return jax.nn.relu(linen.Dense(D, kernel_init=_waves)(x)) + x / 2, None


class _Net(linen.Module):
    """Layers written out, perhaps under remat, or in a stack."""

    form: str

    @linen.compact
    def __call__(self, x: Array) -> Array:
        options = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}
        if self.form == "scan":
            x, _ = linen.scan(_Layer, length=L, **options)(name="l")(x, None)
        elif self.form == "remat scan":
            layer = linen.remat(_Layer)
            x, _ = linen.scan(layer, length=L, **options)(name="l")(x, None)
        else:
            layer = linen.remat(_Layer) if self.form == "remat" else _Layer
            for i in range(L):
                x, _ = layer(name=f"l{i}")(x, None)
        return linen.Dense(2, kernel_init=_waves)(x)


class _Block(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.norm = nnx.LayerNorm(D, rngs=rngs)
        self.dense = nnx.Linear(D, D, kernel_init=_waves, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        x = self.norm(x)
        return jax.nn.relu(self.dense(x)) + x / 2


class _Stack(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        make = nnx.vmap(_Block, in_axes=(0,), out_axes=0)
        self.blocks = nnx.split_rngs(splits=L)(make)(rngs)
        self.head = nnx.Linear(D, 2, kernel_init=_waves, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
        def forward(x: Array, block: _Block) -> Array:
            return block(x)

        return self.head(forward(x, self.blocks))


def test_equal_scores_of_layers_in_any_form() -> None:
    """By every proxy that applies, in Linen and NNX."""
    models: dict[str, Any] = {
        form: _Net(form) for form in ("written out", "remat", "scan", "remat scan")
    }
    models["nnx"] = lambda rngs: _Stack(rngs)
    found = jaxproxy.population(models, X, PROXIES)
    for proxy in PROXIES:
        assert found.refused[proxy] == {}, proxy
        # The draws of other weights differ.
        if not proxy.startswith("cv"):
            scores = found.scores[proxy]
            np.testing.assert_allclose(scores, scores[0], rtol=1e-4, err_msg=proxy)
            assert len(set(found.valid[proxy])) == 1
    assert found.scores["num_tensors"][0] == 4 * L + 2
    assert found.scores["macs"][0] == L * D * D + 2 * D


@pytest.mark.parametrize("scheme", ["he_uniform", "uniform", "kaiming", "kaiming_out"])
def test_fan_in_of_a_layer_in_a_stack_is_its_own(scheme: str) -> None:
    """By hand: of D inputs and D outputs, whatever the number of layers."""
    variance = {"he_uniform": 2 / D, "uniform": 1 / (3 * D)}.get(scheme, 2 / D)
    nets = {
        "scan": network_from_linen(_Net("scan"), X, weights=scheme),
        "nnx": network_from_nnx(lambda rngs: _Stack(rngs), weights=scheme),
    }
    kernels = {
        "scan": lambda params: params["l"]["Dense_0"]["kernel"],
        "nnx": lambda params: params["blocks"]["dense"]["kernel"],
    }
    for name, net in nets.items():
        draws = [net.init(jax.random.key(seed))["params"] for seed in range(40)]
        drawn = np.stack([kernels[name](params) for params in draws])
        assert drawn.shape[1:] == (L, D, D)
        # 3,000 numbers: a standard error of 3 percent at most.
        assert drawn.var() == pytest.approx(variance, rel=0.12)


class _Convolutions(linen.Module):
    """A stack of stacks, with another axis of channels than of layers."""

    @linen.compact
    def __call__(self, x: Array) -> Array:
        class Layer(linen.Module):
            @linen.compact
            def __call__(self, x: Array, _: None) -> tuple[Array, None]:
                return linen.Conv(3, (3, 3), use_bias=False)(x), None

        options = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}
        inner = linen.scan(Layer, length=2, **options)
        x, _ = linen.scan(inner, length=4, **options)(name="l")(x, jnp.zeros((4, 2)))
        return linen.Dense(2, use_bias=False)(x.mean((1, 2)))


def test_a_stack_of_stacks_of_convolutions() -> None:
    """By hand: a fan-in of 27, eight layers and a head."""
    proxies = ["num_tensors", "macs", "l2_norm(weights=he_uniform)", "participation"]
    found = jaxproxy.population(
        {"a": _Convolutions()}, jnp.zeros((3, 6, 6, 3)), proxies, seeds=8
    )
    assert not any(found.refused.values())
    assert found.scores["num_tensors"][0] == 9
    assert found.scores["macs"][0] == 8 * 36 * 81 + 6
    # The norm of n numbers of variance v is about sqrt(n v).
    expected = 8 * (81 * 2 / 27) ** 0.5 + (6 * 2 / 3) ** 0.5
    score = found.scores["l2_norm(weights=he_uniform)"][0]
    assert score == pytest.approx(expected, rel=0.03)


class _OtherAxis(linen.Module):
    axis: int

    @linen.compact
    def __call__(self, x: Array) -> Array:
        class Layer(linen.Module):
            @linen.compact
            def __call__(self, x: Array, _: None) -> tuple[Array, None]:
                return linen.Dense(D, use_bias=False)(x), None

        axes = {"params": self.axis}
        layer = linen.scan(
            Layer, length=L, variable_axes=axes, split_rngs={"params": True}
        )
        x, _ = layer(name="l")(x, None)
        return linen.Dense(2)(x)


@pytest.mark.parametrize("axis", [1, -1])
def test_a_stack_along_another_axis_is_refused(axis: int) -> None:
    """Rather than split the wrong way."""
    with pytest.raises(ValueError, match="a stack must be along the first axis"):
        jaxproxy.population({"a": _OtherAxis(axis)}, X)


class _Reversed(linen.Module):
    """A loop backwards, with outputs of its own and constants."""

    rolled: bool

    @linen.compact
    def __call__(self, x: Array) -> Array:
        x = linen.Dense(D, kernel_init=_waves)(x)
        steps = jnp.arange(1.0, 4.0)
        if self.rolled:
            last, outputs = jax.lax.scan(
                lambda c, s: (jax.nn.relu(c * s - x), c * s), x, steps, reverse=True
            )
        else:
            last, ys = x, []
            for step in (3.0, 2.0, 1.0):
                last, y = jax.nn.relu(last * step - x), last * step
                ys = [y, *ys]
            outputs = jnp.stack(ys)
        return last[:, :2] + outputs[0, :, :2] * outputs[2, :, :2]


def test_a_loop_of_functions() -> None:
    """Its rectifiers are read step by step."""
    proxies = ["naswot", "grad_norm", "capacity(layers=relu)", "snip"]
    models = {"rolled": _Reversed(True), "written out": _Reversed(False)}
    found = jaxproxy.population(models, X, proxies)
    for proxy in proxies:
        assert found.refused[proxy] == {}
        rolled, out = found.scores[proxy]
        assert rolled == pytest.approx(out, rel=1e-4), proxy


class _OverImages(linen.Module):
    @linen.compact
    def __call__(self, x: Array) -> Array:
        kernel = self.param("kernel", _waves, (D, 6))
        x = jnp.repeat(x[:, None], 4, 1)  # as many pixels as images
        y = jax.lax.map(lambda one: jax.nn.relu(one @ kernel), x)
        return linen.Dense(2)(y.mean(1))


def test_a_loop_over_images_is_not_read() -> None:
    """Its rows are pixels, which would be taken for images."""
    found = jaxproxy.population({"a": _OverImages()}, X, ["naswot", "l2_norm"])
    assert "may be over them" in found.refused["naswot"]["a"]
    assert not found.refused["l2_norm"]


class _OverPixels(linen.Module):
    """Steps of another axis than images, in a loop of another number."""

    major: bool

    @linen.compact
    def __call__(self, x: Array) -> Array:
        x = jnp.repeat(x[None], 7, 0)  # [7, B, D]
        if self.major:
            x = x.reshape(7, -1)
        y = jax.lax.map(lambda one: jax.nn.relu(one), x)
        return linen.Dense(2)(y[0].reshape(4, -1))


def test_rows_of_a_loop_are_the_images() -> None:
    """Or it is refused."""
    models = {"images": _OverPixels(False), "flat": _OverPixels(True)}
    x = jnp.zeros((4, D))

    class Safe(linen.Module):
        inner: Any

        @linen.compact
        def __call__(self, x: Array) -> Array:
            return self.inner(jnp.resize(x, (4, D)))[: len(x)]

    found = jaxproxy.population(
        {name: Safe(model) for name, model in models.items()}, x, ["naswot"]
    )
    assert set(found.refused["naswot"]) == {"flat"}
    assert "may not be the images" in found.refused["naswot"]["flat"]
