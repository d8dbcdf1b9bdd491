"""One batch through a network, and all that is measured of it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxproxy.measure._meter import MeterSet
from jaxproxy.measure._slot import REACHED, Rows, Values
from jaxproxy.measure._tap import Recorder, Tap
from jaxproxy.types import Batch

Loss = Callable[[Array, Array], Array]
"""(output, labels) -> [], whose gradients are measured."""

Key = tuple[int, str]
"""Number of the rows, in order of tapping, and name of the meter."""


class Taken(NamedTuple):
    """What one batch gives, without the slots."""

    values: dict[Key, Array]
    """float[slots, ...]"""
    present: list[Array | None]
    """Of all rows: bool[slots], or None for all."""


class Measurement:
    """A network as a function of images and of the sinks of its taps."""

    def __init__(self, apply: Callable[[Array, Tap], Array], meters: MeterSet) -> None:
        """Of ``apply(x, tap)``, a network bound to parameters and an architecture."""
        self.meters = meters
        self._apply = apply
        # Slots are static, so they leave a trace by this attribute; arrays must not.
        self._recorder = Recorder(meters)

    def run(
        self, x: Array, sinks: Any, scratch: Any, *, planning: bool = False
    ) -> tuple[Array, "_Arrays", Any]:
        """Returns output, readings without gradients, and what is left of scratch."""
        recorder = Recorder(self.meters, sinks, scratch, planning=planning)
        tap = Tap(recorder)
        output = tap("logits", self._apply(x, tap), "logits")
        self._recorder = recorder
        unreached = {
            name: {kind: (rows.values, rows.present) for kind, rows in kinds.items()}
            for name, kinds in recorder.sinks.items()
        }
        forward = [(rows.values, rows.present) for rows in recorder.forward]
        return output, _Arrays(forward, unreached), recorder.kept

    def zero_sinks(self, x: Array, scratch: Any) -> Any:
        """Returns zeros for every sink."""
        planned = jax.eval_shape(lambda: self.run(x, None, scratch, planning=True)[1])
        shapes = {n: {k: values for k, (values, _) in kinds.items()}
                  for n, kinds in planned.unreached.items()}  # fmt: skip
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def measure(self, batch: Batch, scratch: Any, loss: Loss) -> tuple[Taken, Any]:
        """Returns all that is taken of a batch, and what is left of the scratch."""
        if not self.meters.needs_gradients():
            _, arrays, kept = self.run(batch.x, None, scratch)
            return self.taken(arrays), kept

        def objective(sinks: Any, scratch: Any) -> tuple[Array, Any]:
            output, arrays, _ = self.run(batch.x, sinks, scratch)
            return loss(output, batch.y), arrays

        differentiate = jax.grad(objective, argnums=(0, 1), has_aux=True)
        sinks = self.zero_sinks(batch.x, scratch)
        (gradients, kept), arrays = differentiate(sinks, scratch)
        return self.taken(arrays, gradients), kept

    def taken(self, arrays: "_Arrays", gradients: Any = None) -> Taken:
        """Returns readings of the last trace, with the gradients of its sinks."""
        rows = list(arrays.forward)
        for name, kind in self._sinks():  # none without gradients
            unreached, present = arrays.unreached[name][kind]
            rows.append((_measured(gradients[name][kind], unreached), present))
        values = {(i, n): v for i, (row, _) in enumerate(rows) for n, v in row.items()}
        return Taken(values, [present for _, present in rows])

    def rows(
        self, values: dict[Key, Array], present: Sequence[Array | None]
    ) -> list[Rows]:
        """Returns what was taken in the last trace, with its slots."""
        table: list[Values] = [{} for _ in present]
        for (number, meter), value in values.items():
            table[number][meter] = value
        slots = [rows.slots for rows in self._recorder.forward]
        slots += [
            self._recorder.sinks[name][kind].slots for name, kind in self._sinks()
        ]
        return [Rows(*row) for row in zip(slots, table, present, strict=True)]

    def _sinks(self) -> list[tuple[str, str]]:
        """Returns the name and kind of each sink."""
        return [
            (name, kind)
            for name, kinds in self._recorder.sinks.items()
            for kind in kinds
        ]


class _Arrays(NamedTuple):
    """What a tap was handed, without the slots."""

    forward: list[tuple[Values, Array | None]]
    """Values, and which slots are present."""
    unreached: dict[str, dict[str, tuple[Values, Array | None]]]
    """The same of each sink and kind, for want of a gradient."""


def _measured(gradient: Values, unreached: Values) -> Values:
    """Readings that came as gradients of a sink, or those for want of a gradient."""
    if REACHED not in gradient:
        return gradient
    reached = gradient[REACHED] > 0

    def chosen(v: Array, instead: Array) -> Array:
        return jnp.where(reached.reshape(-1, *(1,) * (v.ndim - 1)), v, instead)

    return {k: chosen(v, unreached[k]) for k, v in gradient.items() if k != REACHED}
