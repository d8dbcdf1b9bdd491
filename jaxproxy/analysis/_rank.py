"""How well a score ranks trained architectures, and how certain that is.

Ties are never broken by position in the array. Kendall's tau is tau-b, Spearman's rho
uses mean ranks, and whatever looks at the best k takes the expectation over a random
order of equal values: architectures tied across the k-th place share the places that
are left. So every number is deterministic and independent of the order of the rows.

Accuracies are in percent, higher is better; scores likewise higher is better, except
in :func:`correlate`, which can turn both.
"""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

Statistic = Callable[[np.ndarray, np.ndarray], float]


def _pair(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as finite float64[N]; ValueError otherwise."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(
            f"expected two arrays [N], got shapes {list(a.shape)} and {list(b.shape)}"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError(
            "values must be finite; leave invalid ones out, and count them"
        )
    return a, b


def _varies(*arrays: np.ndarray) -> bool:
    """Whether a correlation is defined: no array is empty or constant."""
    return all(len(a) > 1 and np.ptp(a) > 0 for a in arrays)


def kendall(a: np.ndarray, b: np.ndarray) -> float:
    """Kendall's tau-b of two arrays ``[N]``; NaN if one is constant."""
    a, b = _pair(a, b)
    return float(stats.kendalltau(a, b).statistic) if _varies(a, b) else math.nan


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rho of two arrays ``[N]``, mean ranks; NaN if one is constant."""
    a, b = _pair(a, b)
    if not _varies(a, b):
        return math.nan
    return float(np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1])


def _num_top(n: int, percent: float) -> int:
    """Number of architectures in the top ``percent`` of ``n``, rounded up."""
    if not 0 < percent <= 100:
        raise ValueError(f"percent must be in (0, 100], got {percent}")
    return math.ceil(n * percent / 100)


def _membership(values: np.ndarray, k: int) -> np.ndarray:
    """Probability float64[N] to be among the best k if ties are broken at random."""
    if k == 0:
        return np.zeros(len(values))
    threshold = np.partition(values, -k)[-k]
    above, tied = values > threshold, values == threshold
    return above + tied * ((k - above.sum()) / tied.sum())


def top_overlap(
    score: np.ndarray, accuracy: np.ndarray, *, percent: float = 10.0
) -> float:
    """Fraction of the truly best ``percent`` that is in the predicted best ``percent``.

    Both sets have ``ceil(N * percent / 100)`` members, expected over ties. NaN if
    there is nothing to compare.

    References:
      Abdelfattah et al., "Zero-cost proxies for lightweight NAS", ICLR 2021, and
      Gracheva (epsinas), arXiv:2302.04406: the column "top-10 %/top-10 %".
    """
    score, accuracy = _pair(score, accuracy)
    k = _num_top(len(score), percent)
    if k == 0:
        return math.nan
    return float(_membership(score, k) @ _membership(accuracy, k) / k)


def top_hits(
    score: np.ndarray, accuracy: np.ndarray, *, num: int = 64, percent: float = 5.0
) -> float:
    """How many of the ``num`` best predicted are in the truly best ``percent``.

    Out of ``min(num, N)``, expected over ties, hence not always an integer. NaN if
    there is nothing to compare.

    References:
      Abdelfattah et al., "Zero-cost proxies for lightweight NAS", ICLR 2021: the
      column "top-64/top-5 %".
    """
    score, accuracy = _pair(score, accuracy)
    k = _num_top(len(score), percent)
    if k == 0:
        return math.nan
    return float(_membership(score, min(num, len(score))) @ _membership(accuracy, k))


def _truly_best(
    score: np.ndarray, accuracy: np.ndarray, percent: float
) -> tuple[np.ndarray, np.ndarray]:
    """Both arrays on the truly best ``percent`` and all tied for its last place."""
    score, accuracy = _pair(score, accuracy)
    k = _num_top(len(accuracy), percent)
    best = accuracy >= np.sort(accuracy)[::-1][k - 1 : k]
    return score[best], accuracy[best]


def kendall_top(
    score: np.ndarray, accuracy: np.ndarray, *, percent: float = 10.0
) -> float:
    """Kendall's tau-b among the truly best ``percent``."""
    return kendall(*_truly_best(score, accuracy, percent))


def spearman_top(
    score: np.ndarray, accuracy: np.ndarray, *, percent: float = 10.0
) -> float:
    """Spearman's rho among the truly best ``percent``."""
    return spearman(*_truly_best(score, accuracy, percent))


def ndcg(score: np.ndarray, accuracy: np.ndarray, *, k: int = 1000) -> float:
    r"""Normalised discounted cumulative gain of the k best predicted.

    :math:`\sum_{i \le k} (2^{acc_i} - 1) / \log_2(i + 1)` in the predicted order,
    divided by the same in the true order. Gains double with every percent point, so
    accuracies as fractions give another, nearly constant, number. Gains are computed
    relative to the largest, so that no accuracy overflows. NaN if no gain is positive.

    References:
      Tybl and Neumann, "VKDNW", CVPR 2025: this gain, and k = 1000.
    """
    score, accuracy = _pair(score, accuracy)
    if k < 1:
        raise ValueError(f"k must be positive, got {k}")
    if not len(accuracy) or accuracy.max() <= 0:
        return math.nan
    gain = np.exp2(accuracy - accuracy.max()) - np.exp2(-accuracy.max())
    discount = 1 / np.log2(np.arange(2, min(k, len(gain)) + 2))
    # Within a tie every order is equally likely: each member has the mean gain.
    _, group, size = np.unique(-score, return_inverse=True, return_counts=True)
    mean_gain = (np.bincount(group, gain) / size)[np.sort(group)]
    ideal = np.sort(gain)[::-1][: len(discount)]
    return float(mean_gain[: len(discount)] @ discount / (ideal @ discount))


#: Fields of :class:`Correlation` that are statistics of a score and an accuracy.
MEASURES: dict[str, Statistic] = {
    "tau": kendall,
    "rho": spearman,
    "tau_top10": kendall_top,
    "rho_top10": spearman_top,
    "top10_top10": top_overlap,
    "top64_top5": top_hits,
    "ndcg1000": ndcg,
}


def bootstrap(
    statistic: Statistic,
    a: np.ndarray,
    b: np.ndarray,
    *,
    num: int = 200,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval of ``statistic(a, b)`` over architectures.

    Architectures are drawn with replacement, in pairs. The same seed and N draw the
    same architectures for every statistic and every score. An interval says what
    another sample of architectures would give, not what another seed would. Resamples
    on which the statistic is undefined are left out; NaN if that leaves none.

    Args:
      statistic: maps two arrays ``[N]`` to a number.
      a: float[N], usually scores.
      b: float[N], usually accuracies.
      num: number of resamples.
      seed: seed of the resampling.
      level: coverage of the interval.
    """
    a, b = _pair(a, b)
    if num < 1 or not 0 < level < 1:
        raise ValueError(f"need num >= 1 and 0 < level < 1, got {num} and {level}")
    if not len(a):
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    draws = (rng.integers(0, len(a), len(a)) for _ in range(num))
    values = np.array([statistic(a[draw], b[draw]) for draw in draws])
    values = values[~np.isnan(values)]
    if not len(values):
        return math.nan, math.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def tied_pairs(values: np.ndarray) -> float:
    """Fraction of the pairs of architectures that have equal values ``[N]``."""
    n = len(values)
    if n < 2:
        return 0.0
    _, counts = np.unique(values, return_counts=True)
    return float((counts * (counts - 1)).sum() / (n * (n - 1)))


@dataclass(frozen=True)
class Correlation:
    """How a score ranks the architectures it covers.

    Attributes:
      n: architectures that were asked for.
      num_valid: architectures with a valid score; all below is about these only.
      coverage: ``num_valid / n``. Report it: leaving out architectures changes the
        other numbers more than most proxies differ.
      score_ties: fraction of pairs with equal scores.
      truth_ties: fraction of pairs with equal accuracies.
      tau: Kendall's tau-b.
      rho: Spearman's rho.
      tau_top10: tau-b among the truly best 10 % of the covered architectures.
      rho_top10: rho among them.
      top10_top10: fraction of the truly best 10 % in the predicted best 10 %.
      top64_top5: how many of the 64 best predicted are in the truly best 5 %.
      ndcg1000: nDCG of the 1,000 best predicted.
      intervals: measure -> 95 % bootstrap interval; empty unless asked for.
    """

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
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def correlate(
    score: np.ndarray,
    valid: np.ndarray,
    accuracy: np.ndarray,
    *,
    higher_is_better: bool = True,
    lower: bool = False,
    num_bootstrap: int = 0,
) -> Correlation:
    """Compares a score with trained accuracies, all measures at once.

    An architecture without a valid, finite score is left out and counted; it is not
    ranked last.

    Args:
      score: float[N].
      valid: bool[N], false where the score is not to be trusted.
      accuracy: float[N], percent, finite.
      higher_is_better: whether a high score predicts a good accuracy.
      lower: whether a low accuracy is a good one, as of a loss; nDCG is NaN then.
      num_bootstrap: resamples for the intervals; 0 for none.

    Raises:
      ValueError: shapes differ, or an accuracy is not finite.
    """
    score, valid = np.asarray(score, np.float64), np.asarray(valid, bool)
    shapes = [str([*np.shape(values)]) for values in (score, valid, accuracy)]
    if len(set(shapes)) > 1:
        named = ", ".join(shapes)
        raise ValueError(f"score, valid and accuracy differ in shape: {named}")
    valid = valid & np.isfinite(score)
    _, accuracy = _pair(np.where(valid, score, 0.0), accuracy)
    n, score, accuracy = len(score), score[valid], accuracy[valid]
    score = score if higher_is_better else -score
    accuracy = -accuracy if lower else accuracy
    measures = MEASURES | ({"ndcg1000": lambda a, b: math.nan} if lower else {})
    interval = functools.partial(bootstrap, a=score, b=accuracy, num=num_bootstrap)
    return Correlation(
        n=n,
        num_valid=len(score),
        coverage=len(score) / n if n else math.nan,
        score_ties=tied_pairs(score),
        truth_ties=tied_pairs(accuracy),
        intervals={m: interval(f) for m, f in measures.items() if num_bootstrap},
        **{measure: f(score, accuracy) for measure, f in measures.items()},
    )
