"""Readings: all summaries of one architecture from one forward and backward pass."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxproxy.meters import Meter, Probe
from jaxproxy.network import Network
from jaxproxy.setups import check_logits, cross_entropy
from jaxproxy.taps import REACHED, Rows, Slot, Tap, Values
from jaxproxy.types import Array, Batch

__all__ = [
    "Readings",
    "collect",
    "collect_jacobian",
    "collect_reusing",
    "cross_entropy",
    "make_scratch",
]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Readings:
    """Summaries stacked over taps, in network order; index it by meter.

    A pytree, so it passes through ``jax.jit``, ``jax.vmap`` and ``jax.lax.map``.
    """

    values: dict[str, Array]
    """Meter name -> float[L, ...]; zero in slots the architecture does not have."""
    mask: dict[str, Array]
    """Meter name -> bool[L], the slots the architecture has."""
    layout: "Layout"

    def __getitem__(self, meter: Meter) -> Array:
        """The summaries of a meter, float[L, ...]."""
        return self._get(self.values, meter)

    def present(self, meter: Meter) -> Array:
        """Which slots this architecture has, bool[L]."""
        return self._get(self.mask, meter)

    def count(self, meter: Meter) -> Array:
        """How many slots this architecture has, int32[]."""
        return self.present(meter).sum()

    def slots(self, meter: Meter) -> tuple[Slot, ...]:
        """Names, kinds, depths and channels of the slots."""
        return self._get(self.layout.slots, meter)

    def channels(self, meter: Meter) -> Array:
        """Channels of each slot, float[L]."""
        values = self[meter]
        return jnp.array([s.channels for s in self.slots(meter)], values.dtype)

    @staticmethod
    def _get(table: dict[str, Any], meter: Meter) -> Any:
        if meter.name not in table:
            raise ValueError(
                f"no readings of meter {meter.name!r}; choose from {sorted(table)}"
            )
        return table[meter.name]


@jax.tree_util.register_static
@dataclass(frozen=True)
class Layout:
    """Static description of readings: where each row comes from."""

    items: tuple[tuple[str, tuple[Slot, ...]], ...]

    @property
    def slots(self) -> dict[str, tuple[Slot, ...]]:
        """Meter name -> slots in order of depth."""
        return dict(self.items)


def collect(
    network: Network,
    params: Any,
    batch: Batch,
    code: Array | None,
    meters: Sequence[Meter],
    *,
    loss: Callable[[Array, Array], Array] = cross_entropy,
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
        taps that cannot be read (see :class:`~jaxproxy.network.Tap`).
    """
    return _collect(network, params, batch, code, meters, loss, None)[0]


def make_scratch(
    network: Network, params: Any, batch: Batch, code: Array, meters: Sequence[Meter]
) -> Any:
    """Buffers for :func:`collect_reusing`, cleared once."""

    def buffers() -> Any:
        tap = Tap(Probe.of(meters), planning=True)
        network.apply(params, batch.x, code, tap)
        return tap.kept

    shapes = jax.eval_shape(buffers)
    return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)


def collect_reusing(
    network: Network,
    params: Any,
    batch: Batch,
    code: Array | None,
    meters: Sequence[Meter],
    scratch: Any,
    *,
    loss: Callable[[Array, Array], Array] = cross_entropy,
) -> tuple[Readings, Any]:
    """As :func:`collect`, in a loop that hands its scratch on.

    Large buffers are then neither allocated nor cleared for each architecture.
    """
    return _collect(network, params, batch, code, meters, loss, scratch)


def collect_jacobian(
    network: Network,
    params: Any,
    x: Array,
    code: Array | None,
    meters: Sequence[Meter],
) -> tuple[Array, Readings]:
    """Logits float[B, K], and readings of one backward pass for each of K classes.

    What is differentiated is the sum over images of the logits of a class; readings of
    gradients have a second axis K.

    Raises:
      ValueError: as :func:`collect`, or the outputs are no logits.
    """
    run = _Run(network, params, x, code, Probe.of(meters))
    logits, pull_back, arrays = jax.vjp(
        lambda sinks: run(sinks, None)[:2], run.zero_sinks(None), has_aux=True
    )
    check_logits(logits.shape)

    def of_class(one_hot: Array) -> Any:
        return pull_back(jnp.broadcast_to(one_hot, logits.shape))[0]

    gradients = lax.map(of_class, jnp.eye(logits.shape[1], dtype=logits.dtype))
    gradients = jax.tree.map(lambda g: jnp.moveaxis(g, 0, 1), gradients)
    return logits, run.readings(arrays, gradients)


def _collect(
    network: Network,
    params: Any,
    batch: Batch,
    code: Array | None,
    meters: Sequence[Meter],
    loss: Callable[[Array, Array], Array],
    scratch: Any,
) -> tuple[Readings, Any]:
    run = _Run(network, params, batch.x, code, Probe.of(meters))
    if not run.probe.needs_gradients():
        _, arrays, kept = run(None, scratch)
        return run.readings(arrays), kept

    def objective(sinks: Any, scratch: Any) -> tuple[Array, Any]:
        output, arrays, _ = run(sinks, scratch)
        return loss(output, batch.y), arrays

    differentiate = jax.grad(objective, argnums=(0, 1), has_aux=True)
    (gradients, kept), arrays = differentiate(run.zero_sinks(scratch), scratch)
    return run.readings(arrays, gradients), kept


class _Run:
    """A network as a function of the sinks of its taps."""

    def __init__(
        self, network: Network, params: Any, x: Array, code: Array | None, probe: Probe
    ) -> None:
        self.probe = probe
        self._apply = functools.partial(network.apply, params, x, code)
        # Slots are static, so they leave a trace by this attribute; arrays must not.
        self._tap = Tap(probe)

    def __call__(
        self, sinks: Any, scratch: Any, *, planning: bool = False
    ) -> tuple[Array, "_Arrays", Any]:
        """Output, readings without gradients, and what is left of the scratch."""
        tap = Tap(self.probe, sinks, scratch, planning=planning)
        output = tap("logits", self._apply(tap), "logits")
        self._tap = tap
        arrays = _Arrays(
            [(rows.values, rows.present) for rows in tap.forward],
            {n: {k: (r.values, r.present) for k, r in rows.items()}
             for n, rows in tap.sinks.items()},
        )  # fmt: skip
        return output, arrays, tap.kept

    def zero_sinks(self, scratch: Any) -> Any:
        """Zeros for every sink."""
        planned = jax.eval_shape(lambda: self(None, scratch, planning=True)[1])
        shapes = {n: {k: values for k, (values, _) in kinds.items()}
                  for n, kinds in planned.unreached.items()}  # fmt: skip
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def readings(self, arrays: "_Arrays", gradients: Any = None) -> Readings:
        """Of the last run, with the gradients of its sinks."""
        rows = [
            Rows(rows.slots, *row)
            for rows, row in zip(self._tap.forward, arrays.forward, strict=True)
        ]
        for name, kinds in (gradients or {}).items():
            for kind, gradient in kinds.items():
                unreached, present = arrays.unreached[name][kind]
                slots = self._tap.sinks[name][kind].slots
                rows.append(Rows(slots, _measured(gradient, unreached), present))
        return _stack(self.probe, rows)


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

    return {k: chosen(v, unreached[k]) for k, v in gradient.items()}


def _stack(probe: Probe, rows: list[Rows]) -> Readings:
    """Concatenates the rows of each meter in order of depth."""
    values, mask, layout = {}, {}, []
    for meter in probe.meters:
        parts = [r for r in rows if meter.name in r.values]
        if not parts:
            raise ValueError(
                f"meter {meter.name!r} reads taps of kinds {meter.kinds}; the network "
                "has none of them"
            )
        slots = [slot for part in parts for slot in part.slots]
        order = np.argsort([slot.depth for slot in slots], kind="stable")
        arrays = [part.values[meter.name] for part in parts]
        shape = tuple(np.max([a.shape[1:] for a in arrays], axis=0, initial=0))
        stacked = jnp.concatenate([_padded(a, shape) for a in arrays])[order]
        here = jnp.concatenate([_presence(part) for part in parts])[order]
        where = here.reshape(-1, *(1,) * (stacked.ndim - 1))
        values[meter.name] = jnp.where(where, stacked, jnp.zeros((), stacked.dtype))
        mask[meter.name] = here
        layout.append((meter.name, tuple(slots[i] for i in order)))
    return Readings(values, mask, Layout(tuple(layout)))


def _padded(rows: Array, shape: tuple[int, ...]) -> Array:
    """Rows with zeros behind them, for readings as long as the channels are many."""
    pads = [
        (0, 0),
        *((0, int(n - m)) for n, m in zip(shape, rows.shape[1:], strict=True)),
    ]
    return jnp.pad(rows, pads) if any(b for _, b in pads) else rows


def _presence(rows: Rows) -> Array:
    return jnp.ones(len(rows.slots), bool) if rows.present is None else rows.present
