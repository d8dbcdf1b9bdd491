"""Devices that the architectures of a block are shared out to."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxproxy.types import PRECISIONS

# On TPU, JAX's "tensorfloat32" is three passes of bfloat16, with more digits than a
# GPU's: a run could not be continued on the other. A GPU's default is tensorfloat32.
_PRECISIONS = {
    "cpu": ("float32",),
    "gpu": ("float32", "tensorfloat32"),
    "tpu": ("float32", "bfloat16"),
}


def check_precision(precision: str, devices: Sequence[jax.Device]) -> None:
    """Raises ValueError for a precision that some device does not compute in.

    What a device of an unknown kind computes in is left to JAX.
    """
    for device in devices:
        choices = _PRECISIONS.get(device.platform, PRECISIONS)
        if precision not in choices:
            raise ValueError(
                f"{device} has no products of precision {precision!r}; choose from "
                f"{[*choices]}"
            )


class Devices(NamedTuple):
    """Devices that a block of architectures is sharded over."""

    mesh: jax.sharding.Mesh

    @classmethod
    def of(cls, devices: Sequence[jax.Device]) -> "Devices":
        """Returns these devices in one row, a slice of the architectures on each."""
        return cls(jax.sharding.Mesh(np.array(devices), ("arch",)))

    @property
    def all(self) -> list[jax.Device]:
        """The devices, in their order."""
        return list(self.mesh.devices.flat)

    def of_host(self) -> "Devices":
        """Returns these devices if they are CPUs, else one CPU of the host beside them.

        Raises:
          ValueError: JAX was told not to use the CPU.
        """
        if all(device.platform == "cpu" for device in self.all):
            return self
        try:
            return Devices.of(jax.local_devices(backend="cpu")[:1])
        except RuntimeError as error:
            raise ValueError(
                "networks of equal weights (epsinas) run on the host's CPU, which JAX "
                f"was told not to use; add it, as in JAX_PLATFORMS=tpu,cpu ({error})"
            ) from error

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
