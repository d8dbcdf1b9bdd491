"""What a score finds: the accuracy of the first of N random architectures (host)."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from jaxproxy.analysis._columns import (
    Column,
    archs_of,
    count_column,
    is_known,
    score_columns,
    truth_column,
)
from jaxproxy.analysis._truth import Truth
from jaxproxy.limits import check_memory
from jaxproxy.options import check_counts
from jaxproxy.runs import Run

SIZES = (100, 1_000, 5_000)


class Found(NamedTuple):
    """Accuracy of the architecture that is chosen of N random ones, in its unit."""

    mean: float
    std: float
    """Of one choice, over samples; not of the mean."""


class BestOf(NamedTuple):
    """What one column finds among ``n`` random architectures, by one truth."""

    proxy: str
    """Of a run, an ensemble, ``params``, or ``ceiling``: the truth itself."""
    truth: str
    n: int
    mean: float
    std: float
    within: float = 1.0
    """Share of the largest count that architectures had at most; 1 for all of them."""


def best_of(
    score: np.ndarray, accuracy: np.ndarray, *, n: int, runs: int = 0, seed: int = 0
) -> Found:
    """Returns what is found by taking the first by score of ``n`` random architectures.

    In expectation over samples without replacement and over the order of equal scores.
    What has no score is taken only if nothing in the sample has one.

    Args:
      score: float[N], higher is better, NaN where there is none.
      accuracy: float[N], finite, in any unit; it is reported, and never ranked.
      n: size of a sample, 1 to N.
      runs: how many random samples; 0 for all there are, exactly.
      seed: of the random samples.

    Raises:
      ValueError: shapes differ, an accuracy is not finite, or a sample is impossible.
    """
    score, accuracy = np.asarray(score, float), np.asarray(accuracy, float)
    if score.ndim != 1 or score.shape != accuracy.shape:
        shapes = f"{list(score.shape)} and {list(accuracy.shape)}"
        raise ValueError(f"expected two arrays [N], got shapes {shapes}")
    if not np.isfinite(accuracy).all():
        raise ValueError("accuracies must be finite")
    if runs < 0:
        raise ValueError(f"runs is 0 for all samples, or how many; got {runs}")
    if not 1 <= n <= len(score):
        raise ValueError(f"cannot choose of {n} among {len(score)} architectures")
    score = np.where(np.isnan(score), -np.inf, score)
    if runs:
        check_counts(runs=runs)
        check_memory(8 * n, runs=runs)
        rng = np.random.default_rng(seed)
        draws = np.stack([rng.permutation(len(score))[:n] for _ in range(runs)])
        return best_of_draws(score, accuracy, draws)
    each = shares(score, n)
    mean = float(each @ accuracy)
    return Found(mean, math.sqrt(max(0.0, float(each @ (accuracy - mean) ** 2))))


def best_of_draws(score: np.ndarray, accuracy: np.ndarray, draws: np.ndarray) -> Found:
    """Returns what is found in given samples, of equal scores the first that was drawn.

    Args:
      score: float[N], higher is better, NaN where there is none.
      accuracy: float[N], percent.
      draws: int[R, n], which architectures each of R samples has, in order.
    """
    values = np.asarray(score, float)[draws]
    places = np.where(np.isnan(values), -np.inf, values).argmax(1)
    chosen = np.take_along_axis(draws, places[:, None], axis=1)[:, 0]
    found = np.asarray(accuracy, float)[chosen]
    return Found(float(found.mean()), float(found.std()))


def shares(score: np.ndarray, n: int) -> np.ndarray:
    """Returns how often each is the first of a sample, float64[N], summing to one."""
    # The k-th best of all is the first of a sample of it and n - 1 of the worse ones:
    # for N = 4 and n = 2 that is 3/6, 2/6, 1/6, 0.
    worse = np.arange(len(score))[::-1]
    with np.errstate(invalid="ignore"):
        logs = _log_choose(worse, n - 1) - _log_choose(np.array(len(score)), n)
    first = np.where(worse >= n - 1, np.exp(logs), 0.0)
    _, group, size = np.unique(-score, return_inverse=True, return_counts=True)
    order = np.argsort(group, kind="stable")
    # Within a tie every order is equally likely, so all members share alike.
    each = (np.bincount(group[order], first) / size)[group]
    return each / each.sum()


def best_of_1000(score: np.ndarray, accuracy: np.ndarray) -> float:
    """Returns the mean accuracy found among 1,000, NaN if there are fewer."""
    if len(score) < 1_000:
        return math.nan
    return best_of(score, accuracy, n=1_000).mean


def best_of_columns(
    run: Run,
    truths: Sequence[Truth],
    sizes: Sequence[int] | None = None,
    *,
    runs: int = 0,
    within: Sequence[float] = (),
    count: str = "params",
) -> list[BestOf]:
    """Returns what every proxy and ensemble of a run finds, beside two controls.

    Counting parameters, ``params``, wherever the space of the run is known; and the
    best that there is, ``ceiling``.

    Args:
      run: a run with finished parts, best of random architectures.
      truths: architectures that a truth does not have are left out.
      sizes: of samples; None for those of 100, 1,000 and 5,000 that there are.
      runs: how many random samples; 0 for all there are, exactly.
      within: budgets, shares of the largest count in the run, above 0 and below 1.
        Among architectures that a budget allows, size helps less.
      count: which exact count that is.

    Returns:
      A record for each budget, truth, size and column; all architectures come first.

    Raises:
      ValueError: a truth has none of the architectures, or fewer than a sample, a
        budget that is none, or a count that the run's space does not have.
      StoreError: the run cannot be read.
    """
    columns, archs = score_columns(run), archs_of(run)
    if is_known(run) and all(column.name != "params" for column in columns):
        columns.append(count_column(run, archs, "params"))
    if not all(0 < share < 1 for share in within):
        raise ValueError(f"budgets are shares above 0 and below 1, not {[*within]}")
    allowed = {1.0: np.ones(len(archs), bool)}
    if within:
        counts = count_column(run, archs, count).values
        allowed |= {share: counts <= share * counts.max() for share in within}
    records: list[BestOf] = []
    for share, truth in itertools.product(allowed, truths):
        accuracy = truth_column(run, archs, truth)
        inside = accuracy.valid & allowed[share]
        num = int(inside.sum())
        where = "" if share == 1 else f" within {share:g} of the largest {count}"
        given = sizes or [n for n in SIZES if n <= num] or [num]
        for n in given:
            if not 1 <= n <= num:
                raise ValueError(
                    f"best of {n}: {truth.name} has the accuracies of {num} of the "
                    f"architectures of {run.path}{where}"
                )
            found = _records(columns, accuracy, inside, n, runs)
            records += [record._replace(within=share) for record in found]
    return records


def _records(
    columns: Sequence[Column], accuracy: Column, inside: np.ndarray, n: int, runs: int
) -> Iterator[BestOf]:
    known = accuracy.values[inside]
    for column in columns:
        found = best_of(column.oriented[inside], known, n=n, runs=runs)
        yield BestOf(column.name, accuracy.name, n, *found)
    best = best_of(accuracy.oriented[inside], known, n=n, runs=runs)
    yield BestOf("ceiling", accuracy.name, n, *best)


def _log_choose(total: np.ndarray, chosen: int) -> np.ndarray:
    """Returns log of the binomial coefficients, float64[...], total >= chosen."""
    rest = np.maximum(total - chosen, 0)
    return gammaln(total + 1) - gammaln(chosen + 1) - gammaln(rest + 1)
