"""Layers of the MobileNetV2 space, whose widths are data.

All arrays have the channels of the widest layer; those that an architecture lacks are
exactly zero, in activations, parameters and gradients, and no reading counts them.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from jaxproxy.measure import WEIGHTS, Draws, Tap
from jaxproxy.ops import conv
from jaxproxy.spaces._layers import Conv, normalise
from jaxproxy.spaces._mobilenetv2._codes import EXPANSIONS, KERNELS
from jaxproxy.spaces._mode import Mode


class BlockParams(NamedTuple):
    """Of an inverted residual block."""

    expand: Conv
    depthwise: Conv
    project: Conv


class Block(NamedTuple):
    """Of a block, what is data: int32[] each, or int32[n] of n blocks."""

    present: Array
    """1, or 0 if the architecture lacks it."""
    kernel: Array
    """Index of its size."""
    inputs: Array
    hidden: Array
    outputs: Array


def live(x: Array, channels: Array, axis: int = -1) -> Array:
    """With zeros for all but the first channels of an axis."""
    shape = [1] * x.ndim
    shape[axis] = -1
    exists = jnp.arange(x.shape[axis], dtype=channels.dtype) < channels
    return jnp.where(exists.reshape(shape), x, jnp.zeros((), x.dtype))


def conv_bn(
    name: str,
    x: Array,
    here: Conv,
    widths: tuple[Array, Array],
    mode: Mode,
    tap: Tap,
    stride: int = 1,
) -> Array:
    """Convolution and BatchNorm float[B, H, W, C], all measured.

    Args:
      name: of the two.
      x: float[B, H, W, Cin].
      here: parameters.
      widths: int32[] each, channels in and out that exist.
      mode: of the network.
      tap: of the network.
      stride: of the convolution.
    """
    inputs, outputs = widths
    taps = here.kernel.shape[0] * here.kernel.shape[1]

    def masked(kernel: Array) -> Array:
        return live(live(kernel, inputs, -2), outputs)

    size = taps * inputs * outputs
    kernel = masked(here.kernel)
    kernel = masked(tap.parameter(f"{name}.conv.weight", kernel, "conv_w", size))
    x = conv(x, kernel, stride=stride, portable=mode.plain)
    x = tap(f"{name}.conv", x, "conv", outputs)
    return _bn(f"{name}.bn", x, here, outputs, mode, tap)


def _bn(name: str, x: Array, here: Conv, width: Array, mode: Mode, tap: Tap) -> Array:
    scale, bias = live(here.scale, width), live(here.bias, width)
    x = tap(f"{name}.input", x, "bn_input", width)
    scale = live(tap.parameter(f"{name}.weight", scale, "bn_w", width), width)
    bias = live(tap.parameter(f"{name}.bias", bias, "bn_b", width), width)
    return tap(name, normalise(x, scale, bias, mode.norm), "bn", width)


def _depthwise(
    name: str,
    x: Array,
    here: Conv,
    spec: Block,
    mode: Mode,
    tap: Tap,
    stride: int,
) -> Array:
    """With BatchNorm; the kernel is the first rows and columns of the largest."""
    sizes = jnp.array(KERNELS, spec.kernel.dtype)
    size, channels = sizes[spec.kernel], x.shape[-1]

    def masked(kernel: Array) -> Array:
        return live(live(live(kernel, size, 0), size, 1), spec.hidden)

    kernel = masked(here.kernel)
    number = size**2 * spec.hidden
    kernel = masked(tap.parameter(f"{name}.conv.weight", kernel, "conv_w", number))
    branches = [
        lambda x, kernel, k=k: conv(
            x, kernel[:k, :k], stride=stride, groups=channels, portable=mode.plain
        )
        for k in KERNELS
    ]
    x = lax.switch(spec.kernel, branches, x, kernel)
    x = tap(f"{name}.conv", x, "conv", spec.hidden)
    return _bn(f"{name}.bn", x, here, spec.hidden, mode, tap)


def block(
    prefix: str,
    x: Array,
    params: BlockParams,
    spec: Block,
    mode: Mode,
    tap: Tap,
    *,
    stride: int = 1,
    skips: bool = True,
) -> Array:
    """Inverted residual block and ReLU, float[B, H, W, C].

    Its input is added if ``skips`` and if it is shaped as the output. The names of its
    taps begin with ``prefix``.
    """

    def relu(part: str, x: Array, width: Array) -> Array:
        return tap(f"{prefix}{part}", jax.nn.relu(x), "relu", width)

    y = conv_bn(
        f"{prefix}expand", x, params.expand, (spec.inputs, spec.hidden), mode, tap
    )
    y = relu("expand.relu", y, spec.hidden)
    y = _depthwise(f"{prefix}depthwise", y, params.depthwise, spec, mode, tap, stride)
    y = relu("depthwise.relu", y, spec.hidden)
    widths = spec.hidden, spec.outputs
    y = conv_bn(f"{prefix}project", y, params.project, widths, mode, tap)
    if skips and stride == 1:
        y = y + jnp.where(spec.inputs == spec.outputs, x, jnp.zeros((), x.dtype))
    y = relu("relu", y, spec.outputs)
    y = tap(f"{prefix}output", y, "cell", spec.outputs)
    return mode.rescaled(f"{prefix}output", y, tap)


class Layers(nnx.Module):
    """Parameters of n blocks of one shape, stacked, or of one."""

    def __init__(
        self, num: int, inputs: int, outputs: int, mode: Mode, draws: Draws
    ) -> None:
        """Draws them, for the largest kernel and expansion."""
        hidden, size = EXPANSIONS[-1] * outputs, KERNELS[-1]
        self.expand = nnx.Param(mode.draw(draws, (num, 1, 1, inputs, hidden), 1))
        self.depthwise = nnx.Param(mode.draw(draws, (num, size, size, 1, hidden), 1))
        self.project = nnx.Param(mode.draw(draws, (num, 1, 1, hidden, outputs), 1))
        self.scale = nnx.Param(jnp.ones((num, 2 * hidden + outputs)))
        self.bias = nnx.Param(jnp.zeros((num, 2 * hidden + outputs)))

    def stacked(self) -> BlockParams:
        """With a leading axis n."""
        hidden = self.depthwise[...].shape[-1]
        cuts = hidden, 2 * hidden
        scales = jnp.split(self.scale[...], cuts, axis=-1)
        biases = jnp.split(self.bias[...], cuts, axis=-1)
        kernels = self.expand[...], self.depthwise[...], self.project[...]
        return BlockParams(*(map(Conv, kernels, scales, biases)))


def rescaled_draw(
    kernel: Array, fans: tuple[Array, Array], full: tuple[int, int], weights: str
) -> Array:
    """Weights drawn for ``full`` fans as if drawn for others; leading axes are free.

    Args:
      kernel: float[n, ...].
      fans: int32[n] each, in and out.
      full: for which they were drawn.
      weights: name in ``WEIGHTS``.
    """
    draw: Callable[..., Array] = WEIGHTS[weights]
    one = jnp.ones((), kernel.dtype)
    wide = [jnp.asarray(fan, kernel.dtype) for fan in (*fans, *full)]
    ratio = draw(one, *wide[:2]) / draw(one, *wide[2:])
    return kernel * jnp.reshape(ratio, (-1, *(1,) * (kernel.ndim - 1)))
