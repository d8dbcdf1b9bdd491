"""Derivatives of logits by parameters, image by image."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxproxy.collect import collect, collect_pulled
from jaxproxy.meters import (
    PARAMETERS,
    Probe,
    first_gradient,
    first_slopes,
    gradient_products,
    weight_size,
)
from jaxproxy.network import Network
from jaxproxy.setups import LOSSES, check_logits
from jaxproxy.taps import Tap
from jaxproxy.types import Array, Batch

__all__ = ["Jacobian", "logit_jacobian", "tangent_kernel"]


class Jacobian(NamedTuple):
    """Of the logits of B images and K classes by the first elements of P tensors."""

    logits: Array
    """float[B, K]"""
    values: Array
    """float[B, K, P], tensors in the network's order."""
    present: Array
    """bool[P], which of the tensors the architecture has."""


def logit_jacobian(
    network: Network, params: Any, x: Array, code: Array | None
) -> Jacobian:
    """Of images that do not depend on each other: BatchNorm uses no batch.

    One forward pass, and one backward pass for each class, to the outputs of layers
    only, if the network taps the slopes of all its parameters; else one of both for
    every image and class.

    Raises:
      ValueError: the outputs are no logits.
    """
    given = network, params, x, code
    return _by_class(*given) if _taps_slopes(*given) else _one_by_one(*given)


def tangent_kernel(
    network: Network, params: Any, x: Array, code: Array | None
) -> Array:
    """Gram matrix float[B, B] of the images' gradients of the sum of their logits.

    Of all parameters but biases. One forward pass, and a backward pass for each image.

    Raises:
      ValueError: the outputs are no logits.
    """
    meter = gradient_products((*PARAMETERS["scales"], "other_w"))

    def images(logits: Array) -> Array:
        one_hot = jnp.eye(len(logits), dtype=logits.dtype)
        return jnp.broadcast_to(one_hot[..., None], (len(one_hot), *logits.shape))

    given = network, params, x, code, [meter], images
    return collect_pulled(*given)[1][meter].sum(0)


def _taps_slopes(network: Network, params: Any, x: Array, code: Array | None) -> bool:
    """Whether there are slopes of every parameter."""
    slopes, sizes = first_slopes(), weight_size("all")
    found: list[Tap] = []

    def trace() -> None:
        tap = Tap(Probe.of([slopes, sizes]), planning=True)
        network.apply(params, x, code, tap)
        found.append(tap)

    jax.eval_shape(trace)
    (tap,) = found
    named = {slot.name for rows in tap.forward for slot in rows.slots}
    return named == {
        slot.name
        for kinds in tap.sinks.values()
        for rows in kinds.values()
        if slopes.name in rows.values
        for slot in rows.slots
    }


def _by_class(network: Network, params: Any, x: Array, code: Array | None) -> Jacobian:
    meter = first_slopes()

    def classes(logits: Array) -> Array:
        one_hot = jnp.eye(logits.shape[1], dtype=logits.dtype)
        return jnp.broadcast_to(one_hot[:, None], (len(one_hot), *logits.shape))

    given = network, params, x, code, [meter], classes
    logits, readings = collect_pulled(*given)
    return Jacobian(logits, readings[meter].transpose(2, 1, 0), readings.present(meter))


def _one_by_one(
    network: Network, params: Any, x: Array, code: Array | None
) -> Jacobian:
    meter = first_gradient()
    logits = network.apply(params, x, code, Tap(Probe(())))
    check_logits(logits.shape)
    num_images, num_classes = logits.shape

    def of(pair: tuple[Array, Array]) -> tuple[Array, Array]:
        batch = Batch(*(array[None] for array in pair))
        readings = collect(network, params, batch, code, [meter], loss=LOSSES["logit"])
        return readings[meter], readings.present(meter)

    classes = jnp.tile(jnp.arange(num_classes), num_images)
    values, present = lax.map(of, (jnp.repeat(x, num_classes, axis=0), classes))
    return Jacobian(logits, values.reshape(num_images, num_classes, -1), present[0])
