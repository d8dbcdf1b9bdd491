"""Convolution by groups of channels, and its fast form for a channel each on CPU.

XLA's CPU compiler has no fast form for depthwise convolution. Here, a row of the kernel
is one elementwise sum of shifted products, and rows are a loop: all taps at once take a
kernel of 7 x 7 seven times as long to compile.
"""

from functools import reduce

import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.ops._window import Window, dilated


def grouped_dw(shape: tuple[int, ...], window: Window, x: Array, dy: Array) -> Array:
    """One contraction per kernel tap and group, over shifted views of the input."""
    per_group, out = shape[2:]
    groups, (batch, height, width, _) = window.groups, dy.shape
    gradient = dy.reshape(batch, height, width, groups, out // groups)
    taps = []
    for view in tap_views(shape, window, x, (height, width)):
        view = view.reshape(batch, height, width, groups, per_group)
        taps.append(jnp.einsum("bhwgi,bhwgo->igo", view, gradient))
    return jnp.stack(taps).reshape(shape)


def tap_views(
    shape: tuple[int, ...], window: Window, x: Array, size: tuple[int, int]
) -> list[Array]:
    """What each tap of a kernel of a shape is multiplied with, float[B, H', W', Cin].

    ``size`` is the height and width of the convolution's output.
    """
    (low_h, high_h), (low_w, high_w) = window.padding
    interior = [d - 1 for d in window.lhs_dilation]
    padded = lax.pad(
        x,
        jnp.zeros((), x.dtype),
        (
            (0, 0, 0),
            (low_h, high_h, interior[0]),
            (low_w, high_w, interior[1]),
            (0,) * 3,
        ),
    )
    last = [dilated(n, s) for n, s in zip(size, window.strides, strict=True)]
    views = []
    for i in range(shape[0]):
        for j in range(shape[1]):
            start = (0, i * window.rhs_dilation[0], j * window.rhs_dilation[1], 0)
            stop = (len(x), start[1] + last[0], start[2] + last[1], x.shape[3])
            views.append(lax.slice(padded, start, stop, (1, *window.strides, 1)))
    return views


def depthwise_rows(window: Window, x: Array, kernel: Array) -> Array:
    """Each channel of float[B, H, W, C] by its own plane of float[k, k, 1, C]."""
    padded, strides = _padded(window, x), window.strides
    shape = _output(padded.shape, kernel.shape, strides)

    def add(i: Array, total: Array) -> Array:
        row = lax.dynamic_index_in_dim(kernel, i, keepdims=False)[:, 0]
        views = _views(padded, i, len(row), shape, strides)
        return total + reduce(jnp.add, (v * w for v, w in zip(views, row, strict=True)))

    return lax.fori_loop(0, len(kernel), add, jnp.zeros(shape, x.dtype))


def depthwise_dw(shape: tuple[int, ...], window: Window, x: Array, dy: Array) -> Array:
    """Kernel gradient float[k, k, 1, C] of :func:`depthwise_rows`."""
    padded = _padded(window, x)

    def row(i: Array) -> Array:
        views = _views(padded, i, shape[1], dy.shape, window.strides)
        products = [(view * dy).reshape(-1, dy.shape[3]).sum(0) for view in views]
        return jnp.stack(products)[:, None]

    return lax.map(row, jnp.arange(shape[0]))


def _padded(window: Window, x: Array) -> Array:
    sides = zip(window.padding, window.lhs_dilation, strict=True)
    inside = [(*pad, d - 1) for pad, d in sides]
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *inside, (0, 0, 0)])


def _output(
    padded: tuple[int, ...], kernel: tuple[int, ...], strides: tuple[int, int]
) -> tuple[int, ...]:
    height, width = ((padded[1 + a] - kernel[a]) // strides[a] + 1 for a in range(2))
    return padded[0], height, width, padded[3]


def _views(
    padded: Array,
    row: Array,
    taps: int,
    shape: tuple[int, ...],
    strides: tuple[int, int],
) -> list[Array]:
    """What each tap of a row of the kernel is multiplied with, of one shape."""
    last = [(n - 1) * s + 1 for n, s in zip(shape[1:3], strides, strict=True)]
    rows = lax.dynamic_slice_in_dim(padded, row, last[0], 1)
    rows = lax.slice_in_dim(rows, 0, last[0], strides[0], 1)
    return [lax.slice_in_dim(rows, j, j + last[1], strides[1], 2) for j in range(taps)]
