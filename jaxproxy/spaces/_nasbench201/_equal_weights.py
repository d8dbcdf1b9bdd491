"""NAS-Bench-201 with all weights equal, evaluated exactly with one channel."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxproxy.measure import EqualWeights
from jaxproxy.spaces._equal_weights import (
    Layers,
    box_sum,
    check_images,
    repeat,
)
from jaxproxy.types import Fidelity


def equal_weights(fidelity: Fidelity, *, underflow: bool = False) -> EqualWeights:
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
            x, layers = repeat(cell, x, layers, fidelity.cells)
        features = jax.nn.relu(layers.norm(x)).mean((0, 1))
        return layers.output(layers.scaled(layers.round(features)) * channels)

    return EqualWeights(stem, logits)


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
