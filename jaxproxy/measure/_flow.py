"""Control flow that taps can cross: :func:`switch` and :func:`scan`.

A reading cannot leave a ``lax.switch`` or ``lax.scan`` by itself, and the gradient of a
sink inside would be a sum over iterations (see :class:`~jaxproxy.measure.Tap`). The
functions of this file carry both across, so that a network whose architecture is data
can be written layer by layer: the gene chooses a branch, and each branch has the shapes
that it needs.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
from jax import Array, lax

from jaxproxy.measure._meter import MeterSet
from jaxproxy.measure._rows import Group, Key, grouped, key_of, values_of, zeros
from jaxproxy.measure._tap import Rows, Slot, Tap, Values


class _Table(NamedTuple):
    """What a piece of a network hands to its tap, with slots for keys."""

    forward: dict[Key, tuple[Values, Array]]
    """Values, and which slots are present."""
    unreached: dict[str, dict[str, tuple[Values, Array]]]
    """The same of each sink and kind, for want of a gradient."""


class _Plan(NamedTuple):
    """What the trace of a piece tells without running it."""

    slots: dict[Key, tuple[Slot, ...]]
    sinks: dict[str, dict[str, tuple[Slot, ...]]]
    table: _Table
    """Of shapes."""
    steps: int
    """Depths that it takes up."""
    output: Any
    """Shapes of what the piece returns."""


def switch(
    tap: Tap,
    index: Array,
    branches: Sequence[Callable[[Any, Tap], Any]],
    operand: Any,
    *,
    remat: bool = False,
) -> Any:
    """Output of the branch of an index, as ``lax.switch``, with taps in the branches.

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
    plans = [_plan(tap.meters, branch, operand) for branch in branches]
    for name in sorted({slot.name for plan in plans for slot in _slots(plan)}):
        tap.claim(name)
    keys = [_sink_keys(number, plans) for number in range(len(plans))]
    groups, sunk = _groups(plans, keys)
    rows = [Rows(_lowered(g.slots, tap), g.blank()) for g in sunk]
    given = [
        tap.sink(g.name, {g.kind: row})[g.kind]
        for g, row in zip(sunk, rows, strict=True)
    ]

    def measured(number: int) -> Callable[[Any, Any], tuple[Any, Any, Any]]:
        plan, names = plans[number], keys[number]

        def branch(operand: Any, given: Any) -> tuple[Any, Any, Any]:
            parts = {
                key: group.part(key, values)
                for group, values in zip(sunk, given, strict=True)
                for key in group.places
            }
            mine = {
                name: {kind: parts[key, kind] for kind in plan.sinks[name]}
                for name, key in names.items()
            }
            output, table = _run(tap.meters, branches[number], operand, mine)
            unread = {
                (names[name], kind): row
                for name, kinds in table.unreached.items()
                for kind, row in kinds.items()
            }
            return (
                output,
                [group.joined(table.forward) for group in groups],
                [group.joined(unread) for group in sunk],
            )

        return jax.checkpoint(branch, prevent_cse=False) if remat else branch

    if tap.planning:
        # Else every level of switches and scans would double what is traced.
        output = zeros(plans[0].output)
        values, unread = ([g.joined({}) for g in gs] for gs in (groups, sunk))
    else:
        output, values, unread = lax.switch(
            index, [measured(n) for n in range(len(branches))], operand, given
        )
    for group, (row, present) in zip(groups, values, strict=True):
        tap.record(_lowered(group.slots, tap), row, present)
    for group, row, (without, present) in zip(sunk, rows, unread, strict=True):
        tap.sinks[group.name] = {
            group.kind: row._replace(values=without, present=present)
        }
    tap.advance(max(plan.steps for plan in plans))
    return output


def scan(
    tap: Tap,
    names: Sequence[str],
    body: Callable[[Any, Any, Tap], Any],
    carry: Any,
    xs: Any,
) -> Any:
    """Last carry of a loop over equal layers, as ``lax.scan``, with taps in its body.

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
    plan = _plan(tap.meters, step, (carry, first))
    num = len(names)
    for name in sorted({slot.name for slot in _slots(plan)}):
        for prefix in names:
            tap.claim(_inside(prefix, name))

    def repeated(slots: tuple[Slot, ...]) -> tuple[Slot, ...]:
        base = tap.advance(0)
        return tuple(
            slot._replace(
                name=_inside(name, slot.name), depth=base + i * plan.steps + slot.depth
            )
            for i, name in enumerate(names)
            for slot in slots
        )

    sinks = {
        f"{names[0]}.{name}": {
            kind: Rows(repeated(slots), _flat(zeros(plan.table.unreached[name][kind][0],
                                                    num)))
            for kind, slots in kinds.items()
        }
        for name, kinds in plan.sinks.items()
    }  # fmt: skip
    given = {key: tap.sink(key, rows) for key, rows in sinks.items()}
    rows_of = {
        name: jax.tree.map(
            lambda v: v.reshape(num, -1, *v.shape[1:]), given[f"{names[0]}.{name}"]
        )
        for name in plan.sinks
    }

    def one(carry: Any, inputs: tuple[Any, Any]) -> tuple[Any, _Table]:
        x, mine = inputs
        return _run(tap.meters, step, (carry, x), mine)

    if tap.planning:
        carry, table = zeros(plan.output), zeros(plan.table, num)
    else:
        carry, table = lax.scan(one, carry, (xs, rows_of))
    for key, (rows, present) in table.forward.items():
        tap.record(repeated(plan.slots[key]), _flat(rows), _flat(present))
    for name, kinds in table.unreached.items():
        key = f"{names[0]}.{name}"
        tap.sinks[key] = {
            kind: sinks[key][kind]._replace(values=_flat(rows), present=_flat(present))
            for kind, (rows, present) in kinds.items()
        }
    tap.advance(num * plan.steps)
    return carry


def _inside(iteration: str, name: str) -> str:
    """Returns the name of a slot of an iteration, which may be its very own."""
    return f"{iteration}.{name}" if name else iteration


def _flat(values: Any) -> Any:
    """Rows of all iterations, one after another."""
    return jax.tree.map(lambda v: v.reshape(-1, *v.shape[2:]), values)


def _run(
    meters: MeterSet,
    piece: Callable[[Any, Tap], Any],
    operand: Any,
    sinks: dict[str, Any] | None,
    found: list[Tap] | None = None,
) -> tuple[Any, _Table]:
    """Output of a piece, and what its own tap was handed."""
    tap = Tap(meters, sinks, planning=found is not None)
    output = piece(operand, tap)
    if found is not None:
        found.append(tap)
    forward = {key_of(rows): values_of(rows) for rows in tap.forward}
    unreached = {
        name: {kind: values_of(rows) for kind, rows in kinds.items()}
        for name, kinds in tap.sinks.items()
        if kinds
    }
    return output, _Table(forward, unreached)


def _plan(meters: MeterSet, piece: Callable[[Any, Tap], Any], operand: Any) -> _Plan:
    found: list[Tap] = []
    output, table = jax.eval_shape(
        lambda x: _run(meters, piece, x, None, found), operand
    )
    (tap,) = found
    return _Plan(
        slots={key_of(rows): rows.slots for rows in tap.forward},
        sinks={
            name: {kind: rows.slots for kind, rows in kinds.items()}
            for name, kinds in tap.sinks.items()
            if kinds
        },
        table=table,
        steps=tap.advance(0),
        output=output,
    )


def _slots(plan: _Plan) -> Iterator[Slot]:
    for slots in plan.slots.values():
        yield from slots
    for kinds in plan.sinks.values():
        for slots in kinds.values():
            yield from slots


def _sink_keys(number: int, plans: Sequence[_Plan]) -> dict[str, str]:
    """Name -> key of the sinks of a branch; those of earlier branches are shared."""
    keys = {}
    for name in plans[number].sinks:
        alike = next(
            i for i, plan in enumerate(plans) if _alike(name, plan, plans[number])
        )
        keys[name] = f"{name}/{alike}" if alike else name
    return keys


def _groups(
    plans: Sequence[_Plan], keys: Sequence[dict[str, str]]
) -> tuple[list[Group], list[Group]]:
    """Forward rows and sinks of all branches, alike ones in one array."""
    forward: dict[Any, tuple[tuple[Slot, ...], Values]] = {}
    sinks: dict[Any, tuple[tuple[Slot, ...], Values]] = {}
    for plan, names in zip(plans, keys, strict=True):
        for key, (values, _) in plan.table.forward.items():
            forward.setdefault(key, (plan.slots[key], values))
        for name, key in names.items():
            for kind, (values, _) in plan.table.unreached[name].items():
                sinks.setdefault((key, kind), (plan.sinks[name][kind], values))
    return grouped(forward), grouped(sinks)


def _alike(name: str, a: _Plan, b: _Plan) -> bool:
    def shape(plan: _Plan) -> Any:
        return {
            kind: key_of(Rows(slots, plan.table.unreached[name][kind][0]))
            for kind, slots in plan.sinks[name].items()
        }

    return name in a.sinks and shape(a) == shape(b)


def _lowered(slots: tuple[Slot, ...], tap: Tap) -> tuple[Slot, ...]:
    """Slots of a piece at their depth in the network around."""
    base = tap.advance(0)
    return tuple(slot._replace(depth=base + slot.depth) for slot in slots)
