"""Convolutions of architectures side by side, none of them grouped by architecture.

Under ``jax.vmap``, JAX makes a convolution whose operands both differ from lane to lane
into one with a group for each lane, which is slow everywhere. There are two such: the
gradient of a kernel, and the convolution of a space whose kernels depend on the code.
Both are one batched product of matrices here,
``[lanes, taps * Cin, pixels] x [lanes, pixels, Cout]``. Where lanes share the kernel,
they are more images, and XLA's convolution is the best there is.
"""

from collections.abc import Callable
from functools import reduce

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.ops._grouped import grouped_dw, tap_views
from jaxproxy.ops._window import Window, dilated

Convolution = Callable[[Window, Array, Array], Array]


def conv_in_lanes(whole: Convolution, window: Window, x: Array, kernel: Array) -> Array:
    """``whole(window, x, kernel)``, whatever of it differs from lane to lane."""

    @jax.custom_batching.custom_vmap
    def convolve(x: Array, kernel: Array) -> Array:
        return whole(window, x, kernel)

    @convolve.def_vmap
    def in_lanes(
        lanes: int, batched: tuple[bool, bool], x: Array, kernel: Array
    ) -> tuple[Array, bool]:
        if batched[1]:
            axes = tuple(0 if one else None for one in batched)
            products = jax.vmap(lambda x, k: _products(window, x, k), in_axes=axes)
            return products(x, kernel), True
        y = convolve(x.reshape(-1, *x.shape[2:]), kernel)
        return y.reshape(lanes, -1, *y.shape[1:]), True

    return convolve(x, kernel)


def dw_in_lanes(shape: tuple[int, ...], window: Window, x: Array, dy: Array) -> Array:
    """Kernel gradient of a convolution, for a kernel of ``shape``."""
    depthwise = shape[2] == 1 and shape[3] == window.groups
    if window.groups > 1 and not depthwise:
        return grouped_dw(shape, window, x, dy)
    height, width = dy.shape[1:3]
    views = tap_views(shape, window, x, (height, width))
    if depthwise:
        taps = jnp.stack([(view * dy).sum((0, 1, 2)) for view in views])
    else:
        pixels = jnp.concatenate(views, axis=3)
        taps = lax.dot_general(pixels, dy, (((0, 1, 2),) * 2, ((), ())))
    return taps.reshape(shape)


def _products(window: Window, x: Array, kernel: Array) -> Array:
    """A convolution as one product with the pixels of all taps, or a sum of them."""
    (kh, kw, per_group, out), groups = kernel.shape, window.groups
    size = _output(x.shape, kernel.shape, window)
    views = tap_views(kernel.shape, window, x, size)
    if groups == 1:
        return jnp.concatenate(views, axis=3) @ kernel.reshape(-1, out)
    rows = kernel.reshape(kh * kw, per_group, out)
    if per_group == 1 and out == groups:
        return reduce(jnp.add, (v * k[0] for v, k in zip(views, rows, strict=True)))
    pixels = jnp.stack(views, axis=3)
    pixels = pixels.reshape(*pixels.shape[:4], groups, per_group)
    rows = rows.reshape(kh * kw, per_group, groups, out // groups)
    y = jnp.einsum("bhwtgi,tigo->bhwgo", pixels, rows)
    return y.reshape(*y.shape[:3], out)


def _output(
    x: tuple[int, ...], kernel: tuple[int, ...], window: Window
) -> tuple[int, int]:
    """Height and width of what a convolution gives."""
    height, width = (
        (
            dilated(x[1 + axis], window.lhs_dilation[axis])
            + sum(window.padding[axis])
            - dilated(kernel[axis], window.rhs_dilation[axis])
        )
        // window.strides[axis]
        + 1
        for axis in (0, 1)
    )
    return height, width
