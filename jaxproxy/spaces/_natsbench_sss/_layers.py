"""Layers of NATS-Bench's size space, whose widths are arguments.

Activations between layers have the channels of the widest layer, zeros behind their
own. A layer is a ``switch`` over widths whose branches have exactly the channels that
are to be measured.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from jaxproxy.measure import WEIGHTS, Draws, Tap, scan, switch
from jaxproxy.ops import avg_pool, conv
from jaxproxy.spaces._layers import Conv, tapped_bn
from jaxproxy.spaces._mode import Mode

_EDGES = {"e01": (0, 1), "e02": (0, 2), "e12": (1, 2), "e13": (1, 3), "e23": (2, 3)}
EDGES = tuple(_EDGES)
"""Of a cell, those that are 3x3 convolutions."""


class Widths(NamedTuple):
    """The widths that a layer may have, and how its parts are run."""

    choices: tuple[int, ...]
    mode: Mode

    def switch(
        self, tap: Tap, index: Array, layer: Callable[..., Any], operand: Any
    ) -> Any:
        """``layer(width, operand, tap)`` at the width of an index."""
        branches = [partial(layer, width) for width in self.choices]
        return switch(tap, index, branches, operand, remat=True)

    def widened(self, x: Array) -> Array:
        """With zeros behind the channels, up to the widest."""
        missing = self.choices[-1] - x.shape[-1]
        return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)])

    def narrowed(self, kernel: Array, inputs: int, outputs: int) -> Array:
        """First channels of float[..., Cin, Cout], as if drawn for as many.

        The gradient is that of the scaled weights: no layer weighs more for having
        been drawn for more channels.
        """
        part = kernel[..., :inputs, :outputs]
        draw, one = WEIGHTS[self.mode.weights], jnp.ones((), kernel.dtype)
        # The window's size is a factor of both.
        ratio = draw(one, inputs, outputs) / draw(one, *kernel.shape[-2:])
        return part + lax.stop_gradient(part * (ratio - 1))

    def conv_bn(
        self, name: str, x: Array, conv_: Conv, width: int, tap: Tap, stride: int = 1
    ) -> Array:
        """Of an input with zeros behind it; the kernel is measured already."""
        x = self.conv(f"{name}.conv", x, conv_.kernel[..., :width], tap, stride)
        return self.normal(f"{name}.bn", x, conv_.scale, conv_.bias, tap)

    def conv(
        self, name: str, x: Array, kernel: Array, tap: Tap, stride: int = 1
    ) -> Array:
        """Of which the output is measured."""
        x = conv(x, kernel, stride=stride, portable=self.mode.plain)
        return tap(name, x, "conv")

    def normal(self, name: str, x: Array, scale: Array, bias: Array, tap: Tap) -> Array:
        """BatchNorm by the first of float[widest] parameters."""
        width = x.shape[-1]
        return tapped_bn(name, x, scale[:width], bias[:width], tap, self.mode.norm)

    def measured(
        self, names: Sequence[str], kernels: Array, pairs: Array, tap: Tap
    ) -> Array:
        """Kernels float[n, k, k, W, W], of which each is measured at its widths.

        Args:
          names: of the n convolutions.
          kernels: as wide as can be.
          pairs: int32[n], widths in and out as one number, or the number behind all
            pairs for a kernel that is not used.
          tap: of the network.

        Returns:
          The scaled kernels, with zeros around.
        """

        def pair(inputs: int, outputs: int, kernel: Array, tap: Tap) -> Array:
            kernel = tap.parameter(
                "weight", self.narrowed(kernel, inputs, outputs), "conv_w"
            )
            rows = (0, self.choices[-1] - inputs)
            return jnp.pad(self.widened(kernel), ((0, 0), (0, 0), rows, (0, 0)))

        branches = [partial(pair, a, b) for a in self.choices for b in self.choices]
        unused = [lambda kernel, tap: jnp.zeros_like(kernel)]

        def step(done: Array, here: tuple[Array, ...], tap: Tap) -> Array:
            number, kernel, index = here
            kernel = switch(tap, index, branches + unused, kernel, remat=True)
            return lax.dynamic_update_index_in_dim(done, kernel, number, 0)

        numbers = jnp.arange(len(names), dtype=jnp.int32)
        rows = numbers, kernels, pairs
        return scan(tap, names, step, jnp.zeros_like(kernels), rows)


def _relu(name: str, x: Array, tap: Tap) -> Array:
    return tap(name, jax.nn.relu(x), "relu")


def stem(widths: Widths, width: int, given: tuple[Array, Conv], tap: Tap) -> Array:
    """3x3 convolution of images float[B, R, R, 3], with BatchNorm."""
    x, here = given
    kernel = widths.narrowed(here.kernel, x.shape[-1], width)
    kernel = tap.parameter("stem.conv.weight", kernel, "conv_w")
    x = widths.conv("stem.conv", x, kernel, tap)
    x = widths.normal("stem.bn", x, here.scale, here.bias, tap)
    x = tap("stem", widths.mode.rescaled("stem", x, tap), "stem")
    return widths.widened(x)


def cell(
    widths: Widths,
    name: str,
    x: Array,
    index: tuple[Array, Array],
    convs: Conv,
    skip: Conv | None,
    tap: Tap,
) -> Array:
    """Nodes 1 to 3 of a cell, the last not yet measured, float[B, H, W, widest].

    Args:
      widths: that the cell may have.
      name: of the cell.
      x: float[B, H, W, widest].
      index: int32[] each, of the widths in and out.
      convs: parameters of :data:`EDGES`, stacked.
      skip: of the 1x1 convolution on edge 03, used if the widths differ; None if they
        never do.
      tap: of the network.
    """
    before, here = index

    def rectified(width: int, x: Array, tap: Tap) -> Array:
        return widths.widened(_relu("relu", x[..., :width], tap))

    def normal(width: int, given: tuple[Array, Conv], tap: Tap) -> Array:
        x, conv_ = given
        x = widths.conv("conv", x, conv_.kernel[..., :width], tap)
        x = widths.normal("bn", x, conv_.scale, conv_.bias, tap)
        return widths.widened(x)

    def step(nodes: Array, edge: tuple[Array, Array, Conv], tap: Tap) -> Array:
        source, target, conv_ = edge
        y = lax.dynamic_index_in_dim(nodes, source, keepdims=False)
        entering = jnp.where(source == 0, before, here)
        y = widths.switch(tap, entering, rectified, y)
        y = widths.switch(tap, here, normal, (y, conv_))
        y = y + lax.dynamic_index_in_dim(nodes, target, keepdims=False)
        return lax.dynamic_update_index_in_dim(nodes, y, target, 0)

    silent = jnp.zeros_like(x)
    nodes = jnp.stack([x, silent, silent, _skip(widths, name, x, index, skip, tap)])
    ends = jnp.array(list(_EDGES.values()), jnp.int32).T
    names = [f"{name}.{edge}" for edge in EDGES]
    return scan(tap, names, step, nodes, (*ends, convs))[3]


def _skip(
    widths: Widths,
    name: str,
    x: Array,
    ends: tuple[Array, Array],
    here: Conv | None,
    tap: Tap,
) -> Array:
    """Edge 03: the input, or its 1x1 convolution if the width changes."""

    def keep(width: int, x: Array, tap: Tap) -> Array:
        return widths.widened(tap(f"{name}.e03.skip", x[..., :width], "skip"))

    before, after = ends
    if here is None:
        return widths.switch(tap, after, keep, x)

    def project(width: int, x: Array, tap: Tap) -> Array:
        x = widths.conv_bn(f"{name}.e03", x, here, width, tap)
        return widths.widened(x)

    branches = [partial(kind, w) for kind in (keep, project) for w in widths.choices]
    changed = (before != after).astype(after.dtype)
    return switch(tap, after + changed * len(widths.choices), branches, x, remat=True)


def reduction(
    widths: Widths, name: str, width: int, given: tuple[Any, ...], tap: Tap
) -> Array:
    """Residual block between stages.

    Args:
      widths: that it may have.
      name: of the block.
      width: which it has.
      given: rectified and pooled input, two convolutions, kernel of the shortcut.
      tap: of the branch.
    """
    rectified, pooled, conv_a, conv_b, down = given
    shortcut = widths.conv(f"{name}.down", pooled, down[..., :width], tap)
    x = widths.conv_bn(f"{name}.conv_a", rectified, conv_a, width, tap, stride=2)
    x = _relu(f"{name}.conv_b.relu", x, tap)
    conv_b = conv_b._replace(kernel=conv_b.kernel[:, :, :width])
    x = widths.conv_bn(f"{name}.conv_b", x, conv_b, width, tap)
    x = tap(name, x + shortcut, "reduction")
    return widths.widened(widths.mode.rescaled(name, x, tap))


def leave(
    widths: Widths, name: str, behind: str | None, width: int, x: Array, tap: Tap
) -> Any:
    """Output of a cell, and what a reduction of name ``behind`` takes of it."""
    x = tap(f"{name}.output", x[..., :width], "cell")
    x = widths.mode.rescaled(f"{name}.output", x, tap)
    if behind is None:
        return widths.widened(x)
    rectified = _relu(f"{behind}.conv_a.relu", x, tap)
    pooled = tap(f"{behind}.pool", avg_pool(x, 2, stride=2), "pool")
    return widths.widened(rectified), widths.widened(pooled)


class Head(nnx.Module):
    """BatchNorm, ReLU, pooling and a linear layer."""

    def __init__(self, widths: Widths, outputs: int, mode: Mode, draws: Draws) -> None:
        """Draws the parameters."""
        self.widths, widest = widths, widths.choices[-1]
        self.scale = nnx.Param(jnp.ones(widest))
        self.bias = nnx.Param(jnp.zeros(widest))
        self.kernel = nnx.Param(mode.draw(draws, (widest, outputs)))
        self.offset = nnx.Param(jnp.zeros(outputs))

    def __call__(self, name: str, width: int, x: Array, tap: Tap) -> Array:
        """Logits float[B, K] of the output of a cell."""
        widths, kernel = self.widths, self.kernel[...]
        x = tap(f"{name}.output", x[..., :width], "cell")
        x = widths.mode.rescaled(f"{name}.output", x, tap)
        x = widths.normal("lastact.bn", x, self.scale[...], self.bias[...], tap)
        x = tap("features", _relu("lastact.relu", x, tap), "features")
        kernel = widths.narrowed(kernel, width, kernel.shape[1])
        kernel = tap.parameter("classifier.weight", kernel, "linear_w")
        bias = tap.parameter("classifier.bias", self.offset[...], "linear_b")
        return tap("classifier", x.mean((1, 2)) @ kernel + bias, "linear")
