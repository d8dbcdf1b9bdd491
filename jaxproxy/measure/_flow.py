"""Control flow that taps can cross: :func:`switch` and :func:`scan`.

A reading cannot leave a ``lax.switch`` or ``lax.scan`` by itself, and the gradient of a
sink inside would be a sum over iterations (see :class:`~jaxproxy.measure.Tap`). The
functions of this file carry both across, so that a network whose architecture is data
can be written layer by layer: the gene chooses a branch, and each branch has the shapes
that it needs.
"""

from collections.abc import Sequence
from typing import Any

import jax
from jax import Array, lax

from jaxproxy.measure._piece import Piece, Plan, Table, plan_piece, run_piece
from jaxproxy.measure._rows import Group, grouped, key_of, zeros
from jaxproxy.measure._slot import Rows, Slot, Values
from jaxproxy.measure._tap import Recorder, Tap


def switch(
    tap: Tap,
    index: Array,
    branches: Sequence[Piece],
    operand: Any,
    *,
    remat: bool = False,
) -> Any:
    """Returns the output of the branch of an index, as ``lax.switch``, taps inside.

    The slots of all branches exist; the present ones are those of the branch taken.
    Slots of equal name, kind and shape in several branches are one slot.

    Args:
      tap: of the network around.
      index: int32[], which branch; clamped to those there are.
      branches: each ``(operand, tap) -> output``, all outputs of one shape. They may
        close over arrays, which are differentiated too.
      operand: any pytree of arrays.
      remat: whether a backward pass runs the branch forward once more. Otherwise every
        branch hands over the intermediates of all, zeros for those of the others: more
        of them than of anything else, if there are many branches of unlike shapes.

    Raises:
      ValueError: a name that is used outside as well.
    """
    carried = _Branches(tap.recorder, branches, operand)
    if tap.recorder.planning:
        # Else every level of switches and scans would double what is traced.
        output, forward, unreached = carried.blank()
    else:
        pieces = [carried.measured(number) for number in range(len(branches))]
        if remat:
            pieces = [jax.checkpoint(piece, prevent_cse=False) for piece in pieces]
        output, forward, unreached = lax.switch(index, pieces, operand, carried.sinks)
    carried.hand_over(forward, unreached)
    return output


class _Branches:
    """The rows of all branches: every branch hands over those of all.

    A branch with slots ``a`` and ``b`` beside one with ``b`` and ``c`` hands over rows
    ``[a, b, 0]``, and the other ``[0, b, c]``, each with a mask of those present, so
    that ``lax.switch`` sees equal shapes. Slots of like readings share one array
    ``[3, ...]``; else there would be more arrays than anything else.
    """

    def __init__(
        self, recorder: Recorder, branches: Sequence[Piece], operand: Any
    ) -> None:
        self.recorder, self.branches = recorder, branches
        self.plans = [plan_piece(recorder, branch, operand) for branch in branches]
        for name in sorted({name for plan in self.plans for name in plan.names()}):
            recorder.claim(name)
        numbers = range(len(branches))
        self.keys = [_sink_keys(number, self.plans) for number in numbers]
        self.groups, self.sunk = _groups(self.plans, self.keys)
        self.rows = [Rows(_lowered(g.slots, recorder), g.blank()) for g in self.sunk]
        self.sinks = [
            recorder.sink(group.name, {group.kind: rows})[group.kind]
            for group, rows in zip(self.sunk, self.rows, strict=True)
        ]

    def blank(self) -> tuple[Any, list[Any], list[Any]]:
        """Returns what no branch would hand over."""
        forward, unreached = (
            [group.joined({}) for group in groups]
            for groups in (self.groups, self.sunk)
        )
        return zeros(self.plans[0].output), forward, unreached

    def measured(self, number: int) -> Any:
        """Returns a branch that hands over the rows of all branches."""
        plan, names = self.plans[number], self.keys[number]

        def branch(operand: Any, sinks: Any) -> tuple[Any, list[Any], list[Any]]:
            parts = {
                key: group.part(key, values)
                for group, values in zip(self.sunk, sinks, strict=True)
                for key in group.places
            }
            own = {
                name: {kind: parts[key, kind] for kind in plan.sinks[name]}
                for name, key in names.items()
            }
            output, table = run_piece(
                self.recorder, self.branches[number], operand, own
            )
            unreached = {
                (names[name], kind): row
                for name, kinds in table.unreached.items()
                for kind, row in kinds.items()
            }
            return (
                output,
                [group.joined(table.forward) for group in self.groups],
                [group.joined(unreached) for group in self.sunk],
            )

        return branch

    def hand_over(self, forward: list[Any], unreached: list[Any]) -> None:
        """Hands what a branch gave to the tap around."""
        for group, (values, present) in zip(self.groups, forward, strict=True):
            self.recorder.record(_lowered(group.slots, self.recorder), values, present)
        triples = zip(self.sunk, self.rows, unreached, strict=True)
        for group, rows, (values, present) in triples:
            self.recorder.sinks[group.name] = {
                group.kind: rows._replace(values=values, present=present)
            }
        self.recorder.advance(max(plan.steps for plan in self.plans))


def scan(
    tap: Tap,
    names: Sequence[str],
    body: Any,
    carry: Any,
    xs: Any,
) -> Any:
    """Returns the last carry of a loop over equal layers, as ``lax.scan``, taps inside.

    Args:
      tap: of the network around.
      names: of the n iterations, put before the names that the body gives its slots.
      body: ``(carry, x, tap) -> carry``; traced once for all iterations. A slot of
        empty name is called as the iteration itself.
      carry: any pytree of arrays.
      xs: pytree of arrays [n, ...], such as the stacked parameters of the layers.

    Raises:
      ValueError: not as many names as iterations, or a name used twice.
    """
    lengths = {len(leaf) for leaf in jax.tree.leaves(xs)}
    if lengths != {len(names)}:
        raise ValueError(f"{len(names)} names for arrays of {sorted(lengths)} rows")

    def step(operand: tuple[Any, Any], child: Tap) -> Any:
        return body(*operand, child)

    first = jax.tree.map(lambda leaf: leaf[0], xs)
    plan = plan_piece(tap.recorder, step, (carry, first))
    carried = _Iterations(tap.recorder, names, plan)

    def one(carry: Any, inputs: tuple[Any, Any]) -> tuple[Any, Table]:
        x, sinks = inputs
        return run_piece(tap.recorder, step, (carry, x), sinks)

    if tap.recorder.planning:
        carry, table = zeros(plan.output), zeros(plan.table, len(names))
    else:
        carry, table = lax.scan(one, carry, (xs, carried.sinks))
    carried.hand_over(table)
    return carry


class _Iterations:
    """The rows of all iterations of a loop: those of one, a leading axis more.

    A body with readings ``[2, C]`` of two slots gives ``[n, 2, C]``, which the tap
    around gets as ``[2 n, C]``, the slots of an iteration side by side.
    """

    def __init__(self, recorder: Recorder, names: Sequence[str], plan: Plan) -> None:
        self.recorder, self.names, self.plan = recorder, names, plan
        num = len(names)
        for name in plan.names():
            for iteration in names:
                recorder.claim(_inside(iteration, name))
        self.rows = {
            name: {
                kind: Rows(
                    self._repeated(slots),
                    _flat(zeros(plan.table.unreached[name][kind][0], num)),
                )
                for kind, slots in kinds.items()
            }
            for name, kinds in plan.sinks.items()
        }
        given = {
            name: recorder.sink(self._key(name), rows)
            for name, rows in self.rows.items()
        }
        self.sinks = {
            name: jax.tree.map(lambda v: v.reshape(num, -1, *v.shape[1:]), values)
            for name, values in given.items()
        }

    def hand_over(self, table: Table) -> None:
        """Hands what all iterations gave to the tap around."""
        for key, (values, present) in table.forward.items():
            slots = self._repeated(self.plan.slots[key])
            self.recorder.record(slots, _flat(values), _flat(present))
        for name, kinds in table.unreached.items():
            self.recorder.sinks[self._key(name)] = {
                kind: self.rows[name][kind]._replace(
                    values=_flat(values), present=_flat(present)
                )
                for kind, (values, present) in kinds.items()
            }
        self.recorder.advance(len(self.names) * self.plan.steps)

    def _key(self, name: str) -> str:
        return f"{self.names[0]}.{name}"

    def _repeated(self, slots: tuple[Slot, ...]) -> tuple[Slot, ...]:
        """Returns the slots of all iterations, one iteration after another."""
        base, steps = self.recorder.advance(0), self.plan.steps
        return tuple(
            slot._replace(
                name=_inside(name, slot.name), depth=base + i * steps + slot.depth
            )
            for i, name in enumerate(self.names)
            for slot in slots
        )


def _inside(iteration: str, name: str) -> str:
    """Returns the name of a slot of an iteration, which may be its very own."""
    return f"{iteration}.{name}" if name else iteration


def _flat(values: Any) -> Any:
    """Returns rows of all iterations, one after another."""
    return jax.tree.map(lambda v: v.reshape(-1, *v.shape[2:]), values)


def _sink_keys(number: int, plans: Sequence[Plan]) -> dict[str, str]:
    """Returns name -> key of a branch's sinks; those of earlier ones are shared."""
    keys = {}
    for name in plans[number].sinks:
        alike = next(
            i for i, plan in enumerate(plans) if _alike(name, plan, plans[number])
        )
        keys[name] = f"{name}/{alike}" if alike else name
    return keys


def _groups(
    plans: Sequence[Plan], keys: Sequence[dict[str, str]]
) -> tuple[list[Group], list[Group]]:
    """Returns forward rows and sinks of all branches, alike ones in one array."""
    forward: dict[Any, tuple[tuple[Slot, ...], Values]] = {}
    sinks: dict[Any, tuple[tuple[Slot, ...], Values]] = {}
    for plan, names in zip(plans, keys, strict=True):
        for key, (values, _) in plan.table.forward.items():
            forward.setdefault(key, (plan.slots[key], values))
        for name, key in names.items():
            for kind, (values, _) in plan.table.unreached[name].items():
                sinks.setdefault((key, kind), (plan.sinks[name][kind], values))
    return grouped(forward), grouped(sinks)


def _alike(name: str, a: Plan, b: Plan) -> bool:
    def shape(plan: Plan) -> Any:
        return {
            kind: key_of(Rows(slots, plan.table.unreached[name][kind][0]))
            for kind, slots in plan.sinks[name].items()
        }

    return name in a.sinks and shape(a) == shape(b)


def _lowered(slots: tuple[Slot, ...], recorder: Recorder) -> tuple[Slot, ...]:
    """Returns the slots of a piece at their depth in the network around."""
    base = recorder.advance(0)
    return tuple(slot._replace(depth=base + slot.depth) for slot in slots)
