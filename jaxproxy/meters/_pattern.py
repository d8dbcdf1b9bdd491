"""Meters of which units are active for which images."""

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

_MAX_IMAGES = 16


@meter
def activation_kernel(layers: Layers = "relu") -> ActivationMeter:
    """Units on which two images agree to be active or not, float[L, B, B].

    For scores only: a number for every pair of images.

    Args:
      layers: name in :data:`ACTIVATIONS`, or tap kinds, of rectified activations.

    References:
      Mellor et al., "Neural architecture search without training", ICML 2021,
      equation 1, arXiv:2006.04647.
    """
    return ActivationMeter(
        kinds_of(layers, ACTIVATIONS), _agreements, keep=False, compares=True
    )


@meter
def activation_patterns(layers: Layers = "relu") -> ActivationMeter:
    """Which patterns over the images occur among a layer's units, bool[L, 2**B].

    For scores only. Bit n of a unit's pattern says whether image n activates it.

    Args:
      layers: name in :data:`ACTIVATIONS`, or tap kinds, of rectified activations.

    Raises:
      ValueError: while tracing, more than 16 images.

    References:
      Peng et al., "SWAP-NAS", ICLR 2024, arXiv:2403.04161.
    """
    return ActivationMeter(
        kinds_of(layers, ACTIVATIONS), _patterns, keep=False, compares=True
    )


@meter
def pattern_hashes(layers: Layers = "relu") -> ActivationMeter:
    """Hashes of which units each image activates, uint32[L, B, 2]; for scores only.

    Images of one pattern have equal hashes. Where :func:`activation_kernel` has a
    number for each pair of images, this has two for each image.

    Args:
      layers: name in :data:`ACTIVATIONS`, or tap kinds, of rectified activations.
    """
    return ActivationMeter(
        kinds_of(layers, ACTIVATIONS), _hashes, keep=False, compares=True
    )


def _hashes(activation: Activation) -> Array:
    active = (activation.value > 0).reshape(activation.shape[0], -1)
    terms = jnp.where(active[:, :, None], _hash_numbers(active.shape[1])[None], 0)
    return terms.sum(1, dtype=jnp.uint32)


def _hash_numbers(num: int) -> Array:
    """Returns odd numbers that look random, uint32[num, 2], the same ones always."""
    # The finalizer of MurmurHash3.
    h = jnp.arange(1, 2 * num + 1, dtype=jnp.uint32).reshape(num, 2)
    for multiplier, shift in ((0x9E3779B1, 16), (0x85EBCA6B, 13), (0xC2B2AE35, 16)):
        h = h * jnp.uint32(multiplier)
        h = h ^ (h >> jnp.uint32(shift))
    return h | jnp.uint32(1)


def _agreements(activation: Activation) -> Array:
    active = (activation.value > 0).reshape(activation.shape[0], -1)
    signs = jnp.where(active, 1.0, -1.0).astype(activation.value.dtype)
    # Agreements less disagreements, of which there are D in all; exact below 2**24.
    difference = lax.dot_general(signs, signs, (((1,), (1,)), ((), ())))
    agreements = (difference + active.shape[1]) / 2
    if activation.live is None:
        return agreements
    pixels = active.shape[1] // activation.channels
    missing = pixels * (activation.channels - activation.live)
    return agreements - missing.astype(agreements.dtype)


def _patterns(activation: Activation) -> Array:
    images = activation.shape[0]
    if images > _MAX_IMAGES:
        raise ValueError(
            f"activation patterns are of at most {_MAX_IMAGES} images, not {images}"
        )
    active = (activation.value > 0).reshape(images, -1)
    bits = active.astype(jnp.int32) << jnp.arange(images, dtype=jnp.int32)[:, None]
    patterns = bits.sum(0)
    if activation.live is not None:
        # Indices that are out of range are dropped.
        alive = jnp.tile(activation.exists, active.shape[1] // activation.channels)
        patterns = jnp.where(alive, patterns, 2**images)
    return jnp.zeros(2**images, bool).at[patterns].set(True, mode="drop")
