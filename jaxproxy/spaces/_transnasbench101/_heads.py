"""Heads of TransNAS-Bench-101's tasks: linear, over nine tiles, and convolutional."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxproxy.measure import Draws, Tap
from jaxproxy.ops import conv, conv_transpose
from jaxproxy.spaces._layers import BN, Linear
from jaxproxy.spaces._mode import Mode
from jaxproxy.spaces._transnasbench101._codes import TASKS, TILES, Layer, decoder

_SLOPE = 0.2
"""Of the leaky rectifier below zero."""


def make_head(
    task: str, width: int, mode: Mode, draws: Draws
) -> "Pooled | Jigsaw | Decoder":
    """Head of a task behind 8 times ``width`` channels."""
    if decoder(task, width):
        return Decoder(task, width, mode, draws)
    if task == "jigsaw":
        return Jigsaw(TILES * 8 * width, TASKS[task], mode, draws)
    return Pooled(8 * width, TASKS[task], mode, draws)


class Pooled(Linear):
    """A linear layer on the mean over pixels."""

    def __call__(self, name: str, x: Array, tap: Tap) -> Array:
        """Outputs float[B, K] of features float[B, H, W, C]."""
        return super().__call__(name, x.mean((1, 2)), tap)


class Jigsaw(Linear):
    """A linear layer on the means over pixels of nine tiles."""

    def __call__(self, name: str, x: Array, tap: Tap) -> Array:
        """Logits float[B, K] of features float[9 B, H, W, C], tiles of an image first.

        It taps no slopes: an image is nine rows of the layers before.
        """
        x = x.mean((1, 2)).reshape(-1, self.kernel.shape[0])
        kernel = tap.parameter(f"{name}.weight", self.kernel[...], "linear_w")
        bias = tap.parameter(f"{name}.bias", self.bias[...], "linear_b")
        return tap(name, x @ kernel + bias, "linear")


class Decoder(nnx.Module):
    """Convolutions that bring features back to the side of the image.

    Outputs of images are between -1 and 1, those of segmentation are logits.
    """

    def __init__(self, task: str, width: int, mode: Mode, draws: Draws) -> None:
        """Draws the parameters of its layers."""
        *hidden, last = decoder(task, width)
        self.bounded = task != "segmentsemantic"
        self.hidden = nnx.List([_Hidden(layer, mode, draws) for layer in hidden])
        self.last = _Convolution(last, mode, draws)

    def __call__(self, name: str, x: Array, tap: Tap) -> Array:
        """Outputs float[B, 32 H, 32 W, K] of features float[B, H, W, C]."""
        for i, layer in enumerate(self.hidden):
            x = layer(f"{name}.{i}", x, tap)
        x = self.last(f"{name}.{len(self.hidden)}.conv", x, tap)
        return jnp.tanh(x) if self.bounded else x


class _Convolution(nnx.Module):
    """3x3 convolution, ordinary or transposed, with a bias.

    Kaiming's fan-in is all nine taps of a kernel, though a pixel of a transposed
    convolution meets four at most.
    """

    def __init__(self, layer: Layer, mode: Mode, draws: Draws) -> None:
        self.up, self.mode = layer.up, mode
        self.kernel = nnx.Param(mode.draw(draws, (3, 3, layer.inputs, layer.outputs)))
        self.bias = nnx.Param(jnp.zeros(layer.outputs))

    def __call__(self, name: str, x: Array, tap: Tap) -> Array:
        kernel = tap.parameter(f"{name}.weight", self.kernel[...], "conv_w")
        bias = tap.parameter(f"{name}.bias", self.bias[...], "conv_b")
        portable = self.mode.plain
        if self.up:
            x = conv_transpose(x, kernel, stride=2, portable=portable)
        else:
            x = conv(x, kernel, portable=portable)
        return tap(name, x + bias, "conv")


class _Hidden(nnx.Module):
    """Convolution, BatchNorm and leaky rectifier."""

    def __init__(self, layer: Layer, mode: Mode, draws: Draws) -> None:
        self.conv = _Convolution(layer, mode, draws)
        self.bn = BN(layer.outputs, mode)

    def __call__(self, name: str, x: Array, tap: Tap) -> Array:
        x = self.bn(f"{name}.bn", self.conv(f"{name}.conv", x, tap), tap)
        x = self.bn.mode.rescaled(name, x, tap)
        return tap(f"{name}.relu", jax.nn.leaky_relu(x, _SLOPE), "relu")
