"""Meters of the network as a whole, which they differentiate themselves."""

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.measure import (
    PARAMETERS,
    Meter,
    Model,
    NetworkMeter,
    Parameter,
    ParameterMeter,
    check_logits,
    collect,
    meter,
)
from jaxproxy.meters._jacobian import image_kernel
from jaxproxy.ops import eigenvalues

_WEIGHTS = (*PARAMETERS["weights"], "other_w")
"""Kinds of tensors that are weights, and no scales, shifts or biases."""


@meter
def gradient_flow() -> NetworkMeter:
    """Change of the squared gradient norm by removing all weights, float[1].

    That is half its derivative along the weights, w^T H g with Hessian H and gradient
    g of the loss, over convolutions and matrices.

    References:
      Wang et al., "Picking winning tickets before training by preserving gradient
      flow", ICLR 2020, equation 8, arXiv:2002.07376.
    """
    return NetworkMeter(_gradient_flow, cost="second order", classes=True, plain=False)


@meter
def tangent_kernel() -> NetworkMeter:
    """Eigenvalues of the tangent kernel, ascending, float[1, B].

    Of the Gram matrix of the images' gradients of the sum of their logits, for all
    parameters but biases; BatchNorm, in training mode, lets images depend on others.

    References:
      Chen et al., "TE-NAS", ICLR 2021, section 3.1, arXiv:2102.11535.
    """
    return NetworkMeter(
        lambda model: eigenvalues(image_kernel(model)),
        cost="per sample",
        compares=True,
        plain=False,
    )


@meter
def classes() -> NetworkMeter:
    """Labels of the first batch, one-hot, float[1, B, K]; for scores only."""

    def measure(model: Model) -> Array:
        x, y = model.batch
        logits = jax.eval_shape(model.logits, model.params, x)
        check_logits(logits.shape, y)
        return jax.nn.one_hot(y, logits.shape[1], dtype=logits.dtype)

    return NetworkMeter(measure, keep=False, cost="forward", classes=True, plain=False)


@meter
def accuracies_of_draws(num: int = 100) -> NetworkMeter:
    """Accuracies on the first batch of networks with other weights, float[1, num].

    Args:
      num: how many draws.
    """

    def measure(model: Model) -> Array:
        keys = jax.random.split(model.key, num)

        def accuracy(key: Array) -> Array:
            return _accuracy(model._replace(params=model.network.init(key)))

        return lax.map(accuracy, keys)

    return NetworkMeter(measure, cost="repeated forward", classes=True, plain=False)


@meter
def accuracies_of_constants(values: tuple[float, ...]) -> NetworkMeter:
    """Accuracies on the first batch with all weights of one value, float[1, V].

    Args:
      values: V values for convolutions and matrices; BatchNorm stays as it is.
    """

    def measure(model: Model) -> Array:
        def accuracy(value: Array) -> Array:
            def fill(kind: str, weight: Array, size: Array | None) -> Array:
                # Of a tensor as wide as the widest, what does not exist stays zero.
                exists = True if size is None else weight != 0
                return jnp.where(exists, jnp.full_like(weight, value), 0)

            filled = model.network.replacing(_WEIGHTS, fill)
            return _accuracy(model._replace(network=filled))

        return lax.map(accuracy, jnp.array(values, float))

    return NetworkMeter(measure, cost="repeated forward", classes=True, plain=False)


def _gradient_flow(model: Model) -> Array:
    half_square = ParameterMeter(
        _WEIGHTS, _half_square, reads="gradient", name="half_squared_gradient"
    )
    return _derivative_along_weights(model, half_square).sum()


def _half_square(parameter: Parameter) -> Array:
    assert parameter.gradient is not None  # asked for above
    return jnp.square(parameter.gradient).sum() / 2


def _derivative_along_weights(model: Model, of: Meter) -> Array:
    """Returns the derivative float[L, ...] of the readings of a meter of gradients.

    Forward mode: as all weights grow by the same factor, by its logarithm. They grow
    where they pass their taps, since a network may have scaled what it has drawn.
    """

    def read(growth: Array) -> Array:
        def grow(kind: str, tensor: Array, size: Array | None) -> Array:
            grown = tensor * (1 + growth).astype(tensor.dtype)
            # Without a derivative of zeros for the others, XLA rounds sums otherwise.
            return jnp.where(kind in _WEIGHTS, grown, tensor)

        network = model.network.replacing(PARAMETERS["all"], grow)
        readings = collect(
            network, model.params, model.batch, model.code, [of], loss=model.loss
        )
        return readings[of]

    zero = jnp.zeros(())
    return jax.jvp(read, (zero,), (jnp.ones_like(zero),))[1]


def _accuracy(model: Model) -> Array:
    x, y = model.batch
    logits = model.logits(model.params, x)
    check_logits(logits.shape, y)
    # Networks of equal weights have equal logits: rounding must not choose among them.
    slack = 1e3 * jnp.finfo(logits.dtype).eps * jnp.abs(logits).max(1, keepdims=True)
    first = (logits >= logits.max(1, keepdims=True) - slack).argmax(1)
    hits = first.astype(y.dtype) == y
    return hits.mean(dtype=x.dtype)
