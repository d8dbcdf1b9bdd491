"""Passes over large activations, on CPU in tiles of the batch that stay in the cache.

What a pass makes of a tile is used while the tile is still there, so memory is read
and written once for each pass and not once for each operation. Activations that
fit into the cache, and all on other platforms, are one tile.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxproxy.types import Array

__all__ = ["Row", "add_to_row", "is_large", "over_tiles", "tile_size"]

_TILE, _LARGE = 2**17, 2**18  # elements of an activation

Row = tuple[Array, Array]
"""An activation: a buffer float[n, B, ...] and the index of its row."""


def is_large(shape: tuple[int, ...]) -> bool:
    """Whether activations float[B, ...] of this shape are taken in tiles."""
    return math.prod(shape) > _LARGE


def tile_size(shape: tuple[int, ...]) -> int:
    """The most images, a divisor of B, that have at most ``_TILE`` elements.

    Two or more, if B is: XLA is slow with single images.
    """
    batch, image = shape[0], math.prod(shape[1:])
    sizes = [n for n in range(2, batch + 1) if batch % n == 0] or [1]
    return max((n for n in sizes if n * image <= _TILE), default=sizes[0])


def over_tiles(function: Callable[..., tuple[Any, Any]], *rows: Row) -> tuple[Any, Any]:
    """What a function makes of images, and what it sums over them.

    Args:
      function: takes the activations, float[b, ...] each, and returns a tree of arrays
        like [b, ...] and a tree of sums over the images.
      *rows: the activations, as large as each other.

    Returns:
      The two trees, of arrays like [B, ...] and of sums.
    """

    def whole(*rows: Row) -> tuple[Any, Any]:
        return function(*(_at(*row) for row in rows))

    if not is_large(rows[0][0].shape[1:]):
        return whole(*rows)
    tiled = functools.partial(_over_tiles, function)
    return lax.platform_dependent(*rows, cpu=tiled, default=whole)


def add_to_row(
    buffer: Array,
    index: Array,
    values: Array,
    function: Callable[[Array], Array] = lambda x: x,
    *,
    fresh: Array,
) -> Array:
    """Buffer with ``function(values)`` added to a row, or put there if it is fresh."""

    def add(buffer: Array, index: Array, values: Array) -> Array:
        before = jnp.where(fresh, 0, _at(buffer, index))
        y = before + function(values)
        return lax.dynamic_update_index_in_dim(buffer, y, index, 0)

    def tiled(buffer: Array, index: Array, values: Array) -> Array:
        tiles, (source,) = _split(buffer), (_split(values[None]),)
        count = len(source)

        def step(k: Array, tiles: Array) -> Array:
            return add(tiles, index * count + k.astype(index.dtype), _at(source, k))

        return lax.fori_loop(0, count, step, tiles).reshape(buffer.shape)

    if not is_large(values.shape):
        return add(buffer, index, values)
    return lax.platform_dependent(buffer, index, values, cpu=tiled, default=add)


def _over_tiles(
    function: Callable[..., tuple[Any, Any]], *rows: Row
) -> tuple[Any, Any]:
    split = [_split(buffer) for buffer, _ in rows]
    count = len(split[0]) // len(rows[0][0])

    def tile(k: Array) -> tuple[Any, Any]:
        indices = (index * count + k.astype(index.dtype) for _, index in rows)
        return function(*map(_at, split, indices))

    def step(k: Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        mapped, sums = tile(k)
        rows = jax.tree.map(
            lambda all_, one: lax.dynamic_update_index_in_dim(all_, one, k, 0),
            carry[0],
            mapped,
        )
        return rows, jax.tree.map(jnp.add, carry[1], sums)

    mapped, sums = jax.eval_shape(tile, jnp.zeros((), jnp.int32))
    start = (
        jax.tree.map(lambda s: lax.empty((count, *s.shape), s.dtype), mapped),
        jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), sums),
    )
    mapped, sums = lax.fori_loop(0, count, step, start)
    return jax.tree.map(lambda v: v.reshape(-1, *v.shape[2:]), mapped), sums


def _split(buffer: Array) -> Array:
    """float[n, B, ...] as tiles float[n * count, b, ...]."""
    return buffer.reshape(-1, tile_size(buffer.shape[1:]), *buffer.shape[2:])


def _at(buffer: Array, index: Array) -> Array:
    return lax.dynamic_index_in_dim(buffer, index, keepdims=False)
