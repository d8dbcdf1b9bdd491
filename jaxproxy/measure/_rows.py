"""Rows of many taps in one array, for control flow that hands all of them over."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxproxy.measure._slot import Rows, Slot, Values

Key = tuple[Any, ...]


class Group(NamedTuple):
    """Rows of like shape, of taps in several branches, in one array.

    Every branch hands over all, zeros for the taps that it lacks: with an array for
    each tap, there would be more of those than of anything else.
    """

    slots: tuple[Slot, ...]
    places: dict[Any, tuple[int, int]]
    """Key -> first row and number of rows."""
    shapes: dict[str, jax.ShapeDtypeStruct]
    """Of one row, by the name of the reading."""

    @property
    def name(self) -> str:
        """Of a sink, whose keys are names and kinds."""
        (name, kind), *_ = self.places
        return f"{name}/{kind}"

    @property
    def kind(self) -> str:
        """Of all slots."""
        return self.slots[0].kind

    def blank(self) -> Values:
        """Of all rows."""
        return zeros(self.shapes, len(self.slots))

    def part(self, key: Any, values: Values) -> Values:
        """The rows of a key."""
        start, num = self.places[key]
        return jax.tree.map(lambda v: v[start : start + num], values)

    def joined(self, rows: dict[Any, tuple[Values, Array]]) -> tuple[Values, Array]:
        """All rows, and which are present: absent ones, all but the given, are 0."""
        pieces, last = [], 0
        for key, (start, num) in self.places.items():
            if key in rows:
                pieces += [self._absent(start - last), rows[key]]
                last = start + num
        pieces += [self._absent(len(self.slots) - last)]
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *pieces)

    def _absent(self, num: int) -> tuple[Values, Array]:
        return zeros(self.shapes, num), jnp.zeros(num, bool)


def key_of(rows: Rows) -> Key:
    """Equal for rows that may share their place: names, kinds, channels, shapes."""
    slots = tuple((slot.name, slot.kind, slot.channels) for slot in rows.slots)
    return slots, tuple((name, v.shape) for name, v in sorted(rows.values.items()))


def values_of(rows: Rows) -> tuple[Values, Array]:
    """Readings, and which of them are present, bool[slots]."""
    present = rows.present
    return rows.values, (
        jnp.ones(len(rows.slots), bool) if present is None else present
    )


def grouped(taps: dict[Any, tuple[tuple[Slot, ...], Values]]) -> list[Group]:
    """Groups of the taps, by kind and by the shapes of their readings."""
    found: dict[Any, list[Any]] = {}
    for key, (slots, values) in taps.items():
        rows = {name: (v.shape[1:], v.dtype) for name, v in sorted(values.items())}
        found.setdefault((slots[0].kind, *rows.items()), []).append(key)
    groups = []
    for (_, *rows), keys in found.items():
        slots: tuple[Slot, ...] = ()
        places = {}
        for key in keys:
            places[key] = len(slots), len(taps[key][0])
            slots += taps[key][0]
        shapes = {name: jax.ShapeDtypeStruct(*shape) for name, shape in rows}
        groups.append(Group(slots, places, shapes))
    return groups


def zeros(shapes: Any, num: int | None = None) -> Any:
    """A tree of zeros of these shapes, or of ``num`` times as many."""
    front = () if num is None else (num,)
    return jax.tree.map(lambda s: jnp.zeros((*front, *s.shape), s.dtype), shapes)
