"""TransNAS-Bench-101's micro space put together: encoding, network, counts, tasks."""

from functools import partial

import jax
import jax.numpy as jnp

from jaxproxy.setups import check_choices
from jaxproxy.spaces import _transnasbench101 as host
from jaxproxy.spaces._space import Space
from jaxproxy.spaces._transnasbench101_net import network
from jaxproxy.types import Array, Batch, Fidelity

__all__ = ["transnasbench101_micro"]

_PRESETS = {
    "paper": Fidelity(width=64, cells=2, batch_size=64, resolution=64),
    "fast": Fidelity(width=8, cells=1, batch_size=8, resolution=32),
}


def transnasbench101_micro(*, task: str = "class_object") -> Space:
    """TransNAS-Bench-101's micro space: six operations, 4,096 cells.

    Parameters and multiply-adds are those of the trained network, on images of 256
    pixels. Classes are learnt by cross-entropy with random classes, where the benchmark
    has soft labels; a room layout by the mean squared error of random targets.

    Args:
      task: name in ``TASKS``: ``class_object``, ``class_scene`` or ``room_layout``.

    References:
      Duan et al., "TransNAS-Bench-101", CVPR 2021, arXiv:2105.11871.
    """
    check_choices(task=(task, host.TASKS))
    outputs = host.TASKS[task]
    regression = task == "room_layout"
    return Space(
        name="transnasbench101_micro",
        choices=(len(host.OPS),) * host.NUM_GENES,
        num_classes=outputs,
        to_str=host.to_str,
        from_str=host.from_str,
        enumerate=host.enumerate_codes,
        num_params=partial(host.num_params, outputs=outputs),
        num_macs=partial(host.num_macs, outputs=outputs),
        num_tensors=host.num_tensors,
        network=partial(network, outputs=outputs),
        cost=host.cost,
        reachable=host.reachable,
        settings={"task": task},
        presets=_PRESETS,
        draw=partial(_draw, outputs) if regression else None,
        loss=_squared_error if regression else None,
        graph=host.graph,
    )


def _draw(outputs: int, key: Array, fidelity: Fidelity) -> Batch:
    """Gaussian images and targets float[B, K]."""
    image_key, target_key = jax.random.split(key)
    size, side = fidelity.batch_size, fidelity.resolution
    x = jax.random.normal(image_key, (size * side * side * 3,))
    y = jax.random.normal(target_key, (size, outputs))
    return Batch(x.reshape(size, side, side, 3), y)


def _squared_error(outputs: Array, targets: Array) -> Array:
    return jnp.square(outputs - targets).mean()
