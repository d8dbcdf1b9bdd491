"""Which scores to rank together, chosen on few architectures with accuracies (host).

A set is worth what the architecture is worth that it puts first among ``n`` random
ones, and how well it ranks them all. From several random sets on, one member after the
other is exchanged for the best in its place, as long as that helps.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from scipy import stats

from jaxproxy.analysis._best_of import shares
from jaxproxy.analysis._ensembles import rounded_log_rank_sum
from jaxproxy.options import check_choices, quoted


class Labelled(NamedTuple):
    """Architectures of one space whose accuracies are known.

    Attributes:
      scores: name -> float64[N], or [S, N] for S seeds, higher is better.
      accuracy: float64[N], or [T, N] for T data sets, higher is better, finite.
    """

    scores: Mapping[str, np.ndarray]
    accuracy: np.ndarray


class Choice(NamedTuple):
    """A set of scores that are ranked together by :func:`rounded_log_rank_sum`.

    Attributes:
      components: their names.
      value: what was made large; comparable between choices of the same call alone.
      found: mean accuracy of the first of n, in standard deviations from the mean, for
        each space, over data sets and seeds.
      rho: rank correlation with the mean accuracy, for each space, over seeds.
    """

    components: tuple[str, ...]
    value: float
    found: tuple[float, ...]
    rho: tuple[float, ...]


_Worth: TypeAlias = tuple[np.ndarray, np.ndarray]


def choose(
    labelled: Sequence[Labelled],
    num: int,
    *,
    n: int = 50,
    weight: float = 1.0,
    over: Literal["mean", "min"] = "mean",
    starts: int = 4,
    seed: int = 0,
) -> Choice:
    """Returns the scores that find and rank best together.

    Give few of the accuracies that there are, and test on the others.

    Args:
      labelled: one entry for each space; only scores that all of them have are chosen
        from.
      num: how many scores.
      n: architectures among which the first is to be good, at most N.
      weight: of rank correlation beside what is found; 0 for finding alone.
      over: the mean of spaces, or the worst of them.
      starts: random sets to begin with.
      seed: of these.

    Raises:
      ValueError: shapes that do not fit, accuracies that are not finite, fewer scores
        in common than wanted, or numbers that cannot be.
    """
    check_choices(over=(over, ("mean", "min")))
    names = _names(labelled, num)
    if starts < 1:
        raise ValueError(f"starts is at least 1, not {starts}")
    spaces = [_Space(entry, names, n) for entry in labelled]
    join = np.mean if over == "mean" else np.min

    def worth(chosen: Sequence[int], free: np.ndarray) -> np.ndarray:
        values = [space.worth([*chosen], free) for space in spaces]
        return join([found + weight * rho for found, rho in values], axis=0)

    rng = np.random.default_rng(seed)
    begin = [rng.choice(len(names), num, replace=False) for _ in range(starts)]
    places = max(_exchange([*map(int, b)], worth, len(names)) for b in begin)[1]
    each = [space.worth(places[:-1], np.array(places[-1:])) for space in spaces]
    return Choice(
        tuple(names[place] for place in places),
        float(worth(places[:-1], np.array(places[-1:]))[0]),
        tuple(float(found[0]) for found, _ in each),
        tuple(float(rho[0]) for _, rho in each),
    )


def score_chosen(
    components: Sequence[str], scores: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Returns what a set of scores gives each architecture, float64[N].

    Raises:
      ValueError: a component is missing.
    """
    missing = [name for name in components if name not in scores]
    if missing:
        raise ValueError(f"there are no scores {missing}; there are {sorted(scores)}")
    return rounded_log_rank_sum(np.stack([scores[name] for name in components], 1))


def _exchange(
    chosen: list[int],
    worth: Callable[[Sequence[int], np.ndarray], np.ndarray],
    num: int,
) -> tuple[float, list[int]]:
    """Replaces one member after the other by the best in its place."""
    best, changed = -np.inf, True
    while changed:
        changed = False
        for _ in range(len(chosen)):
            rest = chosen[1:]
            free = np.setdiff1d(np.arange(num), rest)
            values = worth(rest, free)
            place = int(values.argmax())
            if values[place] > best + 1e-9:
                changed |= bool(free[place] != chosen[0]) or best == -np.inf
                best, chosen = float(values[place]), [*rest, int(free[place])]
            else:
                chosen = [*rest, chosen[0]]
    return best, chosen


class _Space:
    """Log ranks of all scores of a space, and what sets of them are worth."""

    def __init__(self, labelled: Labelled, names: Sequence[str], n: int) -> None:
        accuracy = np.atleast_2d(np.asarray(labelled.accuracy, float))
        columns = [np.atleast_2d(labelled.scores[name]) for name in names]
        shapes = {column.shape for column in columns}
        if len(shapes) > 1 or columns[0].shape[1:] != accuracy.shape[1:]:
            raise ValueError(
                f"scores of shapes {sorted(shapes)} and accuracies of shape "
                f"{accuracy.shape} are not of the same architectures and seeds"
            )
        if not np.isfinite(accuracy).all():
            raise ValueError("accuracies must be finite")
        if not 1 <= n <= accuracy.shape[1]:
            raise ValueError(f"cannot choose of {n} among {accuracy.shape[1]}")
        spread = accuracy.std(1, keepdims=True)
        if not spread.all():
            raise ValueError("all accuracies of a data set are equal")
        # [S, K, N]: log rank / N, each column by itself.
        self.parts = np.stack(
            [
                [rounded_log_rank_sum(column[s][:, None]) for column in columns]
                for s in range(columns[0].shape[0])
            ]
        )
        self.accuracy = ((accuracy - accuracy.mean(1, keepdims=True)) / spread).mean(0)
        ranks = stats.rankdata(self.accuracy)
        self.ranks = (ranks - ranks.mean()) / ranks.std()
        # What the k-th best of all counts, if no two are equal.
        self.shares = shares(-np.arange(accuracy.shape[1], dtype=float), n)

    def worth(self, rest: Sequence[int], free: np.ndarray) -> _Worth:
        """Returns what is found and rho, float64[F], of the rest with each of F."""
        found, rho = np.zeros(len(free)), np.zeros(len(free))
        for parts in self.parts:
            totals = parts[rest].sum(0) + parts[free]
            order = np.argsort(-totals, axis=1, kind="stable")
            found += self.accuracy[order] @ self.shares
            ranks = stats.rankdata(totals, axis=1)
            spread = ranks.std(1)
            centred = (ranks - ranks.mean(1, keepdims=True)) @ self.ranks
            rho += centred / ranks.shape[1] / np.where(spread > 0, spread, np.inf)
        return found / len(self.parts), rho / len(self.parts)


def _names(labelled: Sequence[Labelled], num: int) -> list[str]:
    if not labelled:
        raise ValueError("give the architectures of at least one space")
    common = set.intersection(*(set(entry.scores) for entry in labelled))
    names = [name for name in labelled[0].scores if name in common]
    if not 1 <= num <= len(names):
        raise ValueError(
            f"cannot choose {num} of the {len(names)} scores that all spaces have: "
            f"{quoted(sorted(names))}"
        )
    return names
