"""Meter of the structure: whether an activation matters at all."""

import jax.numpy as jnp

from jaxproxy.meters._activation import Activation
from jaxproxy.meters._covariance import ACTIVATIONS
from jaxproxy.meters._meter import Meter, as_kinds
from jaxproxy.types import Array

__all__ = ["influence"]


def influence(layers: str | tuple[str, ...] = "conv") -> Meter:
    """1 where the output can depend on an activation and it on the input, float[L].

    Networks whose architecture is data have layers that lead nowhere or read nothing;
    what is measured there says nothing about the function that is trained. All other
    networks are taken to use every layer.

    Args:
      layers: name in :data:`ACTIVATIONS`, or tap kinds.

    Raises:
      ValueError: unknown layers.
    """
    kinds, label = as_kinds(layers, ACTIVATIONS)
    return Meter(f"influence({label})", kinds, "forward", _used)


def _used(activation: Activation) -> Array:
    return jnp.where(activation.used, jnp.float32(1), jnp.float32(0))
