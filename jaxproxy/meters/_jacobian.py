"""Derivatives of logits by parameters, image by image."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.measure import (
    LOSSES,
    MeterSet,
    Model,
    Recorder,
    Tap,
    check_logits,
    collect,
    collect_pulled,
)
from jaxproxy.meters._gradient import (
    PARAMETERS,
    first_gradient,
    first_slopes,
    gradient_products,
    weight_size,
)
from jaxproxy.types import Batch


class Jacobian(NamedTuple):
    """Of the logits of B images and K classes by the first elements of P tensors."""

    logits: Array
    """float[B, K]"""
    values: Array
    """float[B, K, P], tensors in the network's order."""
    present: Array
    """bool[P], which of the tensors the architecture has."""


def logit_jacobian(model: Model) -> Jacobian:
    """Returns that of the first batch, whose images must not depend on each other.

    One forward pass, and one backward pass for each class, to the outputs of layers
    only, if the network taps the slopes of all its parameters; else one of both for
    every image and class.

    Raises:
      ValueError: the outputs are no logits.
    """
    return _by_class(model) if _taps_slopes(model) else _one_by_one(model)


def image_kernel(model: Model) -> Array:
    """Returns the Gram matrix float[B, B] of images' gradients of summed logits.

    Of all parameters but biases of known layers. One forward pass, and a backward pass
    for each image.

    Raises:
      ValueError: the outputs are no logits.
    """
    meter = gradient_products((*PARAMETERS["scales"], "other_w", "other_b"))

    def images(logits: Array) -> Array:
        one_hot = jnp.eye(len(logits), dtype=logits.dtype)
        return jnp.broadcast_to(one_hot[..., None], (len(one_hot), *logits.shape))

    _, readings = collect_pulled(
        model.network, model.params, model.batch.x, model.code, [meter], images
    )
    return readings[meter].sum(0)


def _taps_slopes(model: Model) -> bool:
    """Returns whether there are slopes of every parameter."""
    slopes, sizes = first_slopes(), weight_size("all")
    recorders: list[Recorder] = []

    def trace() -> None:
        recorders.append(Recorder(MeterSet.of([slopes, sizes]), planning=True))
        tap = Tap(recorders[-1])
        model.network.apply(model.params, model.batch.x, model.code, tap)

    jax.eval_shape(trace)
    (recorder,) = recorders
    named = {slot.name for rows in recorder.forward for slot in rows.slots}
    return named == {
        slot.name
        for kinds in recorder.sinks.values()
        for rows in kinds.values()
        if slopes.name in rows.values
        for slot in rows.slots
    }


def _by_class(model: Model) -> Jacobian:
    meter = first_slopes()

    def classes(logits: Array) -> Array:
        one_hot = jnp.eye(logits.shape[1], dtype=logits.dtype)
        return jnp.broadcast_to(one_hot[:, None], (len(one_hot), *logits.shape))

    logits, readings = collect_pulled(
        model.network, model.params, model.batch.x, model.code, [meter], classes
    )
    return Jacobian(logits, readings[meter].transpose(2, 1, 0), readings.present(meter))


def _one_by_one(model: Model) -> Jacobian:
    meter = first_gradient()
    x = model.batch.x
    logits = model.logits(model.params, x)
    check_logits(logits.shape)
    num_images, num_classes = logits.shape

    def differentiate(pair: tuple[Array, Array]) -> tuple[Array, Array]:
        batch = Batch(*(array[None] for array in pair))
        readings = collect(
            model.network,
            model.params,
            batch,
            model.code,
            [meter],
            loss=LOSSES["logit"],
        )
        return readings[meter], readings.present(meter)

    classes = jnp.tile(jnp.arange(num_classes), num_images)
    pairs = jnp.repeat(x, num_classes, axis=0), classes
    values, present = lax.map(differentiate, pairs)
    return Jacobian(logits, values.reshape(num_images, num_classes, -1), present[0])
