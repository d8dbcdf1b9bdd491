"""Forms of convolution that are faster than XLA's on CPU.

* Few channels, 3x3: one matrix product of three rows side by side, with all outputs of
  three columns; slower from 32 channels on. The gradient of the kernel is of that form
  up to 64 channels.
* Few channels, 3x3 with a stride: products of the pixels of each tap.
* Large batches: the tiles of ``_tiles``.

On one core with AVX-512, rows of 16 channels are 1.3 times as fast
(``benchmarks/operations.py``). Single timings, not in the benchmarks, gave 2.5 times
for 8 channels, 1.3 to 2 times for tiles at 64 images, and, with AVX2, 1.3 to 2.2 times
for gradients of kernels of 32 and 64 channels.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.ops._product import channel_product
from jaxproxy.ops._tiles import Tiling, is_large
from jaxproxy.ops._window import Window

NARROW, NARROW_DW = 16, 64
"""Most channels for which rows are faster, and the kernel's gradient by rows."""
_GROUP = 256  # pixels of an image, from which a product for each image is faster


def conv_rows(x: Array, kernel: Array) -> Array:
    """Plain 3x3 convolution of float[B, H, W, Cin] by float[3, 3, Cin, Cout]."""
    if not is_large(x.shape):
        return _rows_product(x, kernel)
    tiles = _tiles(x)
    y = lax.map(lambda tile: _rows_product(tile, kernel), tiles)
    return y.reshape(*x.shape[:3], -1)


def dw_rows(x: Array, dy: Array) -> Array:
    """Kernel gradient of :func:`conv_rows`, float[3, 3, Cin, Cout]."""
    if not is_large(x.shape):
        return _dw_product(x, dy)
    return sum_over_tiles(_dw_product, x, dy)


def conv_taps(window: Window, x: Array, kernel: Array) -> Array:
    """3x3 convolution with strides, as one product with the pixels of all taps.

    XLA has Eigen split narrow convolutions over as many threads as there are, each
    number of which gives other last digits; this it does not.
    """
    pixels = jnp.concatenate(_taps(window, x), axis=3)
    return pixels @ kernel.reshape(-1, kernel.shape[3])


def dw_taps(window: Window, x: Array, dy: Array) -> Array:
    """Kernel gradient of :func:`conv_taps`, a product for each tap."""
    taps = jnp.stack([channel_product(pixels, dy) for pixels in _taps(window, x)])
    return taps.reshape(3, 3, x.shape[3], dy.shape[3])


def _taps(window: Window, x: Array) -> list[Array]:
    """The pixels float[B, H, W, Cin] that each tap of a 3x3 window takes of x."""
    x, steps = jnp.pad(x, ((0, 0), *window.padding, (0, 0))), window.strides
    stops = x.shape[1] - 2, x.shape[2] - 2
    return [
        x[:, i : stops[0] + i : steps[0], j : stops[1] + j : steps[1]]
        for i in range(3)
        for j in range(3)
    ]


def sum_over_tiles(
    function: Callable[[Array, Array], Array], x: Array, dy: Array
) -> Array:
    """Sum of ``function(x, dy)`` over tiles of the batch."""
    tiles = _tiles(x)
    pairs = tiles, dy.reshape(*tiles.shape[:2], *dy.shape[1:])

    def add(i: Array, total: Array) -> Array:
        a, b = (lax.dynamic_index_in_dim(p, i, keepdims=False) for p in pairs)
        return total + function(a, b)

    # From zeros: to begin with the first tile would compile the function twice.
    total = jax.eval_shape(function, *(p[0] for p in pairs))
    return lax.fori_loop(0, len(tiles), add, jnp.zeros(total.shape, total.dtype))


def _tiles(x: Array) -> Array:
    return Tiling.of(x.shape).split(x[None])


def _rows_product(x: Array, kernel: Array) -> Array:
    """Three rows side by side, one product, three columns summed."""
    inputs, outputs = kernel.shape[2:]
    columns = kernel.transpose(0, 2, 1, 3).reshape(3 * inputs, 3 * outputs)
    left, middle, right = jnp.split(_neighbours(x, 1) @ columns, 3, axis=3)
    # Padding each part on its own lets XLA fuse it into the sum.
    left = jnp.pad(left[:, :, :-1], ((0, 0), (0, 0), (1, 0), (0, 0)))
    right = jnp.pad(right[:, :, 1:], ((0, 0), (0, 0), (0, 1), (0, 0)))
    return left + middle + right


def _dw_product(x: Array, dy: Array) -> Array:
    """All nine taps in one product.

    The rows of dy are those that the input gradient takes, so they are made once.
    """
    columns = _neighbours(x, 2)
    if math.prod(x.shape[1:3]) >= _GROUP:
        # The product takes them channels first: cheaper before they are tripled.
        rows = _neighbours(lax.optimization_barrier(dy.transpose(0, 3, 1, 2)), 2, 1)
        taps = lax.dot_general(rows, columns, (((2, 3), (1, 2)), ((0,), (0,)))).sum(0)
    else:
        rows = _neighbours(dy, 1)
        taps = lax.dot_general(rows, columns, (((0, 1, 2),) * 2, ((), ())))
    taps = taps.reshape(3, dy.shape[3], 3, x.shape[3])
    return taps[::-1].transpose(0, 2, 3, 1)


def _neighbours(x: Array, axis: int, channels: int = 3) -> Array:
    """Each pixel with the one before and after it on an axis; 3C channels."""
    pads = [(0, 0)] * 4
    pads[axis] = (1, 1)
    padded, size = jnp.pad(x, pads), x.shape[axis]
    shifted = [lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(3)]
    return jnp.concatenate(shifted, axis=channels)
