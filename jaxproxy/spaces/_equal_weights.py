"""Networks with all weights equal, evaluated exactly with one channel: the arithmetic.

When every convolution, classifier and BatchNorm scale holds the same constant ``w`` and
every bias is zero, the channels of a layer are equal: a convolution of ``C`` of them is
``w * C`` times the sum over the window, and the network is one of a single channel.
Activations are ``float64[H, W, B]``: with the images last, every pass is a loop over
contiguous numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from jaxproxy.spaces._layers import EPS

_QUANTA = 2.0**149  # per 1; the reciprocal is the smallest positive float32
_TINY = 1e-60  # leaves a cell 200 decades of float64; rescaling is a pass over memory
_HALF_TO_EVEN = jax.lax.RoundingMethod.TO_NEAREST_EVEN


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


def repeat(
    cell: Callable[..., Array], x: Array, layers: Layers, times: int
) -> tuple[Array, Layers]:
    """Returns the output of cells in a row, which are compiled once."""

    def step(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        x, unit = carry
        here = Layers(layers.weight, unit, layers.underflow)
        x, here = here.rescaled(cell(x, layers=here))
        return (x, here.unit), None

    (x, unit), _ = jax.lax.scan(step, (x, layers.unit), length=times)
    return x, Layers(layers.weight, unit, layers.underflow)


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
