"""A piece of a network between two points, such as a branch or the body of a loop."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax import Array

from jaxproxy.measure._rows import Key, key_of, values_of
from jaxproxy.measure._slot import Slot, Values
from jaxproxy.measure._tap import Recorder, Tap

Piece = Callable[[Any, Tap], Any]
"""(operand, tap) -> output."""


class Table(NamedTuple):
    """What a piece hands to its tap, with slots for keys."""

    forward: dict[Key, tuple[Values, Array]]
    """Values, and which slots are present."""
    unreached: dict[str, dict[str, tuple[Values, Array]]]
    """The same of each sink and kind, for want of a gradient."""


class Plan(NamedTuple):
    """What the trace of a piece tells without running it."""

    slots: dict[Key, tuple[Slot, ...]]
    sinks: dict[str, dict[str, tuple[Slot, ...]]]
    table: Table
    """Of shapes."""
    steps: int
    """Depths that it takes up."""
    output: Any
    """Shapes of what the piece returns."""

    def names(self) -> list[str]:
        """Returns the names of all slots, each once."""
        return sorted({slot.name for slot in self._all_slots()})

    def _all_slots(self) -> Iterator[Slot]:
        for slots in self.slots.values():
            yield from slots
        for kinds in self.sinks.values():
            for slots in kinds.values():
                yield from slots


def run_piece(
    around: Recorder, piece: Piece, operand: Any, sinks: dict[str, Any] | None
) -> tuple[Any, Table]:
    """Returns the output of a piece, and what its own tap was handed."""
    recorder = around.inside(sinks)
    return piece(operand, Tap(recorder)), _table(recorder)


def plan_piece(around: Recorder, piece: Piece, operand: Any) -> Plan:
    """Returns what a piece is about to hand to its tap, for such an operand."""
    recorders: list[Recorder] = []

    def trace(operand: Any) -> tuple[Any, Table]:
        recorders.append(around.inside(planning=True))
        return piece(operand, Tap(recorders[-1])), _table(recorders[-1])

    output, table = jax.eval_shape(trace, operand)
    (recorder,) = recorders
    return Plan(
        slots={key_of(rows): rows.slots for rows in recorder.forward},
        sinks={
            name: {kind: rows.slots for kind, rows in kinds.items()}
            for name, kinds in recorder.sinks.items()
            if kinds
        },
        table=table,
        steps=recorder.advance(0),
        output=output,
    )


def _table(recorder: Recorder) -> Table:
    forward = {key_of(rows): values_of(rows) for rows in recorder.forward}
    unreached = {
        name: {kind: values_of(rows) for kind, rows in kinds.items()}
        for name, kinds in recorder.sinks.items()
        if kinds
    }
    return Table(forward, unreached)
