"""Devices that the architectures of a block are shared out to."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np


class Devices(NamedTuple):
    """Devices that a block of architectures is sharded over."""

    mesh: jax.sharding.Mesh

    @classmethod
    def of(cls, devices: Sequence[jax.Device]) -> "Devices":
        """Returns these devices in one row, a slice of the architectures on each."""
        return cls(jax.sharding.Mesh(np.array(devices), ("arch",)))

    @property
    def num(self) -> int:
        """How many devices."""
        return self.mesh.size

    @property
    def shared(self) -> jax.NamedSharding:
        """The same on each device."""
        return jax.NamedSharding(self.mesh, jax.P())

    @property
    def by_arch(self) -> jax.NamedSharding:
        """A slice of the first axis on each device."""
        return jax.NamedSharding(self.mesh, jax.P("arch"))

    def over_archs(self, mapped: Callable[..., Any]) -> jax.stages.Wrapped:
        """Compiles ``mapped(shared, codes, scratch)``, sharded over devices.

        The scratch is donated; it is None for a program without any.
        """
        over = jax.P("arch")
        return jax.jit(
            jax.shard_map(
                mapped,
                mesh=self.mesh,
                in_specs=(jax.P(), over, over),
                out_specs=over,
                # True would sum the gradients of constants over devices.
                check_vma=False,
            ),
            out_shardings=self.by_arch,
            donate_argnums=2,
        )
