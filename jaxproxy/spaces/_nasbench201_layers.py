"""The layers of NAS-Bench-201's network that no architecture changes."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxproxy.network import Tap
from jaxproxy.ops import avg_pool, conv
from jaxproxy.setups import WEIGHTS
from jaxproxy.spaces._nasbench201_plain import normalise, rescale
from jaxproxy.types import Array

__all__ = ["BN", "ConvBN", "Mode", "Reduction"]


class Mode(NamedTuple):
    """What the modules of a network have in common."""

    weights: str
    norm: str
    plain: bool

    def draw(self, rngs: nnx.Rngs, shape: tuple[int, ...], stacked: int = 0) -> Array:
        """Weights of a kernel or matrix, or of several stacked in leading axes."""
        fan_in = math.prod(shape[stacked:-1])
        fan_out = math.prod(shape[stacked:-2]) * shape[-1]
        # Flat: the same numbers, but a draw of five axes takes XLA seconds to compile.
        numbers = jax.random.normal(rngs.params(), (math.prod(shape),)).reshape(shape)
        return WEIGHTS[self.weights](numbers, fan_in, fan_out)

    def rescaled(self, name: str, x: Array, tap: Tap) -> Array:
        """Divided by its largest entry, where nothing else keeps it in range."""
        if self.norm != "none":
            return x
        x, scale = rescale(x)
        tap(f"{name}.scale", scale[None], "log_scale")
        return x


class BN(nnx.Module):
    def __init__(self, channels: int, mode: Mode) -> None:
        self.mode = mode
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))

    def __call__(self, name: str, x: Array, tap: Tap) -> Array:
        x = tap(f"{name}.input", x, "bn_input")
        scale = tap.parameter(f"{name}.weight", self.scale[...], "bn_w")
        bias = tap.parameter(f"{name}.bias", self.bias[...], "bn_b")
        return tap(name, normalise(x, scale, bias, self.mode.norm), "bn")


class ConvBN(nnx.Module):
    def __init__(
        self,
        size: int,
        inputs: int,
        outputs: int,
        mode: Mode,
        rngs: nnx.Rngs,
        stride: int = 1,
    ) -> None:
        self.stride = stride
        self.kernel = nnx.Param(mode.draw(rngs, (size, size, inputs, outputs)))
        self.bn = BN(outputs, mode)

    def __call__(self, name: str, x: Array, tap: Tap) -> Array:
        kernel = tap.parameter(f"{name}.conv.weight", self.kernel[...], "conv_w")
        x = tap(f"{name}.conv", conv(x, kernel, stride=self.stride), "conv")
        return self.bn(f"{name}.bn", x, tap)


class Reduction(nnx.Module):
    """Residual block between stages: half the resolution, twice the channels."""

    def __init__(self, channels: int, mode: Mode, rngs: nnx.Rngs) -> None:
        self.conv_a = ConvBN(3, channels, 2 * channels, mode, rngs, stride=2)
        self.conv_b = ConvBN(3, 2 * channels, 2 * channels, mode, rngs)
        self.down = nnx.Param(mode.draw(rngs, (1, 1, channels, 2 * channels)))

    def __call__(self, name: str, x: Array, tap: Tap) -> Array:
        pooled = tap(f"{name}.pool", avg_pool(x, 2, stride=2), "pool")
        down = tap.parameter(f"{name}.down.weight", self.down[...], "conv_w")
        shortcut = tap(f"{name}.down", conv(pooled, down), "conv")
        for part, block in (("conv_a", self.conv_a), ("conv_b", self.conv_b)):
            x = tap(f"{name}.{part}.relu", jax.nn.relu(x), "relu")
            x = block(f"{name}.{part}", x, tap)
        return tap(name, x + shortcut, "reduction")
