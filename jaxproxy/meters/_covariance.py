"""Meters of the covariance of an activation and of its spectrum."""

from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array

from jaxproxy.measure import (
    ACTIVATIONS,
    Activation,
    ActivationMeter,
    Layers,
    kinds_of,
    meter,
)
from jaxproxy.ops import channel_product, eigenvalues

Observations = Literal["pixels", "raw", "images"]


@meter
def covariance(
    layers: Layers = "conv", *, rows: Observations = "pixels"
) -> ActivationMeter:
    r"""Trace, squared Frobenius norm and size of each covariance, float[L, 3].

    The participation ratio needs no eigenvalues:
    :math:`(\sum\lambda)^2 / \sum\lambda^2 = (\mathrm{tr}\,C)^2 / \|C\|_F^2`. The
    size is that of the matrix: C, or B for ``"images"``.

    Args:
      layers: name in :data:`ACTIVATIONS`, or tap kinds.
      rows: what the observations are. ``"pixels"``: C x C covariance of channels over
        the B*H*W pixels, centred, divisor n - 1. ``"raw"``: their second moments
        about zero instead, divisor n. ``"images"``: C*H*W features over the B images,
        centred, divisor B - 1, by their B x B Gram matrix.

    Raises:
      ValueError: unknown layers or rows; while tracing, a single row to observe.

    References:
      Zhou et al., "InTrain", CVPR 2026, equations 1-2, arXiv:2606.18676.
    """
    measures = {"pixels": _pixels, "raw": _raw, "images": _images}
    return ActivationMeter(kinds_of(layers, ACTIVATIONS), measures[rows])


@meter
def spectrum(layers: Layers = "conv") -> ActivationMeter:
    """Eigenvalues of the channel covariance, descending, float[L, max C].

    Divisor n - 1; layers with fewer channels end in zeros. An eigendecomposition per
    layer: dearer than :func:`covariance`, and slow on GPU beyond 32 channels.

    Args:
      layers: name in :data:`ACTIVATIONS`, or tap kinds.

    Raises:
      ValueError: unknown layers; while tracing, an activation of a single pixel.
    """
    return ActivationMeter(kinds_of(layers, ACTIVATIONS), _eigenvalues)


@meter
def renyi_entropy(layers: Layers = "conv", *, order: float = 1.0) -> ActivationMeter:
    r"""Renyi entropy of the normalised spectrum, in nats, float[L]; 0 if all zero.

    :math:`H_\alpha = \log(\sum_i p_i^\alpha) / (1 - \alpha)` with
    :math:`p = \lambda / \sum\lambda`. Order 1 is Shannon's, the logarithm of the
    effective rank (Roy and Vetterli, EUSIPCO 2007); order 2 is the logarithm of the
    participation ratio; order infinity is that of the stable rank. Orders below 1 weigh
    up directions without variance, so there they see rounding errors.

    Args:
      layers: name in :data:`ACTIVATIONS`, or tap kinds.
      order: :math:`\alpha`, positive; infinity is allowed.

    Raises:
      ValueError: as :func:`spectrum`, or an order that is not positive.
    """
    if not order > 0:
        raise ValueError(f"order must be positive, not {order}")
    alpha = float(order)  # 2 is 2.0, by name as well

    def measure(activation: Activation) -> Array:
        return _renyi(_eigenvalues(activation), alpha)

    return ActivationMeter(kinds_of(layers, ACTIVATIONS), measure)


def _summary(covariance: Array, size: Array | int) -> Array:
    trace, square = jnp.trace(covariance), jnp.square(covariance).sum()
    return jnp.stack([trace, square, jnp.asarray(size, trace.dtype)])


def _pixels(activation: Activation) -> Array:
    return _summary(_unbiased(activation), activation.size)


def _raw(activation: Activation) -> Array:
    flat = activation.value.reshape(-1, activation.channels)
    return _summary(channel_product(flat, flat) / len(flat), activation.size)


def _images(activation: Activation) -> Array:
    flat = activation.value.reshape(activation.shape[0], -1)
    flat = flat - flat.mean(0, keepdims=True)
    # The Gram matrix of the images has the same non-zero eigenvalues.
    return _summary(channel_product(flat.T, flat.T) / _degrees(len(flat)), len(flat))


def _unbiased(activation: Activation) -> Array:
    """Channel covariance float[C, C] with divisor n - 1."""
    n = activation.samples
    return activation.moments[1] * (n / _degrees(n))


def _degrees(rows: int) -> int:
    if rows < 2:
        raise ValueError(f"a covariance needs at least 2 observations, not {rows}")
    return rows - 1


def _eigenvalues(activation: Activation) -> Array:
    values = jnp.maximum(eigenvalues(_unbiased(activation))[::-1], 0)
    if activation.live is None:
        return values
    # What rounding leaves of channels that do not exist would count in some entropies.
    return jnp.where(activation.exists, values, 0)


def _renyi(eigenvalues: Array, order: float) -> Array:
    total = eigenvalues.sum()
    dead = total == 0  # which NaN is not: it has to stay visible
    p = eigenvalues / jnp.where(dead, 1, total)
    if order == 1:
        entropy = -jax.scipy.special.xlogy(p, p).sum()
    elif order == float("inf"):
        entropy = -jnp.log(jnp.where(dead, 1, p.max()))
    else:
        entropy = jnp.log(jnp.where(dead, 1, (p**order).sum())) / (1 - order)
    return entropy
