"""Places of a network where readings are taken, and rows of readings."""

from typing import NamedTuple

from jax import Array

Values = dict[str, Array]

REACHED = ""
"""Key, beside meter names, of a sink whose gradient is 1 if any gradient came by.

It is float[slots], one for each row of the readings.
"""


class Slot(NamedTuple):
    """A place where a reading is taken."""

    name: str
    """Stable, e.g. ``"cells.3.e02.conv"``."""
    kind: str
    """``conv``, ``relu``, ``bn``, ``linear``, ``cell``... or ``conv_w``, ``bn_b``..."""
    depth: int
    """Position in the network; slots are ordered by it."""
    channels: int
    """C of an activation; size of a parameter's last axis."""


class Rows(NamedTuple):
    """Readings of several slots of one kind, one row each."""

    slots: tuple[Slot, ...]
    values: Values
    """Meter name -> float[slots, ...]."""
    present: Array | None = None
    """bool[slots], which of them this architecture has; None for all."""
