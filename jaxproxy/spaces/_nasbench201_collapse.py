"""NAS-Bench-201 with all weights equal, evaluated exactly with one channel.

When every convolution, classifier and BatchNorm scale holds the same constant ``w`` and
every bias is zero, the channels of a layer are equal: a convolution of ``C`` of them is
``w * C`` times the sum over the window, and the network is one of a single channel.
Activations are ``float64[H, W, B]``: with the images last, every pass is a loop over
contiguous numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxproxy.spaces._layers import EPS
from jaxproxy.types import Array, Fidelity

__all__ = ["Collapsed", "Layers", "box_sum", "check_images", "collapsed"]

_QUANTA = 2.0**149  # per 1; the reciprocal is the smallest positive float32
_TINY = 1e-60  # leaves a cell 200 decades of float64; rescaling is a pass over memory
_HALF_TO_EVEN = jax.lax.RoundingMethod.TO_NEAREST_EVEN


class Collapsed(NamedTuple):
    """A network whose weights all have one value, in two steps.

    Attributes:
      stem: ``(images float[B, R, R, 3], weight float64[]) -> state``, the part that no
        gene changes: call it once for all architectures.
      logits: ``(state, code int32[G], weight float64[]) -> float64[B]``, one of the
        outputs, since all are equal, up to a positive factor.
      weights: the two values that are published for the space.
    """

    stem: Callable[[Array, Array], Array]
    logits: Callable[[Array, Array, Array], Array]
    weights: tuple[float, float] = (1e-7, 1.0)


def collapsed(fidelity: Fidelity, *, underflow: bool = False) -> Collapsed:
    """The network whose weights are all equal.

    Args:
      fidelity: width and cells; the images bring their own number and size.
      underflow: round every product to multiples of 2**-149, as float32 does near
        zero: where float32 loses the signal is part of what the published epsinas
        measures, and XLA would flush it earlier. Otherwise nothing underflows, not
        even below float64's range: a cell's output that gets too small is divided by
        its largest magnitude, of which BatchNorm's ``eps`` then takes account.

    Raises:
      ValueError: not called under ``jax.enable_x64(True)``; from ``stem``, images that
        are not ``[B, R, R, 3]`` with ``R`` a multiple of 4 from 8.
    """
    if not jax.config.read("jax_enable_x64"):
        raise ValueError("equal weights need float64: call under jax.enable_x64(True)")

    def stem(images: Array, weight: Array) -> Array:
        check_images(images)
        layers = Layers(weight, jnp.ones((), jnp.float64), underflow)
        x = jnp.transpose(images.astype(jnp.float64), (1, 2, 3, 0))
        return layers.norm(box_sum(layers.scaled(x).sum(2)))

    def logits(state: Array, code: Array, weight: Array) -> Array:
        ops = _useful(code)
        layers = Layers(weight, jnp.ones((), jnp.float64), underflow)
        x, layers = layers.rescaled(state)
        for stage in range(3):
            channels = float(fidelity.width << stage)
            if stage:
                x, layers = layers.rescaled(_reduction(x, channels / 2, layers))
            cell = partial(_cell, ops=ops, channels=channels)
            x, layers = _repeat(cell, x, layers, fidelity.cells)
        features = jax.nn.relu(layers.norm(x)).mean((0, 1))
        return layers.output(layers.scaled(layers.round(features)) * channels)

    return Collapsed(stem, logits)


def check_images(images: Array) -> None:
    """Refuses images that two stages cannot halve."""
    if images.ndim != 4 or images.shape[3] != 3 or images.shape[1] != images.shape[2]:
        raise ValueError(f"images must be [B, R, R, 3], got {list(images.shape)}")
    if images.shape[1] % 4 or images.shape[1] < 8:
        raise ValueError(f"R must be a multiple of 4 from 8, got {images.shape[1]}")


@dataclass(frozen=True)
class Layers:
    """What all layers share: the weight, and how numbers are represented.

    Attributes:
      weight: float64[], every weight of the network.
      unit: float64[], the true value of an activation that is stored as 1.
      underflow: whether products are rounded as in float32; then ``unit`` is 1.
    """

    weight: Array
    unit: Array
    underflow: bool

    def round(self, x: Array) -> Array:
        """What float32 keeps of tiny numbers; others stay as they are."""
        if not self.underflow:
            return x
        return jax.lax.round(x * _QUANTA, _HALF_TO_EVEN) * (1 / _QUANTA)

    def scaled(self, x: Array) -> Array:
        """The products of a convolution, which float32 rounds before their sum."""
        return self.round(x * self.weight)

    def output(self, x: Array) -> Array:
        """What float32 keeps of any number: values closer than that become equal."""
        return jax.lax.reduce_precision(x, 11, 23) if self.underflow else x

    def norm(self, z: Array) -> Array:
        """BatchNorm with batch statistics, scale ``weight`` and no shift."""
        # This form of the variance spares a pass and costs 1e-12 of a score.
        mean = z.mean()
        variance = jnp.maximum((z * z).mean() - mean * mean, 0.0) * self.unit**2
        slope = self.weight * jax.lax.rsqrt(variance + EPS)
        return self.round(z * slope) - self.round(self.round(mean) * slope)

    def rescaled(self, x: Array) -> "tuple[Array, Layers]":
        """The same activation in a larger unit where it nears float64's underflow."""
        if self.underflow:
            return x, self
        largest = jnp.abs(x).max()
        tiny = (largest > 0) & (largest < _TINY)
        unit = jnp.where(tiny, largest, 1.0)
        x = jax.lax.cond(tiny, lambda x: x / unit, lambda x: x, x)
        return x, Layers(self.weight, self.unit * unit, False)


def _repeat(
    cell: Callable[..., Array], x: Array, layers: Layers, times: int
) -> tuple[Array, Layers]:
    """Cells in a row, compiled once."""

    def step(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        x, unit = carry
        here = Layers(layers.weight, unit, layers.underflow)
        x, here = here.rescaled(cell(x, layers=here))
        return (x, here.unit), None

    (x, unit), _ = jax.lax.scan(step, (x, layers.unit), length=times)
    return x, Layers(layers.weight, unit, layers.underflow)


def _useful(code: Array) -> tuple[Array, ...]:
    """The six operations, ``none`` on edges that no path from input to output takes."""
    op01, op02, op12, op03, op13, op23 = code
    none = jnp.zeros_like(op01)
    op12, op13 = (jnp.where(op01 == 0, none, op) for op in (op12, op13))
    op23 = jnp.where((op02 == 0) & (op12 == 0), none, op23)
    op02, op12 = (jnp.where(op23 == 0, none, op) for op in (op02, op12))
    op01 = jnp.where((op12 == 0) & (op13 == 0), none, op01)
    return op01, op02, op12, op03, op13, op23


def _cell(
    x: Array, *, ops: tuple[Array, ...], channels: float, layers: Layers
) -> Array:
    """Four nodes, each the sum of an operation on every earlier one."""
    op01, op02, op12, op03, op13, op23 = ops
    edge = partial(_edge, channels=channels, layers=layers)
    node1 = edge(op01, x, jnp.zeros_like(x))
    node2 = edge(op12, node1, edge(op02, x, jnp.zeros_like(x)))
    node3 = edge(op13, node1, edge(op03, x, jnp.zeros_like(x)))
    return edge(op23, node2, node3)


def _edge(
    op: Array, x: Array, total: Array, *, channels: float, layers: Layers
) -> Array:
    """``total + op(x)``; only the chosen operation runs (not so under ``vmap``)."""

    def products(x: Array) -> Array:
        return channels * layers.scaled(jax.nn.relu(x))

    branches = (
        lambda x, total: total,
        lambda x, total: total + x,
        lambda x, total: total + layers.norm(products(x)),
        lambda x, total: total + layers.norm(box_sum(products(x))),
        lambda x, total: total + layers.round(box_sum(x) / _window_sizes(*x.shape[:2])),
    )
    return jax.lax.switch(op, branches, x, total)


def _reduction(x: Array, channels: float, layers: Layers) -> Array:
    """Residual block of stride 2 from ``channels`` to twice as many."""
    y = layers.norm(_halved_box(channels * layers.scaled(jax.nn.relu(x))))
    y = layers.norm(box_sum(2 * channels * layers.scaled(jax.nn.relu(y))))
    return y + channels * layers.scaled(layers.round(_halved_mean(x)))


def box_sum(x: Array) -> Array:
    """Sums over 3x3 windows, zero outside, float64[H, W, ...] -> the same."""
    for axis in (0, 1):
        end, at = x.shape[axis], partial(jax.lax.slice_in_dim, x, axis=axis)
        inner = at(0, end - 2) + at(1, end - 1) + at(2, end)
        first, last = at(0, 1) + at(1, 2), at(end - 2, end - 1) + at(end - 1, end)
        # Three parts, since padding x first is slower.
        x = jnp.concatenate([first, inner, last], axis)
    # Without it XLA computes the three parts of a sum that BatchNorm reduces one by one
    # and then copies them together: a fifth more time in all.
    return jax.lax.optimization_barrier(x)


def _halved_box(x: Array) -> Array:
    """Every second sum of :func:`box_sum`, the first one at pixel 0."""
    for axis in (0, 1):
        end, at = x.shape[axis], partial(jax.lax.slice_in_dim, x, axis=axis)
        inner = at(1, end - 1, 2) + at(2, end, 2) + at(3, end, 2)
        x = jnp.concatenate([at(0, 1) + at(1, 2), inner], axis)
    return x


def _halved_mean(x: Array) -> Array:
    """2x2 average with stride 2."""
    for axis in (0, 1):
        end, at = x.shape[axis], partial(jax.lax.slice_in_dim, x, axis=axis)
        x = at(0, end, 2) + at(1, end, 2)
    return x / 4


def _window_sizes(height: int, width: int) -> np.ndarray:
    """Pixels inside the image of each 3x3 window, float64[H, W, 1]."""
    rows, columns = (
        np.pad(np.full(n - 2, 3.0), 1, constant_values=2.0) for n in (height, width)
    )
    return rows[:, None, None] * columns[None, :, None]
