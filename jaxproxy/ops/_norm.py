"""Batch normalisation and the channel moments that it shares with covariance meters."""

import functools
import math

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.ops._product import channel_product

_LANES = 64


def channel_sum(x: Array) -> Array:
    """Sum float[C] of x[..., C] over all but the last axis.

    Narrow channels are summed several pixels side by side, up to three times as fast
    on CPU.
    """
    channels = x.shape[-1]
    fold = math.gcd(max(1, _LANES // channels), x.size // channels)
    return x.reshape(-1, fold * channels).sum(0).reshape(fold, channels).sum(0)


def moments(x: Array) -> tuple[Array, Array]:
    """Channel mean float[C] and population covariance float[C, C] of x[..., C].

    The data are centred before the product: second moments minus squared means would
    lose the covariance of channels with a large mean.
    """
    flat = x.reshape(-1, x.shape[-1])
    mean = channel_sum(flat) / len(flat)
    centred = flat - mean[None]
    return mean, channel_product(centred, centred) / len(flat)


def gram_sums(x: Array) -> tuple[Array, Array]:
    """Sum float[C] of x[..., C], and of its products float[C, C], over the pixels."""
    return channel_sum(x), channel_product(x, x)


def gram_moments(sums: tuple[Array, Array], samples: int) -> tuple[Array, Array]:
    """As :func:`moments`, given :func:`gram_sums`: without a centred copy of x.

    It loses digits where the squared mean exceeds the variance, so it is for outputs
    of convolutions and rectifiers of normalised data, where both are of one size.
    """
    mean = sums[0] / samples
    return mean, sums[1] / samples - mean * mean[:, None]


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
    # As in `moments`, so that XLA shares the centred data with a meter of x.
    flat = x.reshape(-1, x.shape[-1])
    mean = channel_sum(flat) / len(flat)
    centred = flat - mean[None]
    inverse = lax.rsqrt(channel_sum(jnp.square(centred)) / len(flat) + eps)
    y = centred * (inverse * scale) + bias
    return y.reshape(x.shape), (x, mean, inverse, scale)


def _batch_norm_backward(
    eps: float, residuals: tuple[Array, ...], dy: Array
) -> tuple[Array, Array, Array]:
    del eps
    x, mean, inverse, scale = residuals
    flat, dy = x.reshape(-1, x.shape[-1]), dy.reshape(-1, x.shape[-1])
    normal = (flat - mean) * inverse
    dbias, dscale = channel_sum(dy), channel_sum(dy * normal)
    correction = (dbias + normal * dscale) / len(flat)
    dx = inverse * scale * (dy - correction)
    return dx.reshape(x.shape), dscale, dbias


batch_norm.defvjp(_batch_norm_forward, _batch_norm_backward)
