"""Large activations in tiles of the batch that stay in the cache of a CPU.

What is made of a tile is used while the tile is still there, so memory is read and
written once for each pass and not once for each operation. Activations that fit into
the cache, and all on other platforms, are better taken whole.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

_TILE, _LARGE = 2**17, 2**18  # elements of an activation


def is_large(shape: tuple[int, ...]) -> bool:
    """Whether activations float[B, ...] of this shape are taken in tiles on CPU."""
    return math.prod(shape) > _LARGE


class Tiling(NamedTuple):
    """Buffers float[n, B, ...] of n activations as float[n * count, size, ...]."""

    count: int
    """Tiles of an activation."""
    size: int
    """Images of a tile."""

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> "Tiling":
        """The most images, a divisor of B, that have at most ``_TILE`` elements.

        Two or more, if B is: XLA is slow with single images.
        """
        batch, image = shape[0], math.prod(shape[1:])
        sizes = [n for n in range(2, batch + 1) if batch % n == 0] or [1]
        size = max((n for n in sizes if n * image <= _TILE), default=sizes[0])
        return cls(batch // size, size)

    def split(self, buffer: Array) -> Array:
        """float[n, B, ...] as tiles."""
        return buffer.reshape(-1, self.size, *buffer.shape[2:])

    def join(self, tiles: Array) -> Array:
        """Tiles as float[n, B, ...]."""
        return tiles.reshape(-1, self.count * self.size, *tiles.shape[2:])

    def at(self, tiles: Array, row: Array, k: Array) -> Array:
        """Tile k of an activation, float[size, ...]."""
        index = self._index(row, k)
        return lax.dynamic_index_in_dim(tiles, index, keepdims=False)

    def put(self, tiles: Array, row: Array, k: Array, tile: Array) -> Array:
        """All tiles, with tile k of an activation replaced."""
        return lax.dynamic_update_index_in_dim(tiles, tile, self._index(row, k), 0)

    def loop(
        self,
        body: Callable[[Array, Any], Any],
        carry: Any,
        when: Array | None = None,
    ) -> Any:
        """``carry = body(k, carry)`` for every tile k of an activation, or for none.

        Unlike that of a branch, the carry is not copied.
        """
        count = self.count if when is None else jnp.where(when, self.count, 0)
        return lax.fori_loop(0, count, body, carry)

    def _index(self, row: Array, k: Array) -> Array:
        return row * self.count + k.astype(row.dtype)
