"""Convolution whose gradients stay fast inside loops.

XLA's CPU compiler rewrites convolutions to its fast form in the entry computation
only; the transposed convolutions that differentiation makes are not in that form, so
inside ``lax.map``, ``lax.scan`` or ``lax.switch`` they run 10 to 25 times slower.
:func:`conv` therefore has a hand-written gradient made of ordinary NHWC/HWIO
convolutions. JAX has no forward mode through ``custom_vjp``, so there are two kinds of
second derivatives: where a convolution is ``portable``, its gradient is made of
:func:`conv` again, and a second reverse mode is as fast as the first; elsewhere it is
made of XLA's convolutions, and may be differentiated in forward mode.

On CPU, narrow and large convolutions take the forms of ``_conv_cpu``, depthwise ones
that of ``_grouped``. Architectures side by side take those of ``_lanes``.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.ops._conv_cpu import (
    NARROW,
    NARROW_DW,
    conv_rows,
    conv_taps,
    dw_rows,
    dw_taps,
    sum_over_tiles,
)
from jaxproxy.ops._grouped import depthwise_dw, depthwise_rows, grouped_dw
from jaxproxy.ops._lanes import conv_in_lanes, dw_in_lanes
from jaxproxy.ops._platform import by_platform, in_lanes
from jaxproxy.ops._product import channel_product
from jaxproxy.ops._tiles import is_large
from jaxproxy.ops._window import Window, dilated

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def conv(
    x: Array,
    kernel: Array,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    portable: bool = False,
    raw: bool = False,
) -> Array:
    """Convolution with symmetric padding, as PyTorch's ``padding=dilation*(k-1)//2``.

    Args:
      x: float[B, H, W, Cin].
      kernel: float[k, k, Cin // groups, Cout].
      stride: step of the window; XLA's "SAME" would pad unevenly for 2, this does not.
      dilation: distance between kernel taps.
      groups: number of channel groups; ``groups == Cin`` is a depthwise convolution.
      portable: for reverse mode twice; no form of this platform alone, which JAX cannot
        differentiate twice in a ``switch`` inside a ``scan``.
      raw: without a gradient of its own, for what only forward mode passes through,
        such as a hand-written gradient.

    Returns:
      float[B, ceil(H / stride), ceil(W / stride), Cout] for odd k.

    Raises:
      ValueError: if channels and groups do not fit.
    """
    window = Window.of(x.shape, kernel.shape, stride, dilation, groups)
    if raw:
        return _conv_value(x, kernel, window)
    return _conv(x, kernel, window._replace(portable=portable))


def conv_gradients(
    x: Array,
    kernel: Array,
    dy: Array,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> tuple[Array, Array]:
    """Gradients of :func:`conv` for its input and kernel, for hand-written VJPs."""
    window = Window.of(x.shape, kernel.shape, stride, dilation, groups)
    return _conv_backward(window, (x, kernel), dy)


def conv_transpose(
    x: Array, kernel: Array, *, stride: int, portable: bool = False
) -> Array:
    """Transposed convolution, the adjoint of :func:`conv` by a kernel of odd size.

    PyTorch's with ``padding=(k - 1) // 2, output_padding=stride - 1``.

    Args:
      x: float[B, H, W, Cin].
      kernel: float[k, k, Cin, Cout].
      stride: how many times larger the sides of the output are.
      portable: see :func:`conv`.
    """
    pads = [((k - 1) // 2, (k - 1) // 2) for k in kernel.shape[:2]]
    window = Window((stride, stride), (pads[0], pads[1]), (1, 1), (1, 1), 1, portable)
    batch, height, width, _ = x.shape
    shape = (batch, stride * height, stride * width, kernel.shape[3])
    return _conv_dx(x, kernel.swapaxes(2, 3), shape, window, _conv)


def _conv_value(x: Array, kernel: Array, window: Window) -> Array:
    if window.is_matmul(kernel.shape):
        return lax.dot_general(x, kernel[0, 0], (((3,), (0,)), ((), ())))
    if in_lanes():
        return conv_in_lanes(_conv_lax, window, x, kernel)
    whole = functools.partial(_conv_lax, window)
    if window.is_plain3(kernel.shape, NARROW):
        return by_platform(x, kernel, cpu=conv_rows, default=whole)
    if window.is_dense3(kernel.shape, NARROW):
        taps = functools.partial(conv_taps, window)
        return by_platform(x, kernel, cpu=taps, default=whole)
    if window.is_depthwise(kernel.shape):
        rows = functools.partial(depthwise_rows, window)
        return by_platform(x, kernel, cpu=rows, default=whole)
    return whole(x, kernel)


_conv = jax.custom_vjp(_conv_value, nondiff_argnums=(2,))


def _again(x: Array, kernel: Array, window: Window) -> Array:
    """A convolution inside of the gradient of one."""
    return (_conv if window.portable else _conv_value)(x, kernel, window)


def _conv_lax(window: Window, x: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        window.strides,
        window.padding,
        lhs_dilation=window.lhs_dilation,
        rhs_dilation=window.rhs_dilation,
        dimension_numbers=_LAYOUT,
        feature_group_count=window.groups,
    )


def _conv_forward(
    x: Array, kernel: Array, window: Window
) -> tuple[Array, tuple[Array, Array]]:
    return _again(x, kernel, window), (x, kernel)


def _conv_backward(
    window: Window, residuals: tuple[Array, Array], dy: Array
) -> tuple[Array, Array]:
    x, kernel = residuals
    return _conv_dx(dy, kernel, x.shape, window), _conv_dw(x, dy, kernel.shape, window)


_conv.defvjp(_conv_forward, _conv_backward)


def _conv_dx(
    dy: Array,
    kernel: Array,
    shape: tuple[int, ...],
    window: Window,
    conv: Callable[[Array, Array, Window], Array] = _again,
) -> Array:
    """Gradient of the input: a convolution with the kernel flipped and transposed."""
    if window.strides != (1, 1) and window.is_dense:
        return _strided_dx(dy, kernel, shape, window, conv)
    kh, kw, per_group, out = kernel.shape
    groups = window.groups
    flipped = kernel[::-1, ::-1].reshape(kh, kw, per_group, groups, out // groups)
    flipped = flipped.transpose(0, 1, 4, 3, 2).reshape(kh, kw, out // groups, -1)
    padding = []
    for axis in (0, 1):
        k = dilated(kernel.shape[axis], window.rhs_dilation[axis])
        size = dilated(shape[1 + axis], window.lhs_dilation[axis])
        low = k - 1 - window.padding[axis][0]
        given = dilated(dy.shape[1 + axis], window.strides[axis])
        padding.append((low, size + k - 1 - given - low))
    return conv(
        dy,
        flipped,
        Window(
            strides=window.lhs_dilation,
            padding=(padding[0], padding[1]),
            lhs_dilation=window.strides,
            rhs_dilation=window.rhs_dilation,
            groups=groups,
            portable=window.portable,
        ),
    )


def _strided_dx(
    dy: Array,
    kernel: Array,
    shape: tuple[int, ...],
    window: Window,
    conv: Callable[[Array, Array, Window], Array],
) -> Array:
    """Gradient of the input, all the pixels under a step of the window at once.

    A convolution of dy as it is; dilated by the stride, it would not be in fast form.
    """
    phases, padding, pixels = kernel[::-1, ::-1], [], []
    for axis, (low, _) in enumerate(window.padding):
        k, stride = kernel.shape[axis], window.strides[axis]
        before = max(0, -(-(k - low - stride) // stride))
        zeros = stride * (before + 1) + low - k
        taps = -(-(k + zeros) // stride)
        pixels.append(-(-shape[1 + axis] // stride))
        padding.append((before, pixels[axis] + taps - 1 - dy.shape[1 + axis] - before))
        # Phase p of a step sees, at tap j, entry stride * (j + 1) - 1 - p of these.
        config = [(0, 0)] * phases.ndim
        config[2 * axis] = (zeros, stride * taps - k - zeros)
        phases = jnp.pad(phases, config)
        sizes = phases.shape[: 2 * axis], phases.shape[2 * axis + 1 :]
        phases = phases.reshape(*sizes[0], taps, stride, *sizes[1])
        phases = jnp.flip(phases, 2 * axis + 1)
    # From [taps, phases, taps, phases, Cin, Cout].
    phases = phases.transpose(0, 2, 5, 1, 3, 4)
    phases = phases.reshape(*phases.shape[:3], -1)
    plain = Window((1, 1), (padding[0], padding[1]), (1, 1), (1, 1), 1, window.portable)
    dx = conv(dy, phases, plain).reshape(-1, *pixels, *window.strides, shape[3])
    dx = dx.transpose(0, 1, 3, 2, 4, 5)
    dx = dx.reshape(shape[0], pixels[0] * window.strides[0], -1, shape[3])
    return dx[:, : shape[1], : shape[2]]


def _conv_dw(x: Array, dy: Array, shape: tuple[int, ...], window: Window) -> Array:
    """Gradient of the kernel: x and dy convolved over the batch axis."""
    if in_lanes() and not window.is_matmul(shape):
        return dw_in_lanes(shape, window, x, dy)
    if window.is_depthwise(shape):
        return by_platform(
            x,
            dy,
            cpu=functools.partial(depthwise_dw, shape, window),
            default=functools.partial(grouped_dw, shape, window),
        )
    if window.groups > 1:
        return grouped_dw(shape, window, x, dy)
    if window.is_matmul(shape):
        return channel_product(x, dy, portable=window.portable)[None, None]
    whole = functools.partial(_dw_batch, shape, window)
    if window.is_plain3(shape, NARROW_DW):
        return by_platform(x, dy, cpu=dw_rows, default=whole)
    if window.is_dense3(shape, NARROW):
        taps = functools.partial(dw_taps, window)
        return by_platform(x, dy, cpu=taps, default=whole)
    if is_large(x.shape) and not window.portable:
        tiled = functools.partial(sum_over_tiles, whole)
        return by_platform(x, dy, cpu=tiled, default=whole)
    return whole(x, dy)


def _dw_batch(shape: tuple[int, ...], window: Window, x: Array, dy: Array) -> Array:
    """Kernel gradient as a convolution over the batch axis."""
    padding = []
    for axis in (0, 1):
        low = window.padding[axis][0]
        size = dilated(x.shape[1 + axis], window.lhs_dilation[axis])
        given = dilated(dy.shape[1 + axis], window.strides[axis])
        k = dilated(shape[axis], window.rhs_dilation[axis])
        padding.append((low, given + k - 1 - size - low))
    dw = _again(
        x.transpose(3, 1, 2, 0),
        dy.transpose(1, 2, 0, 3),
        Window(
            strides=window.rhs_dilation,
            padding=(padding[0], padding[1]),
            lhs_dilation=window.lhs_dilation,
            rhs_dilation=window.strides,
            groups=1,
            portable=window.portable,
        ),
    )
    return dw.transpose(1, 2, 0, 3)
