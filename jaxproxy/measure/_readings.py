"""Readings: summaries of one architecture's activations and gradients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxproxy.measure._meter import Meter
from jaxproxy.measure._slot import Rows, Slot


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


def join(parts: Sequence[Readings]) -> Readings:
    """Readings of different meters as one."""
    values = {k: v for part in parts for k, v in part.values.items()}
    mask = {k: v for part in parts for k, v in part.mask.items()}
    items = tuple(item for part in parts for item in part.layout.items)
    return Readings(values, mask, Layout(tuple(items)))


def stack(meters: Sequence[Meter], rows: Sequence[Rows]) -> Readings:
    """The rows of each meter in order of depth.

    Raises:
      ValueError: a meter without any.
    """
    values, mask, layout = {}, {}, []
    for meter in meters:
        parts = [r for r in rows if meter.name in r.values]
        if not parts:
            raise ValueError(
                f"meter {meter.name!r} reads taps of kinds {_kinds(meter)}; the "
                "network has none of them"
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


def _kinds(meter: Meter) -> tuple[str, ...]:
    return getattr(meter, "kinds", ())
