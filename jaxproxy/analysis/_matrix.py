"""How much proxies agree with each other, and what they add to counts (host)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from jaxproxy.analysis._columns import (
    Column,
    archs_of,
    count_column,
    score_columns,
    truth_column,
)
from jaxproxy.analysis._rank import kendall, spearman
from jaxproxy.analysis._truth import Truth
from jaxproxy.runs import Run

MEASURES = {"spearman": spearman, "kendall": kendall}
CONTROLS = ("params", "macs")
_COLLINEAR = 1e-9  # share of the variance of ranks that a control must leave


def partial_spearman(a: np.ndarray, b: np.ndarray, given: np.ndarray) -> float:
    r"""Spearman's rho of two arrays [N] with controls ``given`` [N, K] held fixed.

    Mean ranks of ``a`` and of ``b`` are regressed by least squares on those of every
    control and a constant; the result is Pearson's correlation of the two residuals.
    For one control z it equals
    :math:`(r_{ab} - r_{az} r_{bz}) / \sqrt{(1 - r_{az}^2)(1 - r_{bz}^2)}`, r being
    Spearman's rho. NaN if the ranks of ``a`` or ``b`` are a linear function of the
    controls', a constant for instance.

    References:
      Kim, "ppcor: an R package for a fast calculation to semi-partial correlation
      coefficients", Communications for Statistical Applications and Methods 22, 2015.
    """
    if not len(a):
        return math.nan
    ranks = stats.rankdata(np.column_stack([a, b]), axis=0)
    controls = stats.rankdata(given, axis=0)
    design = np.column_stack([np.ones(len(a)), controls - controls.mean(0)])
    ranks -= ranks.mean(0)
    residuals = ranks - design @ np.linalg.lstsq(design, ranks, rcond=None)[0]
    left, total = (np.square(r).sum(0) for r in (residuals, ranks))
    if (left <= _COLLINEAR * total).any():
        return math.nan
    return float(residuals.T[0] @ residuals.T[1] / math.sqrt(left.prod()))


class Partial(NamedTuple):
    """How much a column tells of an accuracy beyond counts.

    Attributes:
      truth: name of the accuracy.
      proxy: name of the column.
      n: architectures that are valid in all columns concerned.
      rho: Spearman's rho.
      partial_rho: the same with the counts held fixed.
    """

    truth: str
    proxy: str
    n: int
    rho: float
    partial_rho: float


@dataclass(frozen=True)
class Matrix:
    """Rank correlations between the columns of a run.

    Attributes:
      measure: ``"spearman"`` or ``"kendall"``.
      names: K columns: proxies, ensembles, the counts in ``given``, truths.
      ranked_among: ensemble -> how many architectures its ranks are of.
      values: K rows of K correlations, of architectures valid in both columns; every
        column is turned so that higher is better. NaN where undefined.
      num_valid: K rows of K, how many architectures those are.
      given: counts that the partial correlations hold fixed.
      partial: what each score tells of each truth beyond the counts.
    """

    measure: str
    names: list[str]
    ranked_among: dict[str, int]
    values: list[list[float]]
    num_valid: list[list[int]]
    given: list[str]
    partial: list[Partial]


def matrix(
    run: Run,
    truths: Sequence[Truth] = (),
    *,
    given: Sequence[str] = (),
    measure: str = "spearman",
) -> Matrix:
    """Correlations between the proxies of a run, and with truths given counts.

    Args:
      run: a run with finished parts.
      truths: accuracies, columns of the matrix as well.
      given: counts of :data:`CONTROLS`, computed if the run has not scored them.
      measure: a name in :data:`MEASURES`.

    Raises:
      ValueError: an unknown measure or count, a truth that has none of the
        architectures, or a run of a space that is not in ``SPACES``.
      StoreError: the run cannot be read.
    """
    if measure not in MEASURES:
        raise ValueError(f"unknown measure {measure!r}; choose from {[*MEASURES]}")
    for name in given:
        if name not in CONTROLS:
            raise ValueError(f"cannot hold {name!r} fixed; choose from {CONTROLS}")
    archs, scores = archs_of(run), score_columns(run)
    known = {column.name: column for column in scores}
    counts = [known.get(n) or count_column(run, archs, n) for n in dict.fromkeys(given)]
    scores += [column for column in counts if column.name not in known]
    accuracies = [truth_column(run, archs, truth) for truth in truths]
    columns = [*scores, *accuracies]
    values, num_valid = _pairs(columns, measure)
    return Matrix(
        measure,
        [column.name for column in columns],
        {c.name: c.ranked_among for c in columns if c.ranked_among},
        values,
        num_valid,
        [column.name for column in counts],
        [_partial(s, a, counts) for a in accuracies for s in scores] if counts else [],
    )


def _pairs(
    columns: Sequence[Column], measure: str
) -> tuple[list[list[float]], list[list[int]]]:
    """Correlations and numbers of architectures of all pairs of columns."""
    size = len(columns)
    values, num_valid = np.full((size, size), np.nan), np.zeros((size, size), int)
    for i, one in enumerate(columns):
        for j, other in enumerate(columns[: i + 1]):
            both = one.valid & other.valid
            a, b = one.oriented[both], other.oriented[both]
            values[i, j] = values[j, i] = MEASURES[measure](a, b)
            num_valid[i, j] = num_valid[j, i] = both.sum()
    return values.tolist(), num_valid.tolist()


def _partial(score: Column, accuracy: Column, counts: Sequence[Column]) -> Partial:
    rows = np.logical_and.reduce([c.valid for c in (score, accuracy, *counts)])
    a, b = score.oriented[rows], accuracy.oriented[rows]
    given = np.column_stack([count.oriented[rows] for count in counts])
    return Partial(
        truth=accuracy.name,
        proxy=score.name,
        n=int(rows.sum()),
        rho=spearman(a, b),
        partial_rho=partial_spearman(a, b, given),
    )
