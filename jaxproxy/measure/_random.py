"""The numbers that networks draw their weights from.

XLA compiles a generator for every tensor that ``jax.random`` draws, a third of a
second each; here one loop over chunks draws the numbers of all tensors, with the same
bits.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax
from jax.extend.random import threefry2x32_p

_CHUNK = 1024


class Draws:
    """What a module draws its weights from, in the order of the calls.

    Attributes:
      wanted: number among the calls, and size, of each call of :meth:`normal`.
    """

    def __init__(self, key: Array, ready: Sequence[Array] | None = None) -> None:
        """Of the key of an ``nnx.Rngs``.

        Args:
          key: of the default generator.
          ready: the normal numbers of all calls; None gives zeros instead.
        """
        self.wanted: list[tuple[int, int]] = []
        self._key, self._num = key, 0
        self._ready = None if ready is None else iter(ready)

    def key(self) -> Array:
        """A key of its own for each call, that of ``nnx.Rngs.params()``."""
        self._num += 1
        return jax.random.fold_in(self._key, self._num - 1)

    def normal(self, size: int) -> Array:
        """``jax.random.normal(self.key(), (size,))``."""
        self.wanted.append((self._num, size))
        self._num += 1
        return jnp.zeros(size) if self._ready is None else next(self._ready)


def drawn(make: Callable[[Draws], nnx.Module]) -> Callable[[nnx.Rngs], nnx.Module]:
    """Makes a module of ``make``, whose normal numbers are all drawn at once."""

    def made(rngs: nnx.Rngs) -> nnx.Module:
        key = rngs.params.key[...]
        dry = Draws(key)
        nnx.eval_shape(lambda: make(dry))
        return make(Draws(key, normals(key, dry.wanted)))

    return made


def normals(key: Array, wanted: Sequence[tuple[int, int]]) -> list[Array]:
    """Standard normal numbers float[n] for each ``(i, n)``.

    They are those of ``jax.random.normal(jax.random.fold_in(key, i), (n,))``, bit for
    bit with JAX's default generator and in float32.
    """
    if not (wanted and _is_default(key)):
        return [jax.random.normal(jax.random.fold_in(key, i), (n,)) for i, n in wanted]
    chunks = [(i, start) for i, n in wanted for start in range(0, n, _CHUNK)]
    z = lax.map(
        functools.partial(_chunk, key), np.array(chunks, np.uint32).reshape(-1, 2)
    )
    ends = np.cumsum([-(-n // _CHUNK) for _, n in wanted])[:-1]
    # The factor stays outside of the loop, where XLA joins it with that of a weight.
    return [
        np.float32(np.sqrt(2)) * chunk.reshape(-1)[:n]
        for chunk, (_, n) in zip(jnp.split(z, ends), wanted, strict=True)
    ]


def _is_default(key: Array) -> bool:
    single = jax.dtypes.canonicalize_dtype(float) == np.float32
    counts = jax.config.jax_threefry_partitionable  # type: ignore[missing-attribute]
    return single and counts and jax.random.key_impl(key) == "threefry2x32"


def _chunk(key: Array, chunk: Array) -> Array:
    """Numbers ``start`` and on of draw ``number``, over sqrt(2), float32[chunk]."""
    number, start = chunk
    words = jax.random.key_data(jax.random.fold_in(key, number))
    count = start + lax.iota(np.uint32, _CHUNK)
    high, low = (jnp.broadcast_to(word, count.shape) for word in words)
    bits = jnp.bitwise_xor(
        *threefry2x32_p.bind(high, low, jnp.zeros_like(count), count)
    )
    # 23 bits of a float in [1, 2), from there to (-1, 1) and through the quantiles.
    unit = lax.bitcast_convert_type((bits >> 9) | 0x3F800000, np.float32) - 1
    lowest = np.nextafter(np.float32(-1), np.float32(0))
    uniform = jnp.maximum(lowest, unit * (1 - lowest) + lowest)
    return lax.erf_inv(uniform)
