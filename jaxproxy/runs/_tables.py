"""The tables of a run: what its columns are called and hold (host code, no JAX)."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:  # pyarrow takes long to import; a command that needs no run must not
    import pyarrow as pa

_METERS = b"jaxproxy_meters"


def rows_table(
    index: np.ndarray,
    archs: Sequence[str],
    class_archs: np.ndarray,
    scores: Mapping[str, np.ndarray],
    valid: Mapping[str, np.ndarray],
) -> pa.Table:
    """Returns a table with one row for each of n requested architectures.

    Columns: ``index``, ``arch``, ``class_arch`` (the representative that was scored)
    and for each proxy its mean over seeds, ``_valid`` (for all seeds), ``_se``
    (standard error over seeds, NaN for one) and ``_seeds`` (the list of scores).

    Args:
      index: int64[n], ascending positions in the request.
      archs: n architecture strings.
      class_archs: object[n], the string of what was scored in place of each.
      scores: proxy name -> float64[n, S].
      valid: proxy name -> bool[n, S].
    """
    import pyarrow as pa

    columns: dict[str, Any] = {
        "index": pa.array(index, pa.int64()),
        "arch": pa.array(archs, pa.string()),
        "class_arch": pa.array(class_archs, pa.string()),
    }
    for name, values in scores.items():
        columns |= _score_columns(name, values.astype(np.float64), valid[name])
    return pa.table(columns)


def readings_table(
    class_archs: np.ndarray,
    seeds: Sequence[int],
    readings: Mapping[str, np.ndarray],
    present: Mapping[str, np.ndarray],
    slots: Mapping[str, Sequence[Mapping[str, Any]]],
) -> pa.Table | None:
    """Returns a table with one row per class and seed; None if nothing was measured.

    Columns: ``class_arch``, ``seed`` and for each meter its values as a flat float32
    list and ``_present`` as a list of bool. The schema's metadata ``jaxproxy_meters``
    is JSON: meter -> ``slots``, each with name, kind, depth and channels, and ``shape``
    of the values, slots first.

    Args:
      class_archs: object[C], the strings of the architectures that were scored.
      seeds: S of them.
      readings: meter name -> float[C, S, L, ...].
      present: meter name -> bool[C, L].
      slots: meter name -> L records.
    """
    import pyarrow as pa

    if not readings:
        return None
    num_classes, num_seeds = len(class_archs), len(seeds)
    columns: dict[str, Any] = {
        "class_arch": pa.array(np.repeat(class_archs, num_seeds), pa.string()),
        "seed": pa.array(np.tile(seeds, num_classes), pa.int64()),
    }
    meters = {}
    for name, values in readings.items():
        rows = num_classes * num_seeds
        mask = np.repeat(present[name], num_seeds, axis=0)
        columns[name] = _lists(values.reshape(rows, -1), fixed=True)
        columns[f"{name}_present"] = _lists(mask, fixed=True)
        meters[name] = {"slots": [*slots[name]], "shape": values.shape[2:]}
    return pa.table(columns, metadata={_METERS: json.dumps(meters)})


class StoredReadings(NamedTuple):
    """What a table of :func:`readings_table` holds, for its n rows.

    Attributes:
      values: meter name -> float[n, L, ...].
      mask: meter name -> bool[n, L], which slots an architecture has.
      slots: meter name -> L records of name, kind, depth and channels; of all meters
        of the table, whichever were read.
    """

    values: dict[str, np.ndarray]
    mask: dict[str, np.ndarray]
    slots: dict[str, list[dict[str, Any]]]


def read_readings(
    table: pa.Table, meters: Collection[str] | None = None
) -> StoredReadings:
    """Returns the readings of the rows of a table, of all its meters or of some.

    Raises:
      ValueError: the table does not say what its columns are of.
    """
    described = json.loads((table.schema.metadata or {}).get(_METERS, b"null"))
    if described is None:
        raise ValueError("these readings do not say what they are of")
    slots = {name: meter["slots"] for name, meter in described.items()}
    if any(isinstance(slot, str) for rows in slots.values() for slot in rows):
        raise ValueError(
            "these readings were written before kinds, depths and channels of slots "
            "were kept; score the run again to use them"
        )
    values, mask = {}, {}
    for name in described if meters is None else sorted(meters):
        shape = described[name]["shape"]
        values[name] = _flat(table, name).reshape(len(table), *shape)
        mask[name] = _flat(table, f"{name}_present").reshape(
            len(table), len(slots[name])
        )
    return StoredReadings(values, mask, slots)


def _flat(table: pa.Table, column: str) -> np.ndarray:
    """Returns all numbers of a column of lists, one list after another."""
    import pyarrow as pa

    # Not to_numpy(): it would import pandas, which takes a second.
    values = table[column].combine_chunks().flatten()
    if pa.types.is_boolean(values.type):
        return np.from_dlpack(values.cast(pa.uint8())).astype(bool)
    return np.from_dlpack(values)


def _score_columns(
    name: str, scores: np.ndarray, valid: np.ndarray
) -> dict[str, pa.Array]:
    """Returns the columns of one proxy from float64[n, S] and bool[n, S]."""
    import pyarrow as pa

    n, seeds = scores.shape
    with np.errstate(all="ignore"):
        mean = scores.mean(1)
        error = np.full(n, np.nan) if seeds == 1 else scores.std(1, ddof=1) / seeds**0.5
    return {
        name: pa.array(mean),
        f"{name}_valid": pa.array(valid.all(1)),
        f"{name}_se": pa.array(error),
        f"{name}_seeds": _lists(scores),
    }


def _lists(values: np.ndarray, fixed: bool = False) -> pa.Array:
    """Returns rows of [n, k] as lists; Arrow has no fixed size of 0."""
    import pyarrow as pa

    n, k = values.shape
    if fixed and k:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), k)
    offsets = np.arange(n + 1, dtype=np.int32) * k
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values.ravel())
