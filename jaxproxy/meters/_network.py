"""Meters of the network as a whole, which they differentiate themselves."""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.measure import Meter, Model, check_logits, collect
from jaxproxy.meters._gradient import PARAMETERS
from jaxproxy.meters._jacobian import image_kernel
from jaxproxy.ops import eigenvalues

_CONSTANTS = re.compile(r"(^|_)(scale|offset|norms?|bias(es)?)$")


def gradient_flow() -> Meter:
    """Change of the squared gradient norm by removing all weights, float[1].

    That is half its derivative along the weights, w^T H g with Hessian H and gradient
    g of the loss, over convolutions and matrices.

    References:
      Wang et al., "Picking winning tickets before training by preserving gradient
      flow", ICLR 2020, equation 8, arXiv:2002.07376.
    """
    return Meter(
        "gradient_flow", (), "network", _gradient_flow,
        cost="second order", plain=False,
    )  # fmt: skip


def tangent_kernel() -> Meter:
    """Eigenvalues of the tangent kernel, ascending, float[1, B].

    Of the Gram matrix of the images' gradients of the sum of their logits, for all
    parameters but biases; BatchNorm, in training mode, lets images depend on others.

    References:
      Chen et al., "TE-NAS", ICLR 2021, section 3.1, arXiv:2102.11535.
    """
    return Meter(
        "tangent_kernel", (), "network",
        lambda model: eigenvalues(image_kernel(model)),
        cost="per sample", plain=False,
    )  # fmt: skip


def classes() -> Meter:
    """Labels of the first batch, one-hot, float[1, B, K]; for scores only."""

    def measure(model: Model) -> Array:
        x, y = model.batch
        logits = jax.eval_shape(model.logits, model.params, x)
        check_logits(logits.shape, y)
        return jax.nn.one_hot(y, logits.shape[1], dtype=logits.dtype)

    return Meter(
        "classes", (), "network", measure, keep=False, cost="forward", plain=False
    )


def accuracies_of_draws(num: int = 100) -> Meter:
    """Accuracies on the first batch of networks with other weights, float[1, num].

    Args:
      num: how many draws.
    """

    def measure(model: Model) -> Array:
        keys = jax.random.split(model.key, num)
        return lax.map(lambda key: _accuracy(model, model.network.init(key)), keys)

    name = f"accuracies_of_draws({num})"
    return Meter(name, (), "network", measure, cost="repeated forward", plain=False)


def accuracies_of_constants(values: tuple[float, ...]) -> Meter:
    """Accuracies on the first batch with all weights of one value, float[1, V].

    Args:
      values: V values for convolutions and matrices; BatchNorm stays as it is.
    """

    def measure(model: Model) -> Array:
        def accuracy(value: Array) -> Array:
            def fill(name: str, leaf: Array) -> Array:
                return jnp.full_like(leaf, value) if is_weight(name) else leaf

            return _accuracy(model, _map_named(fill, model.params))

        return lax.map(accuracy, jnp.array(values, model.batch.x.dtype))

    label = ":".join(f"{value:g}" for value in values)
    name = f"accuracies_of_constants({label})"
    return Meter(name, (), "network", measure, cost="repeated forward", plain=False)


def _gradient_flow(model: Model) -> Array:
    def weights_only(name: str, leaf: Array) -> Array:
        return leaf if is_weight(name) else jnp.zeros_like(leaf)

    meter = Meter(
        "half_squared_gradient", (*PARAMETERS["weights"], "other_w"), "gradient",
        lambda _, gradient: jnp.square(gradient).sum() / 2,
    )  # fmt: skip
    return _derivative(model, meter, _map_named(weights_only, model.params)).sum()


def _derivative(model: Model, meter: Meter, direction: Any) -> Array:
    """Returns the derivative float[L, ...] of the readings of a meter of gradients.

    Forward mode: of the parameters along ``direction``, a tree like them.
    """

    def read(params: Any) -> Array:
        readings = collect(
            model.network, params, model.batch, model.code, [meter], loss=model.loss
        )
        return readings[meter]

    return jax.jvp(read, (model.params,), (direction,))[1]


def _accuracy(model: Model, params: Any) -> Array:
    x, y = model.batch
    logits = model.logits(params, x)
    check_logits(logits.shape, y)
    # Networks of equal weights have equal logits: rounding must not choose among them.
    slack = 1e3 * jnp.finfo(logits.dtype).eps * jnp.abs(logits).max(1, keepdims=True)
    first = (logits >= logits.max(1, keepdims=True) - slack).argmax(1)
    hits = first.astype(y.dtype) == y
    return hits.mean(dtype=x.dtype)


def is_weight(name: str) -> bool:
    """Whether a parameter of this last name is drawn, of a convolution or matrix."""
    return not _CONSTANTS.search(name)


def _map_named(function: Callable[[str, Array], Array], params: Any) -> Any:
    """Applies (last name, leaf) -> leaf to a tree of parameters."""

    def apply(path: tuple[Any, ...], leaf: Array) -> Array:
        names = [str(getattr(key, "key", getattr(key, "idx", ""))) for key in path]
        return function(names[-1], leaf)

    return jax.tree_util.tree_map_with_path(apply, params)
