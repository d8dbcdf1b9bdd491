"""What is run for readings: a forward and a backward pass for every batch."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxproxy.meters import Meter, Probe
from jaxproxy.network import Network
from jaxproxy.readings import Readings, stack
from jaxproxy.setups import check_logits, cross_entropy
from jaxproxy.taps import REACHED, Rows, Tap, Values
from jaxproxy.types import Array, Batch

__all__ = ["collect", "collect_batches", "collect_pulled", "make_scratch"]

_Loss = Callable[[Array, Array], Array]


def collect(
    network: Network,
    params: Any,
    batch: Batch,
    code: Array | None,
    meters: Sequence[Meter],
    *,
    loss: _Loss = cross_entropy,
) -> Readings:
    """Readings of one architecture: one forward and, if asked for, one backward pass.

    Args:
      network: what to measure.
      params: as ``network.init`` gave them.
      batch: inputs and labels.
      code: int32[G], or None for a network that is one architecture.
      meters: what to measure, each name once.
      loss: (logits, labels) -> [], whose gradients are measured; not called if no
        meter needs one.

    Raises:
      ValueError: two different meters of one name, a meter without a tap to read, or
        taps that cannot be read (see :class:`~jaxproxy.taps.Tap`).
    """
    batches = jax.tree.map(lambda leaf: leaf[None], batch)
    return collect_batches(network, params, batches, code, meters, loss=loss)[0]


def make_scratch(
    network: Network, params: Any, batch: Batch, code: Array, meters: Sequence[Meter]
) -> Any:
    """Buffers for :func:`collect_batches`, cleared once."""

    def buffers() -> Any:
        tap = Tap(Probe.of(meters), planning=True)
        network.apply(params, batch.x, code, tap)
        return tap.kept

    shapes = jax.eval_shape(buffers)
    return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)


def collect_batches(
    network: Network,
    params: Any,
    batches: Batch,
    code: Array | None,
    meters: Sequence[Meter],
    scratch: Any = None,
    *,
    loss: _Loss = cross_entropy,
) -> tuple[Readings, Any]:
    """As :func:`collect`, for M batches in turn, in a loop that hands its scratch on.

    Large buffers are then neither allocated nor cleared for each architecture.

    Args:
      network: what to measure.
      params: as ``network.init`` gave them.
      batches: [M, B, ...]. Readings of several are what the meter makes of them (see
        :class:`~jaxproxy.meters.Meter`), or float[M, L, ...].
      code: see :func:`collect`.
      meters: see :func:`collect`.
      scratch: of :func:`make_scratch`, or what the last architecture left.
      loss: see :func:`collect`.

    Returns:
      Readings, and the scratch for the next architecture.
    """
    run = _Run(network, params, code, Probe.of(meters))
    values, present, scratch = _over_batches(run, batches, scratch, loss)
    rows = run.rows(_finished(run, values), present)
    readings = stack(run.probe.meters, rows)
    each = {
        meter.name: jnp.moveaxis(readings[meter], 1, 0)  # [M, L, ...]
        for meter in run.probe.meters
        if not (meter.add or meter.over_batches)
    }
    if len(batches.x) == 1:
        each = {name: values[0] for name, values in each.items()}
    return dataclasses.replace(readings, values={**readings.values, **each}), scratch


def collect_pulled(
    network: Network,
    params: Any,
    x: Array,
    code: Array | None,
    meters: Sequence[Meter],
    cotangents: Callable[[Array], Array],
) -> tuple[Array, Readings]:
    """Logits float[B, K], and readings of one backward pass for each of M cotangents.

    Args:
      network: what to measure.
      params: as ``network.init`` gave them.
      x: images.
      code: see :func:`collect`.
      meters: of gradients or slopes. Readings have a second axis M, or are what the
        meter makes of them ``over_batches``.
      cotangents: gives float[M, B, K] for the logits.

    Raises:
      ValueError: as :func:`collect`, or the outputs are no logits.
    """
    run = _Run(network, params, code, Probe.of(meters))
    logits, pull_back, arrays = jax.vjp(
        lambda sinks: run(x, sinks, None)[:2], run.zero_sinks(x, None), has_aux=True
    )
    check_logits(logits.shape)
    gradients = lax.map(lambda dz: pull_back(dz)[0], cotangents(logits))
    values = jax.vmap(lambda one: run.taken(arrays, one).values)(gradients)
    present = run.taken(arrays, gradients).present
    return logits, stack(run.probe.meters, run.rows(_finished(run, values), present))


_Key = tuple[int, str]
"""Number of the rows, in order of tapping, and name of the meter."""


class _Taken(NamedTuple):
    """What one batch gives, without the slots."""

    values: dict[_Key, Array]
    """float[slots, ...]"""
    present: list[Array | None]
    """Of all rows: bool[slots], or None for all."""


class _Run:
    """A network as a function of images and of the sinks of its taps."""

    def __init__(
        self, network: Network, params: Any, code: Array | None, probe: Probe
    ) -> None:
        self.probe = probe
        self._apply = functools.partial(network.apply, params)
        self._code = code
        # Slots are static, so they leave a trace by this attribute; arrays must not.
        self._tap = Tap(probe)

    def __call__(
        self, x: Array, sinks: Any, scratch: Any, *, planning: bool = False
    ) -> tuple[Array, "_Arrays", Any]:
        """Output, readings without gradients, and what is left of the scratch."""
        tap = Tap(self.probe, sinks, scratch, planning=planning)
        output = tap("logits", self._apply(x, self._code, tap), "logits")
        self._tap = tap
        arrays = _Arrays(
            [(rows.values, rows.present) for rows in tap.forward],
            {n: {k: (r.values, r.present) for k, r in rows.items()}
             for n, rows in tap.sinks.items()},
        )  # fmt: skip
        return output, arrays, tap.kept

    def zero_sinks(self, x: Array, scratch: Any) -> Any:
        """Zeros for every sink."""
        planned = jax.eval_shape(lambda: self(x, None, scratch, planning=True)[1])
        shapes = {n: {k: values for k, (values, _) in kinds.items()}
                  for n, kinds in planned.unreached.items()}  # fmt: skip
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def measure(self, batch: Batch, scratch: Any, loss: _Loss) -> tuple[_Taken, Any]:
        """All that is taken of a batch, and what is left of the scratch."""
        if not self.probe.needs_gradients():
            _, arrays, kept = self(batch.x, None, scratch)
            return self.taken(arrays), kept

        def objective(sinks: Any, scratch: Any) -> tuple[Array, Any]:
            output, arrays, _ = self(batch.x, sinks, scratch)
            return loss(output, batch.y), arrays

        differentiate = jax.grad(objective, argnums=(0, 1), has_aux=True)
        sinks = self.zero_sinks(batch.x, scratch)
        (gradients, kept), arrays = differentiate(sinks, scratch)
        return self.taken(arrays, gradients), kept

    def taken(self, arrays: "_Arrays", gradients: Any = None) -> _Taken:
        """Readings of the last trace, with the gradients of its sinks."""
        rows = list(arrays.forward)
        for name, kind in self._sinks():  # none without gradients
            unreached, present = arrays.unreached[name][kind]
            rows.append((_measured(gradients[name][kind], unreached), present))
        values = {(i, n): v for i, (row, _) in enumerate(rows) for n, v in row.items()}
        return _Taken(values, [present for _, present in rows])

    def rows(
        self, values: dict[_Key, Array], present: Sequence[Array | None]
    ) -> list[Rows]:
        """What was taken in the last trace, with its slots."""
        table: list[Values] = [{} for _ in present]
        for (number, meter), value in values.items():
            table[number][meter] = value
        slots = [rows.slots for rows in self._tap.forward]
        slots += [self._tap.sinks[name][kind].slots for name, kind in self._sinks()]
        return [Rows(*row) for row in zip(slots, table, present, strict=True)]

    def _sinks(self) -> list[tuple[str, str]]:
        """Name and kind of each."""
        return [
            (name, kind) for name, kinds in self._tap.sinks.items() for kind in kinds
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


def _over_batches(
    run: _Run, batches: Batch, scratch: Any, loss: _Loss
) -> tuple[dict[_Key, Array], list[Array | None], Any]:
    """What all batches give, float[M, slots, ...] or the sum; and the scratch."""
    names = {meter.name for meter in run.probe.meters if meter.add}
    first = jax.tree.map(lambda leaf: leaf[0], batches)
    totals = {}
    if names:
        shapes = jax.eval_shape(lambda: run.measure(first, scratch, loss)[0].values)
        totals = {
            k: jnp.zeros(s.shape, s.dtype) for k, s in shapes.items() if k[1] in names
        }

    def step(carry: tuple[Any, Any], batch: Batch) -> tuple[tuple[Any, Any], Any]:
        scratch, totals = carry
        taken, left = run.measure(batch, scratch, loss)
        # Without scratch to hand on, every batch makes its own.
        left = None if scratch is None else left
        totals = {k: total + taken.values[k] for k, total in totals.items()}
        rest = {k: v for k, v in taken.values.items() if k not in totals}
        return (left, totals), taken._replace(values=rest)

    if len(batches.x) > 1:
        (scratch, totals), taken = lax.scan(step, (scratch, totals), batches)
    else:
        (scratch, totals), taken = step((scratch, totals), first)
        taken = jax.tree.map(lambda leaf: leaf[None], taken)
    present = [None if here is None else here[0] for here in taken.present]
    return {**taken.values, **totals}, present, scratch


def _finished(run: _Run, values: dict[_Key, Array]) -> dict[_Key, Array]:
    """float[slots, ...] of all batches together, or [slots, M, ...] of each."""
    meters = {meter.name: meter for meter in run.probe.meters}

    def finish(meter: Meter, values: Array) -> Array:
        if not (meter.add or meter.over_batches):
            return jnp.moveaxis(values, 0, 1)
        if meter.over_batches is None:
            return values
        return jax.vmap(meter.over_batches, in_axes=0 if meter.add else 1)(values)

    return {key: finish(meters[key[1]], value) for key, value in values.items()}
