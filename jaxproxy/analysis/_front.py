"""Which architectures of a run no other one beats in everything (host)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxproxy.analysis._columns import archs_of, score_columns
from jaxproxy.runs import Run
from jaxproxy.search import pareto_front


class OnFront(NamedTuple):
    """An architecture that nothing beats in one score without losing in another."""

    arch: str
    scores: dict[str, float]
    """Column -> score, as it is stored."""
    cost: float | None
    """What it costs, None where no costs were given."""


def front(
    run: Run, names: Sequence[str], costs: Mapping[str, float] | None = None
) -> list[OnFront]:
    """Returns the Pareto front of a run, by the first score, the best first.

    Of equal points the one that was scored first stands for all. What has an invalid
    score, or no cost, is no part of it.

    Args:
      run: a run with finished parts.
      names: of its columns, proxies or ensembles; each is to be good.
      costs: architecture string -> cost, such as a latency, to be low.

    Raises:
      ValueError: no columns, or one that the run has not.
      StoreError: the run cannot be read.
    """
    columns = {column.name: column for column in score_columns(run)}
    unknown = [name for name in names if name not in columns]
    if unknown or not names:
        raise ValueError(f"unknown columns {unknown}; choose from {list(columns)}")
    archs = archs_of(run)
    points = np.stack([columns[name].oriented for name in names], 1)
    if costs is not None:
        paid = np.array([costs.get(arch, np.inf) for arch in archs])
        points = np.concatenate([points, -paid[:, None]], 1)
    known = np.flatnonzero(np.isfinite(points).all(1))
    _, first = np.unique(points[known], axis=0, return_index=True)
    rows = known[np.sort(first)]
    rows = rows[pareto_front(points[rows])]
    rows = rows[np.argsort(-points[rows, 0], kind="stable")]
    return [
        OnFront(
            archs[row],
            {name: float(columns[name].values[row]) for name in names},
            None if costs is None else float(costs[archs[row]]),
        )
        for row in rows
    ]
