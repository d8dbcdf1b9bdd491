"""What depends on the kind of device that a program is for, and on its lanes.

Lanes are architectures side by side: ``jax.vmap`` over codes, with :data:`LANES` as the
name of its axis. By that name an operation knows of them while it is traced, however
deep inside of scans and switches, and JAX keeps traces with and without them apart.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import lax

LANES = "lanes"
"""Name of the axis of architectures side by side."""


def in_lanes() -> bool:
    """Returns whether architectures are side by side where this is traced."""
    try:
        lax.axis_size(LANES)
    except NameError:  # no such axis
        return False
    return True


def platform() -> str | None:
    """Returns what the program is for, such as ``"cpu"``; None where none is known.

    Devices are known inside of ``jax.shard_map``.
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    return None if device is None else device.platform


def by_platform(
    *operands: Any, cpu: Callable[..., Any], default: Callable[..., Any]
) -> Any:
    """``lax.platform_dependent``, which traces one branch where devices are known.

    Elsewhere both branches are traced, and the choice is made when the program is
    lowered. Architectures side by side take the default: forms for a CPU are those of
    one at a time.
    """
    if in_lanes():
        return default(*operands)
    name = platform()
    if name is None:
        return lax.platform_dependent(*operands, cpu=cpu, default=default)
    return (cpu if name == "cpu" else default)(*operands)
