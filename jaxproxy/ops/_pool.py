"""Pooling with symmetric padding; rows and columns are treated one after the other."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax


def avg_pool(
    x: Array, window: int, *, stride: int = 1, padding: int = 0, raw: bool = False
) -> Array:
    """Average pooling; the divisor counts the pixels inside the image.

    This is PyTorch's ``count_include_pad=False``. Rows and columns are summed one
    after the other, which is twice as fast as one window on CPU.

    Args:
      x: float[B, H, W, C].
      window: height and width of the window.
      stride: step of the window.
      padding: rows and columns of zeros on each side, below ``window``.
      raw: without a gradient of its own (see :func:`~jaxproxy.ops.conv`).

    Returns:
      float[B, (H + 2 padding - window) // stride + 1, ..., C].
    """
    if not 0 <= padding < window:
        raise ValueError(f"padding must be in [0, {window}), not {padding}")
    shape = x.shape[1:3]
    counts = _counts(shape, window, stride, padding).astype(x.dtype)
    box = _box_value if raw else _box
    return box(x, shape, window, stride, padding) / counts


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


def _box_value(
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


_box = jax.custom_vjp(_box_value, nondiff_argnums=(1, 2, 3, 4))


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
    return _box_value(x, shape, window, stride, padding), None


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
