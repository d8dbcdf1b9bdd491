"""What fits this machine: sizes are refused before anything of them is made."""

import os
from contextlib import suppress
from functools import cache
from pathlib import Path

__all__ = ["LARGEST_ARRAY", "check_memory", "check_seed", "in_bytes", "memory"]

LARGEST_ARRAY = 2**31 - 1
"""Numbers of one array: XLA and JAX count them in an int32."""

_CGROUPS = ("memory.max", "memory/memory.limit_in_bytes")


@cache
def memory() -> int:
    """Returns how many bytes of memory this process may have.

    That is what the machine has, or its container's limit if that is less; 2**63 where
    the system does not say.
    """
    most = 2**63
    with suppress(ValueError, OSError, AttributeError):
        most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in _CGROUPS:
        with suppress(ValueError, OSError):  # "max" is no number
            most = min(most, int(Path("/sys/fs/cgroup", name).read_text()))
    return most


def in_bytes(size: float) -> str:
    """Returns a size as people read it: ``"23.4 GB"``."""
    for unit in ("bytes", "kB", "MB", "GB", "TB", "PB"):
        if size < 1000 or unit == "PB":
            return f"{size:.3g} {unit}"
        size /= 1000
    raise AssertionError


def check_memory(each: float, **counts: int) -> None:
    """Raises ValueError for a count of things that take more memory than there is.

    Args:
      each: bytes of one of them, at least.
      **counts: what users call it -> how many, one of them.
    """
    ((name, count),) = counts.items()
    if count * each > memory():
        raise ValueError(
            f"{name} is {count}, which needs at least {in_bytes(count * each)} of "
            f"memory, and there are {in_bytes(memory())}; at most "
            f"{int(memory() // each)} would fit"
        )


def check_seed(seed: int) -> None:
    """Raises ValueError for a seed of which JAX would keep only some bits."""
    if not 0 <= seed < 2**31:
        raise ValueError(f"seed must be in [0, 2**31), not {seed}")
