"""Meters of the gradients of parameter tensors."""

import jax.numpy as jnp

from jaxproxy.meters._meter import Meter, as_kinds
from jaxproxy.types import Array

__all__ = ["PARAMETERS", "gradient"]

PARAMETERS: dict[str, tuple[str, ...]] = {
    "all": ("conv_w", "conv_b", "bn_w", "bn_b", "linear_w", "linear_b"),
    "weights": ("conv_w", "linear_w"),
    "conv": ("conv_w",),
    "scales": ("conv_w", "bn_w", "linear_w"),
}
"""Groups of parameter tensors by name: ``scales`` are weights and BatchNorm scales."""


def gradient(params: str | tuple[str, ...] = "weights") -> Meter:
    """Spread and largest magnitude of each tensor's gradient, float[P, 2].

    The standard deviation has divisor n - 1 and is 0 for a tensor of one element.

    Args:
      params: name in :data:`PARAMETERS`, or tensor kinds.

    Raises:
      ValueError: unknown params.
    """
    kinds, label = as_kinds(params, PARAMETERS)
    return Meter(f"gradient({label})", kinds, "gradient", _spread)


def _spread(weight: Array, grad: Array) -> Array:
    del weight
    centred = jnp.square(grad - grad.mean())
    std = jnp.sqrt(centred.sum() / max(grad.size - 1, 1))
    return jnp.stack([std, jnp.abs(grad).max()])
