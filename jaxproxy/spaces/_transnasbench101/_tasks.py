"""The tasks of TransNAS-Bench-101: what is drawn, and what is lost."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from optax.losses import squared_error

from jaxproxy.measure import cross_entropy
from jaxproxy.spaces._records import Task
from jaxproxy.spaces._transnasbench101 import _codes as host
from jaxproxy.types import Batch, Fidelity


def make_task(task: str) -> Task:
    """Returns the outputs, noise and loss of a name in ``TASKS``."""
    return Task(
        num_outputs=host.TASKS[task],
        draw=None if task in _CLASSES else partial(_draw, task),
        loss=_LOSSES.get(task, cross_entropy),
        numbers=partial(_numbers, host.TILES if task == "jigsaw" else 1),
    )


def _numbers(tiles: int, fidelity: Fidelity) -> int:
    return 3 * tiles * fidelity.resolution**2


def _draw(task: str, key: Array, fidelity: Fidelity) -> Batch:
    """Gaussian images or tiles, and the targets of a task."""
    image_key, target_key = jax.random.split(key)
    outputs, size, side = host.TASKS[task], fidelity.batch_size, fidelity.resolution
    tiles = (host.TILES,) if task == "jigsaw" else ()
    shape = (size, *tiles, side, side, 3)
    # Flat: the same numbers, but a draw of four axes is slow to compile.
    x = jax.random.normal(image_key, (math.prod(shape),)).reshape(shape)
    if task == "jigsaw":
        y = jax.random.randint(target_key, (size,), 0, outputs)
    elif task == "segmentsemantic":
        y = jax.random.randint(target_key, (size * side**2,), 0, outputs)
        y = y.reshape(size, side, side)
    elif task == "room_layout":
        y = jax.random.normal(target_key, (size, outputs))
    elif task == "normal":
        y = jax.random.normal(target_key, (math.prod(shape),)).reshape(shape)
    else:
        y = x
    return Batch(x, y)


def _squared_error(outputs: Array, targets: Array) -> Array:
    _check_targets(targets, outputs.shape)
    return squared_error(outputs, targets).mean()


def _absolute_error(outputs: Array, targets: Array) -> Array:
    _check_targets(targets, outputs.shape)
    return jnp.abs(outputs - targets).mean()


def _pixel_cross_entropy(logits: Array, classes: Array) -> Array:
    _check_targets(classes, logits.shape[:-1])
    return cross_entropy(logits.reshape(-1, logits.shape[-1]), classes.reshape(-1))


def _check_targets(targets: Array, shape: tuple[int, ...]) -> None:
    if targets.shape != shape:
        raise ValueError(
            f"targets of this task are {list(shape)}, not {list(targets.shape)}"
        )


_CLASSES = ("class_object", "class_scene")
_LOSSES = {
    "room_layout": _squared_error,
    "autoencoder": _absolute_error,
    "normal": _absolute_error,
    "segmentsemantic": _pixel_cross_entropy,
}
"""Of the tasks that do not have the library's cross-entropy."""
