"""Layers that the networks of spaces are made of, with their taps."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from jaxproxy.measure import Draws, Tap
from jaxproxy.ops import avg_pool, batch_norm, conv
from jaxproxy.spaces._mode import Mode

EPS = 1e-5
"""Of BatchNorm and LayerNorm."""

FIXED = (1 + EPS) ** -0.5
"""Factor of BatchNorm in evaluation mode before any training."""


def normalise(z: Array, scale: Array, bias: Array, norm: str) -> Array:
    """BatchNorm of float[B, H, W, C] in a mode of ``NORMS``."""
    if norm == "batch":
        return batch_norm(z, scale, bias, EPS)
    if norm == "fixed":
        return z * (scale * FIXED) + bias
    return z


def first_products(x: Array, size: int, stride: int = 1) -> Array:
    """What the first element of a kernel meets, float[B, H, W] of float[B, R, R, C].

    That is the derivative by it of the first channel of a convolution with padding
    ``(size - 1) // 2``.
    """
    low = (size - 1) // 2
    height, width = ((side + 2 * low - size) // stride + 1 for side in x.shape[1:3])
    x = jnp.pad(x[..., 0], [(0, 0), (low, 0), (low, 0)])
    return x[:, : height * stride : stride, : width * stride : stride]


def tapped_conv(
    name: str,
    x: Array,
    kernel: Array,
    tap: Tap,
    *,
    stride: int = 1,
    groups: int = 1,
    portable: bool = False,
) -> Array:
    """Convolution float[B, H, W, C] by float[k, k, Cin / groups, C], both measured."""
    kernel = tap.parameter(f"{name}.weight", kernel, "conv_w")
    y = conv(x, kernel, stride=stride, groups=groups, portable=portable)
    first = partial(first_products, x, kernel.shape[0], stride)
    return tap(name, tap.slope(f"{name}.weight", y, first), "conv")


def tapped_bn(
    name: str, x: Array, scale: Array, bias: Array, tap: Tap, norm: str
) -> Array:
    """BatchNorm of float[B, ..., C] in a mode of ``NORMS``, measured."""
    x = tap(f"{name}.input", x, "bn_input")
    scale = tap.parameter(f"{name}.weight", scale, "bn_w")
    bias = tap.parameter(f"{name}.bias", bias, "bn_b")
    y = normalise(x, scale, bias, norm)
    if norm == "fixed":
        y = tap.slope(f"{name}.weight", y, lambda: x[..., 0] * FIXED)
        y = tap.slope(f"{name}.bias", y, lambda: jnp.ones_like(y[..., 0]))
    return tap(name, y, "bn")


def tapped_dense(
    name: str, x: Array, kernel: Array, bias: Array, tap: Tap, kind: str = "linear_w"
) -> Array:
    """Dense layer float[..., Cin] by float[Cin, C] plus float[C], all measured."""
    kernel = tap.parameter(f"{name}.weight", kernel, kind)
    bias = tap.parameter(f"{name}.bias", bias, "linear_b")
    y = tap.slope(f"{name}.weight", x @ kernel, lambda: x[..., 0])
    y = tap.slope(f"{name}.bias", y + bias, lambda: jnp.ones_like(y[..., 0]))
    return tap(name, y, "linear")


def tapped_ln(name: str, x: Array, affine: Array, tap: Tap, norm: str) -> Array:
    """LayerNorm of float[..., C] by scale and bias float[2, C], measured.

    It has no statistics of a batch, so all modes but ``"none"`` are one.
    """
    if norm == "none":
        return x
    scale = tap.parameter(f"{name}.weight", affine[0], "ln_w")
    bias = tap.parameter(f"{name}.bias", affine[1], "ln_b")
    centred = x - x.mean(-1, keepdims=True)
    variance = jnp.square(centred).mean(-1, keepdims=True)
    return tap(name, centred * lax.rsqrt(variance + EPS) * scale + bias, "ln")


class BN(nnx.Module):
    def __init__(self, channels: int, mode: Mode) -> None:
        self.mode = mode
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))

    def __call__(self, name: str, x: Array, tap: Tap) -> Array:
        scale, bias = self.scale[...], self.bias[...]
        return tapped_bn(name, x, scale, bias, tap, self.mode.norm)


class ConvBN(nnx.Module):
    def __init__(
        self,
        size: int,
        inputs: int,
        outputs: int,
        mode: Mode,
        draws: Draws,
        stride: int = 1,
    ) -> None:
        self.stride = stride
        self.kernel = nnx.Param(mode.draw(draws, (size, size, inputs, outputs)))
        self.bn = BN(outputs, mode)

    def __call__(self, name: str, x: Array, tap: Tap) -> Array:
        here = Conv(self.kernel[...], self.bn.scale[...], self.bn.bias[...])
        return tapped_conv_bn(name, x, here, tap, self.bn.mode, stride=self.stride)


class Conv(NamedTuple):
    """Parameters of a convolution with its BatchNorm."""

    kernel: Array
    scale: Array
    bias: Array


def tapped_conv_bn(
    name: str,
    x: Array,
    here: Conv,
    tap: Tap,
    mode: Mode,
    *,
    stride: int = 1,
    groups: int = 1,
) -> Array:
    """Convolution and BatchNorm of float[B, H, W, Cin], all measured."""
    x = tapped_conv(
        f"{name}.conv", x, here.kernel, tap,
        stride=stride, groups=groups, portable=mode.plain,
    )  # fmt: skip
    return tapped_bn(f"{name}.bn", x, here.scale, here.bias, tap, mode.norm)


class Convs(nnx.Module):
    """The parameters of n convolutions of one shape, stacked."""

    def __init__(
        self, num: int, size: int, inputs: int, outputs: int, mode: Mode, draws: Draws
    ) -> None:
        """Draws them."""
        self.kernel = nnx.Param(mode.draw(draws, (num, size, size, inputs, outputs), 1))
        self.scale = nnx.Param(jnp.ones((num, outputs)))
        self.bias = nnx.Param(jnp.zeros((num, outputs)))

    def stacked(self) -> Conv:
        """With a leading axis n."""
        return Conv(self.kernel[...], self.scale[...], self.bias[...])


class Linear(nnx.Module):
    def __init__(self, inputs: int, outputs: int, mode: Mode, draws: Draws) -> None:
        self.kernel = nnx.Param(mode.draw(draws, (inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs))

    def __call__(self, name: str, x: Array, tap: Tap) -> Array:
        return tapped_dense(name, x, self.kernel[...], self.bias[...], tap)


class Reduction(nnx.Module):
    """Residual block between stages, at half the resolution."""

    def __init__(self, inputs: int, outputs: int, mode: Mode, draws: Draws) -> None:
        self.conv_a = ConvBN(3, inputs, outputs, mode, draws, stride=2)
        self.conv_b = ConvBN(3, outputs, outputs, mode, draws)
        self.down = nnx.Param(mode.draw(draws, (1, 1, inputs, outputs)))

    def __call__(self, name: str, x: Array, tap: Tap) -> Array:
        pooled = tap(f"{name}.pool", avg_pool(x, 2, stride=2), "pool")
        shortcut = tapped_conv(f"{name}.down", pooled, self.down[...], tap)
        for part, block in (("conv_a", self.conv_a), ("conv_b", self.conv_b)):
            x = tap(f"{name}.{part}.relu", jax.nn.relu(x), "relu")
            x = block(f"{name}.{part}", x, tap)
        return tap(name, x + shortcut, "reduction")
