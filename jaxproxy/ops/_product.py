"""Products of channels summed over pixels: the same digits on any number of threads.

On CPU, XLA splits a long sum of products over the threads of the process, which are as
many as its cores or devices: each number of them gives other last digits, and a
rectifier that they switch changes a gradient by far more. Sums of few pixels are not
split, and adding them up afterwards is as fast.
"""

import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.ops._platform import by_platform

_BLOCK = 256  # pixels; twice as many are split if there are 64 channels


def channel_product(x: Array, y: Array, *, portable: bool = False) -> Array:
    """Sum over pixels of the outer products of x[..., C] and y[..., D], float[C, D].

    ``portable`` is that of :func:`jaxproxy.ops.conv`.
    """
    x, y = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    if portable:
        return _whole(x, y)
    return by_platform(x, y, cpu=_in_blocks, default=_whole)


def _whole(x: Array, y: Array) -> Array:
    return lax.dot_general(x, y, (((0,), (0,)), ((), ())))


def _in_blocks(x: Array, y: Array) -> Array:
    left, right = (_blocks(a) for a in (x, y))
    # Faster on CPU if the transposed copy is made first.
    left = lax.optimization_barrier(left.transpose(0, 2, 1))
    return _pair_sum(lax.dot_general(left, right, (((2,), (1,)), ((0,), (0,)))))


def _pair_sum(products: Array) -> Array:
    """Sum over the first axis of what a product has made.

    Not ``sum``: for the CPU, XLA of jaxlib 0.10 and 0.12 makes one kernel of a product
    and a sum, which reads memory that nothing was written to if the right factor is
    constant, as are the zeros of an operation that gives none.
    """
    while len(products) > 1:
        half = len(products) // 2
        left = products[2 * half :]
        products = products[:half] + products[half : 2 * half]
        if len(left):
            products = jnp.concatenate([products, left])
    return products[0]


def _blocks(x: Array) -> Array:
    """float[S, C] as float[n, min(S, _BLOCK), C], with zeros at the end."""
    size = min(_BLOCK, len(x))
    return jnp.pad(x, ((0, -len(x) % size), (0, 0))).reshape(-1, size, x.shape[-1])
