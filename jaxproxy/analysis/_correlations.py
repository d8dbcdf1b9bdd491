"""How the columns of a run rank, against every truth and on every set (host code)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxproxy.analysis._best_of import best_of_1000
from jaxproxy.analysis._columns import (
    Column,
    archs_of,
    score_columns,
    subsets,
    truth_column,
)
from jaxproxy.analysis._rank import correlate
from jaxproxy.analysis._truth import Truth
from jaxproxy.options import check_counts
from jaxproxy.runs import Run


class Record(NamedTuple):
    """How one column ranks the architectures of one set, against one truth.

    Attributes:
      truth: name of the accuracies.
      proxy: name of the proxy, variant or ensemble.
      set: ``"all"``, or ``"reachable"`` for the architectures without unreachable
        operations.
      ranked_among: for an ensemble, of how many architectures its ranks are, whatever
        the set; None for a proxy.
      lower: whether a lower value of the truth is a better one.
      num_unknown: architectures of the set without an accuracy, which are left out.
      best_of1000: mean accuracy of the first by score of 1,000 random ones of the set,
        as :func:`best_of`; NaN if it has fewer.

    The other fields are those of :class:`Correlation`.
    """

    truth: str
    proxy: str
    set: str
    ranked_among: int | None
    lower: bool
    num_unknown: int
    best_of1000: float
    n: int
    num_valid: int
    coverage: float
    score_ties: float
    truth_ties: float
    tau: float
    rho: float
    tau_top10: float
    rho_top10: float
    top10_top10: float
    top64_top5: float
    ndcg1000: float
    intervals: Mapping[str, tuple[float, float]]


def correlations(
    run: Run, truths: Sequence[Truth], *, num_bootstrap: int = 0
) -> list[Record]:
    """Returns how every proxy and ensemble of a run ranks, against every truth.

    Args:
      run: a run with finished parts.
      truths: architectures that a truth does not have are left out and counted.
      num_bootstrap: resamples for the intervals; 0 for none.

    Returns:
      A record for each truth, set and column. The set without unreachable operations
      is reported as well where the run is large enough to have one.

    Raises:
      ValueError: a truth has none of the architectures.
      StoreError: the run cannot be read.
    """
    columns, archs = score_columns(run), archs_of(run)
    sets = subsets(run, archs)
    records = []
    for truth in truths:
        accuracy = truth_column(run, archs, truth)
        for label, members in sets.items():
            records += compare(
                columns, accuracy, members, label=label, num_bootstrap=num_bootstrap
            )
    return records


def compare(
    columns: Sequence[Column],
    accuracy: Column,
    members: np.ndarray,
    *,
    label: str = "all",
    num_bootstrap: int = 0,
) -> Iterator[Record]:
    """Yields the record of each column on one set of architectures.

    Args:
      columns: scores of N architectures.
      accuracy: of the same.
      members: bool[N], the set to report on.
      label: what the records call the set.
      num_bootstrap: resamples for the intervals; 0 for none.
    """
    if num_bootstrap:
        check_counts(bootstrap=num_bootstrap)
    rows, missing = accuracy.valid & members, members & ~accuracy.valid
    for column in columns:
        correlation = correlate(
            column.values[rows],
            column.valid[rows],
            accuracy.values[rows],
            higher_is_better=column.higher_is_better,
            lower=not accuracy.higher_is_better,
            num_bootstrap=num_bootstrap,
        )
        yield Record(
            truth=accuracy.name,
            proxy=column.name,
            set=label,
            ranked_among=column.ranked_among,
            lower=not accuracy.higher_is_better,
            num_unknown=int(missing.sum()),
            best_of1000=best_of_1000(column.oriented[rows], accuracy.values[rows]),
            **vars(correlation),
        )
