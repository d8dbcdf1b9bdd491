"""TransNAS-Bench-101's micro space put together: encoding, network, counts, tasks."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from jaxproxy.measure import cross_entropy
from jaxproxy.options import check_choices
from jaxproxy.spaces._space import Space
from jaxproxy.spaces._transnasbench101 import _codes as host
from jaxproxy.spaces._transnasbench101._network import network
from jaxproxy.types import Batch, Fidelity

__all__ = ["transnasbench101_micro"]

_PRESETS = {
    "paper": Fidelity(width=64, cells=2, batch_size=64, resolution=64),
    "fast": Fidelity(width=8, cells=1, batch_size=8, resolution=32),
}


def transnasbench101_micro(*, task: str = "class_object") -> Space:
    """TransNAS-Bench-101's micro space: six operations, 4,096 cells.

    Parameters and multiply-adds are those of the trained network, on images of 256
    pixels or nine tiles of 64. Noise and losses are those of the task:

    * ``class_object``, ``class_scene``: cross-entropy with random classes, where the
      benchmark has soft labels.
    * ``jigsaw``: tiles float[B, 9, R, R, 3], the resolution being a tile's, and
      cross-entropy with random permutations. Meters take a tile for an image.
    * ``room_layout``: mean squared error of random targets float[B, 9].
    * ``autoencoder``, ``normal``: mean absolute error of the image itself and of random
      targets float[B, R, R, 3]. The benchmark adds a hundredth of an adversarial loss;
      InTrain has the mean squared error.
    * ``segmentsemantic``: cross-entropy of all pixels with random classes int32[B, R,
      R]; InTrain has the mean squared error.

    Args:
      task: name in ``TASKS``.

    References:
      Duan et al., "TransNAS-Bench-101", CVPR 2021, arXiv:2105.11871.
    """
    check_choices(task=(task, host.TASKS))
    return Space(
        name="transnasbench101_micro",
        choices=(len(host.OPS),) * host.NUM_GENES,
        num_classes=host.TASKS[task],
        to_str=host.to_str,
        from_str=host.from_str,
        enumerate=host.enumerate_codes,
        num_params=partial(host.num_params, task=task),
        num_macs=partial(host.num_macs, task=task),
        num_tensors=partial(host.num_tensors, task=task),
        network=partial(network, task=task),
        cost=partial(host.cost, task=task),
        reachable=host.reachable,
        settings={"task": task},
        presets=_PRESETS,
        draw=None if task in _CLASSES else partial(_draw, task),
        loss=_LOSSES.get(task),
        graph=host.graph,
    )


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
    return jnp.square(outputs - targets).mean()


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
