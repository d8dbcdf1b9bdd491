"""What depends on the kind of device that a program is for."""

from collections.abc import Callable
from typing import Any

import jax
from jax import lax


def by_platform(
    *operands: Any, cpu: Callable[..., Any], default: Callable[..., Any]
) -> Any:
    """``lax.platform_dependent``, which traces one branch where devices are known.

    They are inside of ``jax.shard_map``; elsewhere both branches are traced, and the
    choice is made when the program is lowered.
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    if device is None:
        return lax.platform_dependent(*operands, cpu=cpu, default=default)
    return (cpu if device.platform == "cpu" else default)(*operands)
