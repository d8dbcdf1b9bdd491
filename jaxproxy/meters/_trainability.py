"""How faithfully each block of a network hands gradients back (AZ-NAS)."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.measure import Block, Model, NetworkMeter, meter
from jaxproxy.ops import channel_product, eigenvalues

Signs = Callable[[int, int, tuple[int, ...]], Array]
"""(first, n, shape) -> float[n, *shape], random signs for outputs first, first+1..."""


@meter
def trainability() -> NetworkMeter:
    r"""Trainability of each block but the first, float[1, T].

    With random signs as the gradient of a block's output and the gradient that it
    hands back as rows of one matrix per pixel, s is the largest singular value of their
    cross-correlation; the reading is :math:`2 - s - 1 / (s + 10^{-6})`, at most 0, and
    minus infinity where the gradient comes back unchanged.

    References:
      Lee and Ham, "AZ-NAS", CVPR 2024, section 3.2, arXiv:2403.19232.
    """

    def measure(model: Model) -> Array:
        if model.network.blocks is None:
            raise ValueError("trainability needs a network with blocks; it has none")

        def signs(first: int, n: int, shape: tuple[int, ...]) -> Array:
            key = jax.random.fold_in(model.key, first)
            return jax.random.rademacher(key, (n, *shape), model.batch.x.dtype)

        blocks = model.network.blocks(model.params, model.code)
        return block_trainability(blocks, model.batch.x, signs)

    return NetworkMeter(measure, needs_blocks=True, plain=False)


def block_trainability(blocks: Sequence[Block], x: Array, signs: Signs) -> Array:
    """Readings float[T] of all layers of all blocks but the first, which has one."""
    first, *others = blocks
    x = first.apply(jax.tree.map(lambda leaf: leaf[0], first.params), x)
    readings: list[Array] = []
    for block in others:
        (layers,) = {len(leaf) for leaf in jax.tree.leaves(block.params)}
        one = jax.tree.map(lambda leaf: leaf[0], block.params)
        output = jax.eval_shape(block.apply, one, x)
        done = sum(len(part) for part in readings)
        gradients = signs(done + 1, layers, output.shape)
        step = functools.partial(_through, block)
        if layers == 1:  # its output may have another shape than x
            x, reading = step(x, (one, gradients[0]))
            readings.append(reading[None])
        else:
            x, reading = lax.scan(step, x, (block.params, gradients))
            readings.append(reading)
    return jnp.concatenate(readings)


def _through(
    block: Block, x: Array, layer: tuple[object, Array]
) -> tuple[Array, Array]:
    """Output of a layer, given its parameters and its output's gradient; a reading."""
    params, g_out = layer
    output, pull = jax.vjp(lambda x: block.apply(params, x), x)
    (g_in,) = pull(g_out)
    unchanged = (g_in == g_out).all() if g_in.shape == g_out.shape else False
    rows = _unshuffled(g_in, g_out.shape[1])
    pixels = g_out.reshape(-1, g_out.shape[-1])
    product = channel_product(rows, pixels) / len(pixels)
    s = jnp.sqrt(jnp.maximum(eigenvalues(_smaller_gram(product))[-1], 0))
    return output, jnp.where(unchanged, -jnp.inf, 2 - s - 1 / (s + 1e-6))


def _unshuffled(g: Array, side: int) -> Array:
    """float[B, r side, r side, C] -> float[B side side, r r C], a row for each tile."""
    images, height, _, channels = g.shape
    r = height // side
    tiles = g.reshape(images, side, r, side, r, channels)
    return tiles.transpose(0, 1, 3, 2, 4, 5).reshape(-1, r * r * channels)


def _smaller_gram(a: Array) -> Array:
    rows = a.T if a.shape[0] <= a.shape[1] else a
    return channel_product(rows, rows)
