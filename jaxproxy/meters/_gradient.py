"""Meters of parameter tensors and of their gradients."""

import functools
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from jaxproxy.measure import (
    PARAMETERS,
    Parameter,
    ParameterMeter,
    Params,
    kinds_of,
    meter,
)
from jaxproxy.ops import singular_values


@meter
def gradient(params: Params = "weights") -> ParameterMeter:
    """Spread and largest magnitude of each tensor's gradient, float[P, 2].

    The standard deviation has divisor n - 1 and is 0 for a tensor of one element.
    """
    return _of_gradients(params, _spread)


@meter
def gradient_norm(params: Params = "weights") -> ParameterMeter:
    """Euclidean norm of each tensor's gradient, float[P]."""
    return _of_gradients(params, lambda p: _norm(_grad(p)))


@meter
def saliency(params: Params = "weights") -> ParameterMeter:
    """Sums of |w g| and of w g over the elements of each tensor, float[P, 2]."""
    return _of_gradients(params, _saliency)


@meter
def nuclear_saliency(params: Params = ("attention_w",)) -> ParameterMeter:
    """Nuclear norm of each matrix times that of its gradient, float[P].

    Axes but the last count as one. Two decompositions for each tensor.
    """
    return _of_gradients(params, lambda p: _nuclear(_weight(p)) * _nuclear(_grad(p)))


@meter
def gradient_products(params: Params = "scales") -> ParameterMeter:
    """Inner products of each tensor's gradients over batches, float[P, M, M]."""
    return _of_gradients(
        params,
        _flat,
        keep=False,
        over_batches=lambda gradients: gradients @ gradients.T,
    )


@meter
def gradient_agreement(params: Params = "weights") -> ParameterMeter:
    r"""Agreement of batches on signs of gradients, :math:`\sum_j |\sum_b \pm 1|`.

    Of each tensor, float[P]. The sign of 0 is 0.
    """
    return _of_gradients(
        params,
        lambda p: jnp.sign(_grad(p)).reshape(-1),
        add=True,
        compares=True,
        over_batches=lambda signs: jnp.abs(signs).sum(),
    )


@meter
def gradient_stability(params: Params = "weights") -> ParameterMeter:
    r"""Mean magnitude over deviation, :math:`\sum_j \overline{|g_j|} / \sigma_j`.

    Of each tensor's gradient over batches, float[P]. The deviation has divisor n;
    elements where it is zero are left out.
    """
    return _of_gradients(params, _flat, over_batches=_stability)


@meter
def gradient_snr(
    params: Params = "weights", *, accumulate: bool = False
) -> ParameterMeter:
    r"""Signal over noise, :math:`\sum_j \bar g_j^2 / (\sigma_j^2 + \xi)`, float[P].

    Of each tensor's gradient over batches; the variance has divisor n,
    :math:`\xi = 10^{-8}`, and a tensor without variance counts 0.

    Args:
      params: see :data:`PARAMETERS`.
      accumulate: add gradients up from batch to batch.
    """

    def snr(gradients: Array) -> Array:
        return _snr(jnp.cumsum(gradients, 0) if accumulate else gradients)

    return _of_gradients(params, _flat, over_batches=snr)


@meter
def first_gradient(params: Params = "all") -> ParameterMeter:
    """Gradient of the first element of each tensor, float[P]; for scores only."""
    return _of_gradients(params, lambda p: _grad(p).reshape(-1)[0], keep=False)


@meter
def first_slopes(params: Params = "all") -> ParameterMeter:
    """Derivatives by the first element of each tensor, float[P, B]; for scores only.

    One for each image, where images do not depend on each other. Only networks that tap
    their slopes have them (see :meth:`~jaxproxy.measure.Tap.slope`).
    """
    kinds = kinds_of(params, PARAMETERS)
    return ParameterMeter(kinds, _slopes, reads="slope", keep=False)


@meter
def weight_norm(params: Params = "weights") -> ParameterMeter:
    """Euclidean norm of each tensor, float[P]."""
    return ParameterMeter(kinds_of(params, PARAMETERS), lambda p: _norm(_weight(p)))


@meter
def weight_size(params: Params = "weights") -> ParameterMeter:
    """Number of elements of each tensor, float[P]."""
    return ParameterMeter(kinds_of(params, PARAMETERS), _size)


def _of_gradients(
    params: str | tuple[str, ...],
    measure: Callable[[Parameter], Array],
    *,
    keep: bool = True,
    add: bool = False,
    compares: bool = False,
    over_batches: Callable[[Array], Array] | None = None,
) -> ParameterMeter:
    return ParameterMeter(
        kinds_of(params, PARAMETERS),
        measure,
        reads="gradient",
        keep=keep,
        add=add,
        compares=compares,
        over_batches=over_batches,
    )


def _weight(parameter: Parameter) -> Array:
    assert parameter.weight is not None  # only meters of slopes get none
    return parameter.weight


def _grad(parameter: Parameter) -> Array:
    assert parameter.gradient is not None  # meters that read gradients get them
    return parameter.gradient


def _slopes(parameter: Parameter) -> Array:
    assert parameter.slopes is not None  # meters that read slopes get them
    return parameter.slopes


def _size(parameter: Parameter) -> Array:
    weight = _weight(parameter)
    size = weight.size if parameter.size is None else parameter.size
    return jnp.asarray(size, weight.dtype)


def _spread(parameter: Parameter) -> Array:
    grad, size = _grad(parameter), parameter.size
    if size is None:
        centred = jnp.square(grad - grad.mean())
        std = jnp.sqrt(centred.sum() / max(grad.size - 1, 1))
    else:
        num = size.astype(grad.dtype)
        mean = grad.sum() / num
        # Elements that do not exist are zeros, each of which adds the squared mean.
        missing = (grad.size - num) * jnp.square(mean)
        squares = jnp.maximum(jnp.square(grad - mean).sum() - missing, 0)
        std = jnp.sqrt(squares / jnp.maximum(num - 1, 1))
    return jnp.stack([std, jnp.abs(grad).max()])


def _flat(parameter: Parameter) -> Array:
    return _grad(parameter).reshape(-1)


def _stability(gradients: Array) -> Array:
    deviation = jnp.sqrt(_variance(gradients))
    varies = deviation > 0
    ratio = _mean(jnp.abs(gradients)) / jnp.where(varies, deviation, 1)
    return jnp.where(varies, ratio, 0).sum()


def _snr(gradients: Array) -> Array:
    variance = _variance(gradients)
    ratios = jnp.square(_mean(gradients)) / (variance + 1e-8)
    return jnp.where((variance > 0).any(), ratios.sum(), 0)


def _variance(gradients: Array) -> Array:
    return _mean(jnp.square(gradients - _mean(gradients)))


def _mean(gradients: Array) -> Array:
    """Over batches, which are few: a reduction takes several times as long on CPU."""
    return functools.reduce(jnp.add, gradients) / len(gradients)


def _norm(tensor: Array) -> Array:
    return jnp.sqrt(jnp.square(tensor).sum())


def _nuclear(tensor: Array) -> Array:
    return singular_values(tensor.reshape(-1, tensor.shape[-1])).sum()


def _saliency(parameter: Parameter) -> Array:
    product = _weight(parameter) * _grad(parameter)
    return jnp.stack([jnp.abs(product).sum(), product.sum()])
