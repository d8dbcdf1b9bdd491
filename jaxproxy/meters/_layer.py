"""Meters of single activations: variance, correlation, influence, or all of them."""

import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.measure import (
    ACTIVATIONS,
    Activation,
    ActivationMeter,
    Layers,
    kinds_of,
    meter,
)
from jaxproxy.ops import eigenvalues


@meter
def variance(layers: Layers = ("bn_input",)) -> ActivationMeter:
    """Mean over channels of the variance of each activation, divisor n - 1, float[L].

    Args:
      layers: name in :data:`ACTIVATIONS`, or tap kinds; by default what BatchNorm
        normalises.
    """
    return ActivationMeter(kinds_of(layers, ACTIVATIONS), _variance)


@meter
def smallest_correlation(layers: Layers = "leaf") -> ActivationMeter:
    """Smallest eigenvalue of the correlation matrix of the channels, float[L].

    Correlations with a constant channel count 0.

    Args:
      layers: name in :data:`ACTIVATIONS`, or tap kinds.

    References:
      Jiang et al., "MeCo", NeurIPS 2023.
    """
    return ActivationMeter(kinds_of(layers, ACTIVATIONS), _smallest_correlation)


@meter
def influence(layers: Layers = "conv") -> ActivationMeter:
    """1 where the output can depend on an activation and it on the input, float[L].

    Networks whose architecture is data have layers that lead nowhere or read nothing;
    what is measured there says nothing about the function that is trained. All other
    networks are taken to use every layer.

    Args:
      layers: name in :data:`ACTIVATIONS`, or tap kinds.

    Raises:
      ValueError: unknown layers.
    """
    return ActivationMeter(kinds_of(layers, ACTIVATIONS), _used)


@meter
def channels(layers: Layers = "convlin") -> ActivationMeter:
    """Number of channels of each activation, float[L].

    Args:
      layers: name in :data:`ACTIVATIONS`, or tap kinds.
    """
    return ActivationMeter(kinds_of(layers, ACTIVATIONS), _channels)


@meter
def fisher_information(layers: Layers = "convlin") -> ActivationMeter:
    r"""Sum over channels k of :math:`\frac12 \mathrm{mean}_n u_{nk}^2`, float[L].

    u is the sum over pixels of activation times gradient.

    References:
      Theis et al., "Faster gaze prediction", 2018, arXiv:1801.05787; Turner et al.,
      "BlockSwap", ICLR 2020, arXiv:1906.04113.
    """
    kinds = kinds_of(layers, ACTIVATIONS)
    return ActivationMeter(kinds, _fisher, gradient=True)


@meter
def input_correlation() -> ActivationMeter:
    """Correlations between the images' gradients of the loss, float[1, B, B].

    For scores only; NaN where a gradient is constant.
    """
    return ActivationMeter(
        ("input",), _correlation, gradient=True, keep=False, compares=True
    )


@meter
def features() -> ActivationMeter:
    """The features before pooling, float[1, B*H*W*C]; for scores only."""
    return ActivationMeter(("features",), lambda a: a.value.reshape(-1), keep=False)


@meter
def logits() -> ActivationMeter:
    """The outputs of the network, float[1, B, K]; for scores only."""
    return ActivationMeter(("logits",), lambda a: a.value, keep=False)


@meter
def log_scale() -> ActivationMeter:
    """Logarithms of what cells were divided by, with ``norm="none"``, float[L]."""
    return ActivationMeter(("log_scale",), lambda a: a.value.sum())


def _used(activation: Activation) -> Array:
    return jnp.where(activation.used, jnp.float32(1), jnp.float32(0))


def _channels(activation: Activation) -> Array:
    return jnp.asarray(activation.size, jnp.float32)


def _variance(activation: Activation) -> Array:
    n = activation.samples
    total, size = jnp.diagonal(activation.moments[1]).sum(), activation.size
    return total / jnp.asarray(size, total.dtype) * (n / max(n - 1, 1))


def _smallest_correlation(activation: Activation) -> Array:
    covariance = activation.moments[1]
    deviation = jnp.sqrt(jnp.maximum(jnp.diagonal(covariance), 0))
    varies = deviation > 0
    inverse = jnp.where(varies, 1 / jnp.where(varies, deviation, 1), 0)
    correlation = covariance * inverse * inverse[:, None]
    if activation.live is not None:
        # No eigenvalue of the others exceeds their number.
        missing = jnp.where(activation.exists, 0, 2 * activation.channels)
        correlation = correlation + jnp.diag(missing.astype(correlation.dtype))
    return eigenvalues(correlation)[0]


def _fisher(activation: Activation) -> Array:
    product = activation.value * _gradient(activation)
    images, channels = product.shape[0], product.shape[-1]
    sums = product.reshape(images, -1, channels).sum(1)
    return jnp.square(sums).mean(0).sum() / 2


def _correlation(activation: Activation) -> Array:
    gradient = _gradient(activation)
    rows = gradient.reshape(gradient.shape[0], -1)
    if activation.live is None:
        rows = rows - rows.mean(1, keepdims=True)
    else:
        pixels = rows.shape[1] // activation.channels
        total = (pixels * activation.live).astype(rows.dtype)
        alive = jnp.tile(activation.exists, pixels)
        rows = jnp.where(alive, rows - rows.sum(1, keepdims=True) / total, 0)
    products = lax.dot_general(rows, rows, (((1,), (1,)), ((), ())))
    norms = jnp.sqrt(jnp.diagonal(products))
    return products / (norms * norms[:, None])


def _gradient(activation: Activation) -> Array:
    assert activation.gradient is not None  # the meters above ask for it
    return activation.gradient
