"""Architectures side by side: groups of lanes by ``vmap``, and how many fit.

On a CPU an architecture at a time is best: a ``switch`` runs one branch, and what it
needs stays in the cache. On an accelerator that would be a thousand tiny kernels for
each. There, the lanes of a group are scored by the same instructions, all branches run,
and since lanes share weights, inputs and labels, most convolutions stay ordinary ones
of more images.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypedDict

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.ops import LANES

MEMORY_SHARE = 0.8
"""Of a device's memory, the most that ``lanes="auto"`` fills."""


class Execution(TypedDict, total=False):
    """How scores are computed, never what they are."""

    devices: int | Sequence[jax.Device] | None
    """How many local devices, or which; all of them by default."""
    block_size: int | None
    """Codes per compiled call, rounded up to a multiple of the devices and lanes."""
    lanes: int | Literal["auto"]
    """Architectures side by side on a device, 1 by default; "auto" is 1 on CPU."""
    memory: int | None
    """Bytes that "auto" may count on for a device, if it does not say so itself."""


class Lanes(NamedTuple):
    """How many architectures are side by side, or how to find out."""

    number: int | None
    """None for as many as fit."""
    memory: int = 0
    """Bytes that they may fill, if it is to be found out."""

    @property
    def said(self) -> int | str:
        """What was asked for."""
        return "auto" if self.number is None else self.number


def make_lanes(
    lanes: int | str, memory: int | None, devices: Sequence[jax.Device]
) -> Lanes:
    """Returns how many architectures are side by side on each of the devices.

    Raises:
      ValueError: lanes that are no number from 1 on and not ``"auto"``, or a device
        whose memory nobody knows.
    """
    if memory is not None and (type(memory) is not int or memory < 1):
        raise ValueError(f"memory is a number of bytes, at least 1, not {memory!r}")
    if lanes != "auto":
        if type(lanes) is not int or lanes < 1:
            raise ValueError(f"lanes must be an int from 1 on or 'auto', not {lanes!r}")
        return Lanes(lanes)
    if all(device.platform == "cpu" for device in devices):
        return Lanes(1)
    bytes_limit = memory or min(map(_bytes_limit, devices))
    if not bytes_limit:
        raise ValueError(
            f"lanes='auto' needs to know the memory of {devices[0]}, which does not "
            "say; give memory, in bytes, or a number of lanes"
        )
    return Lanes(None, int(MEMORY_SHARE * bytes_limit))


def _bytes_limit(device: jax.Device) -> int:
    """Memory of a device; 0 if it does not say."""
    try:
        stats = device.memory_stats()
    except jax.errors.JaxRuntimeError:  # a device that is compiled for and not there
        stats = None
    return (stats or {}).get("bytes_limit", 0)


def over_lanes(score: Callable[[Array], Any], codes: Array, lanes: int) -> Any:
    """Returns ``score(code)`` of all codes int32[n, G], so many of them at a time.

    The last group is filled up with its last code, whose results are dropped: 10 codes
    by 4 lanes are ``[3, 4, G]``, and of 12 results the first 10 are returned.
    """
    num = len(codes)
    fill = jnp.repeat(codes[-1:], -num % lanes, axis=0)
    groups = jnp.concatenate([codes, fill]).reshape(-1, lanes, codes.shape[1])
    together = jax.vmap(score, axis_name=LANES)
    _, results = lax.scan(lambda carry, group: (carry, together(group)), None, groups)
    return jax.tree.map(lambda v: v.reshape(-1, *v.shape[2:])[:num], results)


def largest_that_fits(
    compile_lanes: Callable[[int], jax.stages.Compiled], most: int, memory: int
) -> tuple[int, jax.stages.Compiled]:
    """Returns the largest power of two of lanes that fits, with its program.

    Args:
      compile_lanes: lanes -> program.
      most: lanes that fill a block on a device.
      memory: bytes that a program may need on a device.

    Raises:
      ValueError: not even one fits.
    """
    lanes = 1 << (most.bit_length() - 1)
    while True:
        compiled = compile_lanes(lanes)
        size = num_bytes(compiled)
        if size <= memory:
            return lanes, compiled
        if lanes == 1:
            raise ValueError(
                f"one architecture needs {size} bytes of a device, and {memory} may be "
                "used; take a smaller fidelity or fewer proxies at once"
            )
        # A part of the bytes is there at any number of lanes, so that fewer never fit
        # where this many in proportion do not: none that fits is passed over.
        fits = max(1, lanes * memory // size)
        lanes = min(lanes // 2, 1 << (fits.bit_length() - 1))


def num_bytes(compiled: jax.stages.Compiled) -> int:
    """Returns the bytes of a device that a program needs as it runs."""
    stats: Any = compiled.memory_analysis()
    parts = ("argument", "output", "temp", "generated_code")
    size = sum(getattr(stats, f"{part}_size_in_bytes") for part in parts)
    return size - stats.alias_size_in_bytes
