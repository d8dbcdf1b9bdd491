"""Meters of parameter tensors and of their gradients."""

import functools

import jax.numpy as jnp
from jax import Array

from jaxproxy.measure import PARAMETERS, Meter, as_kinds
from jaxproxy.ops import singular_values

Params = str | tuple[str, ...]


def gradient(params: Params = "weights") -> Meter:
    """Spread and largest magnitude of each tensor's gradient, float[P, 2].

    The standard deviation has divisor n - 1 and is 0 for a tensor of one element.
    """
    kinds, label = as_kinds(params, PARAMETERS)
    return Meter(f"gradient({label})", kinds, "gradient", _spread, sized=True)


def gradient_norm(params: Params = "weights") -> Meter:
    """Euclidean norm of each tensor's gradient, float[P]."""
    kinds, label = as_kinds(params, PARAMETERS)
    return Meter(f"gradient_norm({label})", kinds, "gradient", lambda w, g: _norm(g))


def saliency(params: Params = "weights") -> Meter:
    """Sums of |w g| and of w g over the elements of each tensor, float[P, 2]."""
    kinds, label = as_kinds(params, PARAMETERS)
    return Meter(f"saliency({label})", kinds, "gradient", _saliency)


def nuclear_saliency(params: Params = ("attention_w",)) -> Meter:
    """Nuclear norm of each matrix times that of its gradient, float[P].

    Axes but the last count as one. Two decompositions for each tensor.
    """
    kinds, label = as_kinds(params, PARAMETERS)
    name = f"nuclear_saliency({label})"
    return Meter(name, kinds, "gradient", lambda w, g: _nuclear(w) * _nuclear(g))


def gradient_products(params: Params = "scales") -> Meter:
    """Inner products of each tensor's gradients over batches, float[P, M, M]."""
    kinds, label = as_kinds(params, PARAMETERS)
    return Meter(
        f"gradient_products({label})", kinds, "gradient", _flat,
        keep=False, over_batches=lambda gradients: gradients @ gradients.T,
    )  # fmt: skip


def gradient_agreement(params: Params = "weights") -> Meter:
    r"""Agreement of batches on signs of gradients, :math:`\sum_j |\sum_b \pm 1|`.

    Of each tensor, float[P]. The sign of 0 is 0.
    """
    kinds, label = as_kinds(params, PARAMETERS)
    return Meter(
        f"gradient_agreement({label})", kinds, "gradient",
        lambda w, g: jnp.sign(g).reshape(-1),
        add=True, over_batches=lambda signs: jnp.abs(signs).sum(),
    )  # fmt: skip


def gradient_stability(params: Params = "weights") -> Meter:
    r"""Mean magnitude over deviation, :math:`\sum_j \overline{|g_j|} / \sigma_j`.

    Of each tensor's gradient over batches, float[P]. The deviation has divisor n;
    elements where it is zero are left out.
    """
    kinds, label = as_kinds(params, PARAMETERS)
    return Meter(
        f"gradient_stability({label})",
        kinds,
        "gradient",
        _flat,
        over_batches=_stability,
    )


def gradient_snr(params: Params = "weights", *, accumulate: bool = False) -> Meter:
    r"""Signal over noise, :math:`\sum_j \bar g_j^2 / (\sigma_j^2 + \xi)`, float[P].

    Of each tensor's gradient over batches; the variance has divisor n,
    :math:`\xi = 10^{-8}`, and a tensor without variance counts 0.

    Args:
      params: see :data:`PARAMETERS`.
      accumulate: add gradients up from batch to batch.
    """
    kinds, label = as_kinds(params, PARAMETERS)

    def snr(gradients: Array) -> Array:
        return _snr(jnp.cumsum(gradients, 0) if accumulate else gradients)

    name = f"gradient_snr({label}{', accumulate' * accumulate})"
    return Meter(name, kinds, "gradient", _flat, over_batches=snr)


def first_gradient(params: Params = "all") -> Meter:
    """Gradient of the first element of each tensor, float[P]; for scores only."""
    kinds, label = as_kinds(params, PARAMETERS)
    name = f"first_gradient({label})"
    return Meter(name, kinds, "gradient", lambda w, g: g.reshape(-1)[0], keep=False)


def first_slopes(params: Params = "all") -> Meter:
    """Derivatives by the first element of each tensor, float[P, B]; for scores only.

    One for each image, where images do not depend on each other. Only networks that tap
    their slopes have them (see :meth:`~jaxproxy.measure.Tap.slope`).
    """
    kinds, label = as_kinds(params, PARAMETERS)
    name = f"first_slopes({label})"
    return Meter(name, kinds, "slope", lambda slopes: slopes, keep=False)


def weight_norm(params: Params = "weights") -> Meter:
    """Euclidean norm of each tensor, float[P]."""
    kinds, label = as_kinds(params, PARAMETERS)
    return Meter(f"weight_norm({label})", kinds, "weight", _norm)


def weight_size(params: Params = "weights") -> Meter:
    """Number of elements of each tensor, float[P]."""
    kinds, label = as_kinds(params, PARAMETERS)
    return Meter(f"weight_size({label})", kinds, "weight", _size, sized=True)


def _size(weight: Array, size: Array | None = None) -> Array:
    return jnp.asarray(weight.size if size is None else size, weight.dtype)


def _spread(weight: Array, grad: Array, size: Array | None = None) -> Array:
    del weight
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


def _flat(weight: Array, grad: Array) -> Array:
    return grad.reshape(-1)


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


def _saliency(weight: Array, grad: Array) -> Array:
    product = weight * grad
    return jnp.stack([jnp.abs(product).sum(), product.sum()])
