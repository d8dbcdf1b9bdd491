"""What networks are shown: batches of a setup, shared by all architectures."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.measure._setup import Setup
from jaxproxy.types import Batch, Fidelity

_PERTURBATION = 1e-2


def make_batch(key: Array, fidelity: Fidelity, num_classes: int) -> Batch:
    """Gaussian images and uniformly random labels."""
    shape = (fidelity.batch_size, fidelity.resolution, fidelity.resolution, 3)
    image_key, label_key = jax.random.split(key)
    # Flat: the same numbers, but a draw of four axes is slow to compile.
    x = jax.random.normal(image_key, (math.prod(shape),)).reshape(shape)
    return Batch(x, jax.random.randint(label_key, shape[:1], 0, num_classes))


def make_batches(
    key: Array,
    setup: Setup,
    fidelity: Fidelity,
    num_classes: int,
    images: Batch,
    draw: Callable[[Array, Fidelity], Batch] | None = None,
) -> Batch:
    """The batches of a setup, [M, B, ...].

    Args:
      key: of the noise; the first batch of noise depends on nothing else.
      setup: which batches.
      fidelity: their size and resolution; that of images is their own.
      num_classes: labels are below it.
      images: the user's, int32[N] labels included; float[0, ...] if there are none.
      draw: noise of a space whose inputs are not images or outputs not classes.

    Raises:
      ValueError: too few images, or noise that cannot be perturbed.
    """
    draw = draw or partial(make_batch, num_classes=num_classes)
    size = fidelity.batch_size if setup.batch_size is None else setup.batch_size
    if setup.inputs == "images":
        batches = _images(images, setup.batches, size)
    elif setup.inputs == "ones":
        like = jax.eval_shape(lambda k: draw(k, _sized(fidelity, 1)), key)
        batches = Batch(
            jnp.ones((1, *like.x.shape), like.x.dtype),
            jnp.zeros((1, *like.y.shape), like.y.dtype),
        )
    else:
        count = setup.batches if setup.inputs == "gaussian" else 2
        # A loop: XLA would compile a generator for every batch.
        more = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(1, count))
        keys = jnp.concatenate([key[None], more])
        batches = lax.map(lambda key: draw(key, _sized(fidelity, size)), keys)
        if setup.inputs == "perturbed":
            x, noise = batches.x
            if not jnp.issubdtype(x.dtype, jnp.floating):
                raise ValueError(f"inputs of {x.dtype} cannot be perturbed")
            batches = Batch(
                jnp.stack([x, x + _PERTURBATION * noise]), batches.y[jnp.array([0, 0])]
            )
    if setup.single:
        batches = jax.tree.map(lambda v: v.reshape(-1, 1, *v.shape[2:]), batches)
    if setup.loss == "logit":
        batches = _once_for_each_class(batches, num_classes)
    return batches


def _sized(fidelity: Fidelity, batch_size: int) -> Fidelity:
    return dataclasses.replace(fidelity, batch_size=batch_size)


def _images(images: Batch, count: int, size: int) -> Batch:
    if len(images.x) < count * size:
        raise ValueError(
            f"{count} batches of {size} images are needed, and {len(images.x)} were "
            "given; give an npz file of x and labels y by --images"
        )
    return jax.tree.map(
        lambda v: v[: count * size].reshape(count, size, *v.shape[1:]), images
    )


def _once_for_each_class(batches: Batch, num_classes: int) -> Batch:
    classes = jnp.arange(num_classes, dtype=jnp.int32)
    x = jnp.repeat(batches.x, num_classes, axis=0)
    y = jnp.tile(classes, len(batches.x))[:, None]
    return Batch(x, jnp.broadcast_to(y, x.shape[:2]))
