"""The tables of a run: what its columns are called and hold (host code)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:  # importing the scorer would import JAX; pyarrow is slow as well
    import pyarrow as pa

    from jaxproxy.score import BlockScores, Scorer

__all__ = ["Part", "readings_table", "rows_table"]


class Part(NamedTuple):
    """The architectures of a part.

    Attributes:
      index: int64[n], ascending positions in the request.
      strings: n architecture strings.
      codes: int32[n, G], as requested.
      classes: int32[C, G], the representatives to score.
      class_strings: object[C], their architecture strings.
      class_of_row: int64[n], position in ``classes``.
    """

    index: np.ndarray
    strings: list[str]
    codes: np.ndarray
    classes: np.ndarray
    class_strings: np.ndarray
    class_of_row: np.ndarray


def rows_table(scorer: Scorer, part: Part, scored: BlockScores) -> pa.Table:
    """One row per requested architecture.

    Columns: ``index``, ``arch``, ``class_arch`` (the representative that was scored)
    and for each proxy its mean over seeds, ``_valid`` (for all seeds), ``_se``
    (standard error over seeds, NaN for one) and ``_seeds`` (the list of scores).

    Args:
      scorer: what computed the scores; its exact counts are evaluated here, since
        members of a class may differ in what cannot reach the output.
      part: n architectures of C classes.
      scored: of the C classes, in their order.
    """
    import pyarrow as pa

    columns: dict[str, Any] = {
        "index": pa.array(part.index, pa.int64()),
        "arch": pa.array(part.strings, pa.string()),
        "class_arch": pa.array(part.class_strings[part.class_of_row], pa.string()),
    }
    for proxy in scorer.proxies:
        if proxy.count is None:
            scores = scored.scores[proxy.name][part.class_of_row]
            valid = scored.valid[proxy.name][part.class_of_row]
        else:
            counts = np.asarray(proxy.count(scorer.space, part.codes))
            scores = np.repeat(counts[:, None], len(scorer.seeds), axis=1)
            valid = np.isfinite(scores)
        columns |= _score_columns(proxy.name, scores.astype(np.float64), valid)
    return pa.table(columns)


def readings_table(scorer: Scorer, part: Part, scored: BlockScores) -> pa.Table | None:
    """One row per class and seed, or None if nothing was measured.

    Columns: ``class_arch``, ``seed`` and for each meter its values as a flat float32
    list and ``_present`` as a list of bool. The schema's metadata ``jaxproxy_meters``
    is JSON: meter -> ``slots``, each with name, kind, depth and channels, and ``shape``
    of the values, slots first.
    """
    import pyarrow as pa

    if not scored.readings:
        return None
    classes, seeds = len(part.classes), len(scorer.seeds)
    columns: dict[str, Any] = {
        "class_arch": pa.array(np.repeat(part.class_strings, seeds), pa.string()),
        "seed": pa.array(np.tile(scorer.seeds, classes), pa.int64()),
    }
    meters = {}
    for name, values in scored.readings.items():  # [C, S, L, ...]
        present = np.repeat(scored.present[name], seeds, axis=0)
        columns[name] = _lists(values.reshape(classes * seeds, -1), fixed=True)
        columns[f"{name}_present"] = _lists(present, fixed=True)
        slots = [slot._asdict() for slot in scorer.layout[name]]
        meters[name] = {"slots": slots, "shape": values.shape[2:]}
    return pa.table(columns, metadata={"jaxproxy_meters": json.dumps(meters)})


def _score_columns(
    name: str, scores: np.ndarray, valid: np.ndarray
) -> dict[str, pa.Array]:
    """Columns of one proxy from float64[n, S] and bool[n, S], as they are."""
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
    """Rows of [n, k] as lists; Arrow has no fixed size of 0."""
    import pyarrow as pa

    n, k = values.shape
    if fixed and k:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), k)
    offsets = np.arange(n + 1, dtype=np.int32) * k
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values.ravel())
