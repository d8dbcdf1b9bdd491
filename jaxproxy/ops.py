"""Convolution, pooling and normalisation whose gradients stay fast inside loops.

XLA's CPU compiler rewrites convolutions to its fast form in the entry computation
only; the transposed convolutions that differentiation makes are not in that form, so
inside ``lax.map``, ``lax.scan`` or ``lax.switch`` they run 10 to 25 times slower.
:func:`conv` therefore has a hand-written gradient made of ordinary NHWC/HWIO
convolutions. They are :func:`conv` again, so a second reverse-mode derivative is as
fast as the first. Forward mode through ``custom_vjp`` is not available in JAX.

Arrays are NHWC, kernels HWIO, strides and dilations are equal in both directions.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxproxy.types import Array

__all__ = [
    "avg_pool",
    "batch_norm",
    "conv",
    "conv_gradients",
    "gram_moments",
    "max_pool",
    "moments",
]

_LAYOUT = ("NHWC", "HWIO", "NHWC")


class _Window(NamedTuple):
    """Static geometry of a convolution; each field is (height, width)."""

    strides: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    lhs_dilation: tuple[int, int]
    rhs_dilation: tuple[int, int]
    groups: int


def conv(
    x: Array,
    kernel: Array,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> Array:
    """Convolution with symmetric padding, as PyTorch's ``padding=dilation*(k-1)//2``.

    Args:
      x: float[B, H, W, Cin].
      kernel: float[k, k, Cin // groups, Cout].
      stride: step of the window; XLA's "SAME" would pad unevenly for 2, this does not.
      dilation: distance between kernel taps.
      groups: number of channel groups; ``groups == Cin`` is a depthwise convolution.

    Returns:
      float[B, ceil(H / stride), ceil(W / stride), Cout] for odd k.

    Raises:
      ValueError: if channels and groups do not fit.
    """
    return _conv(x, kernel, _window(x, kernel, stride, dilation, groups))


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
    window = _window(x, kernel, stride, dilation, groups)
    return _conv_backward(window, (x, kernel), dy)


def _window(
    x: Array, kernel: Array, stride: int, dilation: int, groups: int
) -> _Window:
    if x.ndim != 4 or kernel.ndim != 4:
        raise ValueError(f"conv takes 4-d arrays, not {x.shape} and {kernel.shape}")
    channels, (per_group, out) = x.shape[3], kernel.shape[2:]
    if channels != per_group * groups or out % groups:
        raise ValueError(
            f"kernel {kernel.shape} with groups={groups} does not fit {channels} "
            "input channels; it needs [k, k, Cin // groups, n * groups]"
        )
    pads = [dilation * (k - 1) // 2 for k in kernel.shape[:2]]
    return _Window(
        strides=(stride, stride),
        padding=((pads[0], pads[0]), (pads[1], pads[1])),
        lhs_dilation=(1, 1),
        rhs_dilation=(dilation, dilation),
        groups=groups,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(x: Array, kernel: Array, window: _Window) -> Array:
    if _is_matmul(kernel.shape, window):
        return lax.dot_general(x, kernel[0, 0], (((3,), (0,)), ((), ())))
    if _is_narrow(x.shape, kernel.shape, window):
        return lax.platform_dependent(
            x, kernel, cpu=_conv_rows, default=functools.partial(_conv_lax, window)
        )
    return _conv_lax(window, x, kernel)


def _conv_lax(window: _Window, x: Array, kernel: Array) -> Array:
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


def _is_narrow(
    shape: tuple[int, ...], kernel: tuple[int, ...], window: _Window
) -> bool:
    """Whether a plain 3x3 convolution is faster on CPU as one product of wide rows.

    Measured up to 2.2 times faster for 8 channels, 1.4 for 16, slower from 32 on, and
    slower where the rows leave the cache.
    """
    plain = window == _Window((1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1), 1)
    small = max(kernel[2:]) <= 16 and math.prod(shape) <= 2**20
    return kernel[:2] == (3, 3) and plain and small


def _conv_rows(x: Array, kernel: Array) -> Array:
    """3x3 convolution: three rows side by side, one product, three columns summed."""
    width, (inputs, outputs) = x.shape[2], kernel.shape[2:]
    columns = kernel.transpose(0, 2, 1, 3).reshape(3 * inputs, 3 * outputs)
    z = jnp.pad(_neighbours(x, 1) @ columns, ((0, 0), (0, 0), (1, 1), (0, 0)))
    return functools.reduce(
        jnp.add,
        (z[:, :, j : j + width, j * outputs : (j + 1) * outputs] for j in range(3)),
    )


def _dw_rows(x: Array, dy: Array) -> Array:
    """Kernel gradient of :func:`_conv_rows`: all nine taps in one product.

    The rows of dy are those that the input gradient takes, so they are made once.
    """
    rows, columns, pixels = _neighbours(dy, 1), _neighbours(x, 2), ((0, 1, 2),) * 2
    taps = lax.dot_general(rows, columns, (pixels, ((), ())))
    taps = taps.reshape(3, dy.shape[3], 3, x.shape[3])
    return taps[::-1].transpose(0, 2, 3, 1)


def _neighbours(x: Array, axis: int) -> Array:
    """Each pixel with the one before and after it on an axis, float[B, H, W, 3C]."""
    pads = [(0, 0)] * 4
    pads[axis] = (1, 1)
    padded, size = jnp.pad(x, pads), x.shape[axis]
    shifted = [lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(3)]
    return jnp.concatenate(shifted, axis=3)


def _conv_forward(
    x: Array, kernel: Array, window: _Window
) -> tuple[Array, tuple[Array, Array]]:
    return _conv(x, kernel, window), (x, kernel)


def _conv_backward(
    window: _Window, residuals: tuple[Array, Array], dy: Array
) -> tuple[Array, Array]:
    x, kernel = residuals
    return _conv_dx(dy, kernel, x.shape, window), _conv_dw(x, dy, kernel.shape, window)


_conv.defvjp(_conv_forward, _conv_backward)


def _is_matmul(kernel: tuple[int, ...], window: _Window) -> bool:
    plain = window == _Window((1, 1), ((0, 0), (0, 0)), (1, 1), window.rhs_dilation, 1)
    return kernel[:2] == (1, 1) and plain


def _dilated(size: int, dilation: int) -> int:
    return (size - 1) * dilation + 1


def _conv_dx(
    dy: Array, kernel: Array, shape: tuple[int, ...], window: _Window
) -> Array:
    """Gradient of the input: a convolution with the kernel flipped and transposed."""
    kh, kw, per_group, out = kernel.shape
    groups = window.groups
    flipped = kernel[::-1, ::-1].reshape(kh, kw, per_group, groups, out // groups)
    flipped = flipped.transpose(0, 1, 4, 3, 2).reshape(kh, kw, out // groups, -1)
    padding = []
    for axis in (0, 1):
        k = _dilated(kernel.shape[axis], window.rhs_dilation[axis])
        size = _dilated(shape[1 + axis], window.lhs_dilation[axis])
        low = k - 1 - window.padding[axis][0]
        given = _dilated(dy.shape[1 + axis], window.strides[axis])
        padding.append((low, size + k - 1 - given - low))
    return _conv(
        dy,
        flipped,
        _Window(
            strides=window.lhs_dilation,
            padding=(padding[0], padding[1]),
            lhs_dilation=window.strides,
            rhs_dilation=window.rhs_dilation,
            groups=groups,
        ),
    )


def _conv_dw(x: Array, dy: Array, shape: tuple[int, ...], window: _Window) -> Array:
    """Gradient of the kernel: x and dy convolved over the batch axis."""
    if window.groups > 1:
        return _grouped_dw(x, dy, shape, window)
    if _is_matmul(shape, window):
        return lax.dot_general(x, dy, (((0, 1, 2), (0, 1, 2)), ((), ())))[None, None]
    if _is_narrow(x.shape, shape, window):
        default = functools.partial(_dw_batch, shape, window)
        return lax.platform_dependent(x, dy, cpu=_dw_rows, default=default)
    return _dw_batch(shape, window, x, dy)


def _dw_batch(shape: tuple[int, ...], window: _Window, x: Array, dy: Array) -> Array:
    """Kernel gradient as a convolution over the batch axis."""
    padding = []
    for axis in (0, 1):
        low = window.padding[axis][0]
        size = _dilated(x.shape[1 + axis], window.lhs_dilation[axis])
        given = _dilated(dy.shape[1 + axis], window.strides[axis])
        k = _dilated(shape[axis], window.rhs_dilation[axis])
        padding.append((low, given + k - 1 - size - low))
    dw = _conv(
        x.transpose(3, 1, 2, 0),
        dy.transpose(1, 2, 0, 3),
        _Window(
            strides=window.rhs_dilation,
            padding=(padding[0], padding[1]),
            lhs_dilation=window.lhs_dilation,
            rhs_dilation=window.strides,
            groups=1,
        ),
    )
    return dw.transpose(1, 2, 0, 3)


def _grouped_dw(x: Array, dy: Array, shape: tuple[int, ...], window: _Window) -> Array:
    """One contraction per kernel tap and group, over shifted views of the input."""
    kh, kw, per_group, out = shape
    groups, (batch, height, width, _) = window.groups, dy.shape
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
    gradient = dy.reshape(batch, height, width, groups, out // groups)
    taps = []
    for i in range(kh):
        for j in range(kw):
            start = (0, i * window.rhs_dilation[0], j * window.rhs_dilation[1], 0)
            last = [
                _dilated(n, s)
                for n, s in zip((height, width), window.strides, strict=True)
            ]
            stop = (batch, start[1] + last[0], start[2] + last[1], x.shape[3])
            view = lax.slice(padded, start, stop, (1, *window.strides, 1))
            view = view.reshape(batch, height, width, groups, per_group)
            taps.append(jnp.einsum("bhwgi,bhwgo->igo", view, gradient))
    return jnp.stack(taps).reshape(kh, kw, per_group, out)


def avg_pool(x: Array, window: int, *, stride: int = 1, padding: int = 0) -> Array:
    """Average pooling; the divisor counts the pixels inside the image.

    This is PyTorch's ``count_include_pad=False``. Rows and columns are summed one
    after the other, which is twice as fast as one window on CPU.

    Args:
      x: float[B, H, W, C].
      window: height and width of the window.
      stride: step of the window.
      padding: rows and columns of zeros on each side, below ``window``.

    Returns:
      float[B, (H + 2 padding - window) // stride + 1, ..., C].
    """
    if not 0 <= padding < window:
        raise ValueError(f"padding must be in [0, {window}), not {padding}")
    shape = x.shape[1:3]
    counts = _counts(shape, window, stride, padding).astype(x.dtype)
    return _box(x, shape, window, stride, padding) / counts


@functools.cache
def _counts(
    shape: tuple[int, ...], window: int, stride: int, padding: int
) -> np.ndarray:
    """Pixels under each window, float64[1, H', W', 1]."""
    lines = []
    for size in shape:
        starts = np.arange(0, size + 2 * padding - window + 1, stride) - padding
        stops = np.minimum(starts + window, size)
        lines.append(stops - np.maximum(starts, 0))
    return np.multiply.outer(*lines).astype(np.float64)[None, :, :, None]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _box(
    x: Array, shape: tuple[int, ...], window: int, stride: int, padding: int
) -> Array:
    """Sum over windows of x, whose height and width are ``shape``."""
    if stride == window and padding == 0:
        height, width = (n // window for n in x.shape[1:3])
        x = x[:, : height * window, : width * window]
        blocks = x.reshape(x.shape[0], height, window, width, window, x.shape[3])
        return blocks.sum((2, 4))
    for axis in (1, 2):
        x = _line_sum(x, axis, window, stride, (padding, padding))
    return x


def _line_sum(
    x: Array, axis: int, window: int, stride: int, padding: tuple[int, int]
) -> Array:
    config = [(0, 0, 0)] * 4
    config[axis] = (*padding, 0)
    padded = lax.pad(x, jnp.zeros((), x.dtype), config)
    stop = padded.shape[axis] - window + 1
    return functools.reduce(
        jnp.add,
        (lax.slice_in_dim(padded, i, i + stop, stride, axis) for i in range(window)),
    )


def _box_forward(
    x: Array, shape: tuple[int, ...], window: int, stride: int, padding: int
) -> tuple[Array, None]:
    return _box(x, shape, window, stride, padding), None


def _box_backward(
    shape: tuple[int, ...],
    window: int,
    stride: int,
    padding: int,
    residuals: None,
    dy: Array,
) -> tuple[Array]:
    del residuals
    for axis, size in zip((1, 2), shape, strict=True):
        config = [(0, 0, 0)] * 4
        config[axis] = (0, 0, stride - 1)
        dilated = lax.pad(dy, jnp.zeros((), dy.dtype), config)
        low = window - 1 - padding
        high = size + padding - dilated.shape[axis]
        dy = _line_sum(dilated, axis, window, 1, (low, high))
    return (dy,)


_box.defvjp(_box_forward, _box_backward)


def max_pool(x: Array, window: int, *, stride: int = 1, padding: int = 0) -> Array:
    """Maximum over windows of float[B, H, W, C]; padding never wins."""
    if not 0 <= padding < window:
        raise ValueError(f"padding must be in [0, {window}), not {padding}")
    pads = [(0, 0), (padding, padding), (padding, padding), (0, 0)]
    padded = jnp.pad(x, pads, constant_values=-math.inf)
    for axis in (1, 2):
        stop = padded.shape[axis] - window + 1
        padded = functools.reduce(
            jnp.maximum,
            (
                lax.slice_in_dim(padded, i, i + stop, stride, axis)
                for i in range(window)
            ),
        )
    return padded


def moments(x: Array) -> tuple[Array, Array]:
    """Channel mean float[C] and population covariance float[C, C] of x[..., C].

    The data are centred before the product: second moments minus squared means would
    lose the covariance of channels with a large mean.
    """
    flat = x.reshape(-1, x.shape[-1])
    mean = flat.mean(0)
    centred = flat - mean[None]
    return mean, lax.dot_general(centred, centred, (((0,), (0,)), ((), ()))) / len(flat)


def gram_moments(x: Array) -> tuple[Array, Array]:
    """As :func:`moments` from one uncentred product, without a centred copy of x.

    It loses digits where the squared mean exceeds the variance, so it is for outputs
    of convolutions and rectifiers of normalised data, where both are of one size.
    """
    flat = x.reshape(-1, x.shape[-1])
    mean = flat.mean(0)
    gram = lax.dot_general(flat, flat, (((0,), (0,)), ((), ())))
    return mean, gram / len(flat) - mean * mean[:, None]


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def batch_norm(x: Array, scale: Array, bias: Array, eps: float = 1e-5) -> Array:
    """Normalises each channel of x[..., C] by its batch statistics (training mode).

    Args:
      x: float[..., C].
      scale: float[C].
      bias: float[C].
      eps: added to the population variance.

    References:
      Ioffe and Szegedy, "Batch Normalization", ICML 2015, arXiv:1502.03167.
    """
    return _batch_norm_forward(x, scale, bias, eps)[0]


def _batch_norm_forward(
    x: Array, scale: Array, bias: Array, eps: float
) -> tuple[Array, tuple[Array, ...]]:
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes, keepdims=True)
    inverse = lax.rsqrt(jnp.square(x - mean).mean(axes, keepdims=True) + eps)
    shape = (1,) * (x.ndim - 1) + scale.shape
    y = (x - mean) * inverse * scale.reshape(shape) + bias.reshape(shape)
    return y, (x, mean, inverse, scale)


def _batch_norm_backward(
    eps: float, residuals: tuple[Array, ...], dy: Array
) -> tuple[Array, Array, Array]:
    del eps
    x, mean, inverse, scale = residuals
    axes = tuple(range(x.ndim - 1))
    normal = (x - mean) * inverse
    dbias, dscale = dy.sum(axes), (dy * normal).sum(axes)
    size = x.size // x.shape[-1]
    shape = mean.shape
    correction = (dbias.reshape(shape) + normal * dscale.reshape(shape)) / size
    return inverse * scale.reshape(shape) * (dy - correction), dscale, dbias


batch_norm.defvjp(_batch_norm_forward, _batch_norm_backward)
