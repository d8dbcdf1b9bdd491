"""What is run for readings: a forward and a backward pass for every batch."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.measure._meter import Meter, MeterSet
from jaxproxy.measure._network import Network
from jaxproxy.measure._readings import Readings, stack
from jaxproxy.measure._setup import check_logits, cross_entropy
from jaxproxy.measure._tap import Recorder, Tap
from jaxproxy.measure._trace import Key, Loss, Measurement
from jaxproxy.types import Batch


def collect(
    network: Network,
    params: Any,
    batch: Batch,
    code: Array | None,
    meters: Sequence[Meter],
    *,
    loss: Loss = cross_entropy,
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
        taps that cannot be read (see :class:`~jaxproxy.measure.Tap`).
    """
    batches = jax.tree.map(lambda leaf: leaf[None], batch)
    return collect_batches(network, params, batches, code, meters, loss=loss)[0]


def make_scratch(
    network: Network,
    params: Any,
    batch: Batch,
    code: Array,
    meters: Sequence[Meter],
    counts: Mapping[Meter, int] | None = None,
) -> Any:
    """Buffers for :func:`collect_batches`, cleared once."""

    def buffers(stretch: "_Stretch") -> Any:
        recorder = Recorder(MeterSet(stretch.meters), planning=True)
        network.apply(params, batch.x, code, Tap(recorder))
        return recorder.kept

    stretches = _stretches(_counted(meters, counts, 1))
    shapes = jax.eval_shape(lambda: [buffers(stretch) for stretch in stretches])
    return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)


def collect_batches(
    network: Network,
    params: Any,
    batches: Batch,
    code: Array | None,
    meters: Sequence[Meter],
    scratch: Any = None,
    *,
    counts: Mapping[Meter, int] | None = None,
    loss: Loss = cross_entropy,
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
      counts: how many of the batches each of the meters reads, from the first on;
        None for all. Batches that nothing reads are not run.
      loss: see :func:`collect`.

    Returns:
      Readings, and the scratch for the next architecture.
    """
    counts = _counted(meters, counts, len(batches.x))
    if not counts:
        return stack((), ()), scratch
    stretches = _stretches(counts)
    bound = _bound(network, params, code)
    runs = [Measurement(bound, MeterSet(s.meters)) for s in stretches]
    given = zip(runs, stretches, scratch or [None] * len(runs), strict=True)
    results = [_over_batches(r, s.of(batches), left, loss) for r, s, left in given]
    parts, present, left = zip(*results, strict=True)
    rows = runs[0].rows(_finished(counts, _joined(counts, parts)), present[0])
    readings = stack(tuple(counts), rows)
    each = {}
    for meter, count in counts.items():
        if not (meter.add or meter.over_batches):
            values = jnp.moveaxis(readings[meter], 1, 0)  # [M, L, ...]
            each[meter.name] = values if count > 1 else values[0]
    readings = dataclasses.replace(readings, values={**readings.values, **each})
    return readings, None if scratch is None else list(left)


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
    run = Measurement(_bound(network, params, code), MeterSet.of(meters))
    logits, pull_back, arrays = jax.vjp(
        lambda sinks: run.run(x, sinks, None)[:2], run.zero_sinks(x, None), has_aux=True
    )
    check_logits(logits.shape)
    gradients = lax.map(lambda dz: pull_back(dz)[0], cotangents(logits))
    values = jax.vmap(lambda one: run.taken(arrays, one).values)(gradients)
    # Which slots are present is the same for all cotangents.
    first = jax.tree.map(lambda leaf: leaf[0], gradients)
    present = run.taken(arrays, first).present
    return logits, stack(
        run.meters.meters, run.rows(_finished(run.meters.meters, values), present)
    )


def _bound(
    network: Network, params: Any, code: Array | None
) -> Callable[[Array, Tap], Array]:
    """Returns the network of one architecture, ``(x, tap) -> logits``."""
    return lambda x, tap: network.apply(params, x, code, tap)


class _Stretch(NamedTuple):
    """Consecutive batches that the same meters read."""

    start: int
    stop: int
    meters: tuple[Meter, ...]

    def of(self, batches: Batch) -> Batch:
        """These batches."""
        return jax.tree.map(lambda leaf: leaf[self.start : self.stop], batches)


def _counted(
    meters: Sequence[Meter], counts: Mapping[Meter, int] | None, otherwise: int
) -> dict[Meter, int]:
    """How many batches each meter reads."""
    meters = MeterSet.of(meters).meters
    return {m: otherwise if counts is None else counts[m] for m in meters}


def _stretches(counts: Mapping[Meter, int]) -> list[_Stretch]:
    """The first is of all meters."""
    stops = sorted(set(counts.values()))
    return [
        _Stretch(start, stop, tuple(m for m, count in counts.items() if count >= stop))
        for start, stop in zip([0, *stops], stops, strict=False)
    ]


def _over_batches(
    run: Measurement, batches: Batch, scratch: Any, loss: Loss
) -> tuple[dict[Key, Array], list[Array | None], Any]:
    """What all batches give, float[M, slots, ...] or the sum; and the scratch."""
    names = {meter.name for meter in run.meters.meters if meter.add}
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


def _joined(
    meters: Iterable[Meter], parts: Sequence[dict[Key, Array]]
) -> dict[Key, Array]:
    """What all stretches give, by the rows of the first, which has all meters."""
    joined, *others = parts
    for meter, part in itertools.product(meters, others):
        # Fewer meters may tap fewer rows, but each taps its own in the same order.
        own, more = (
            sorted(key for key in keys if key[1] == meter.name)
            for keys in (joined, part)
        )
        if not more:  # not read any more
            continue
        for key, other in zip(own, more, strict=True):
            one, two = joined[key], part[other]
            joined[key] = one + two if meter.add else jnp.concatenate([one, two])
    return joined


def _finished(meters: Iterable[Meter], values: dict[Key, Array]) -> dict[Key, Array]:
    """float[slots, ...] of all batches together, or [slots, M, ...] of each."""
    named = {meter.name: meter for meter in meters}

    def finish(meter: Meter, values: Array) -> Array:
        if not (meter.add or meter.over_batches):
            return jnp.moveaxis(values, 0, 1)
        if meter.over_batches is None:
            return values
        return jax.vmap(meter.over_batches, in_axes=0 if meter.add else 1)(values)

    return {key: finish(named[key[1]], value) for key, value in values.items()}
