"""Pruning: from all options of all genes, those go that are missed least (host code).

What is scored are masks bool[G, V]: which of its values each gene may still have. A
space whose network takes a mask is a supernet, and any proxy can score it.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class PruningState(NamedTuple):
    """What is left."""

    mask: np.ndarray
    """bool[G, V], V the largest number of values of a gene."""
    num_scored: int = 0
    """How many masks have been told."""

    @property
    def finished(self) -> bool:
        """Whether every gene has one value."""
        return bool((self.mask.sum(1) <= 1).all())

    @property
    def code(self) -> np.ndarray:
        """The first value that each gene may still have, int32[G]."""
        return self.mask.argmax(1).astype(np.int32)


class Pruning(NamedTuple):
    """Rounds that remove one value of every gene which has several."""

    init: Callable[[], PruningState]
    """-> the state in which all values are left."""
    ask: Callable[[PruningState], np.ndarray]
    """state -> masks bool[1 + n, G, V] to be scored: what is left, and what would be
    without each value of each gene that has several, in this order of both."""
    tell: Callable[[PruningState, np.ndarray], PruningState]
    """state, scores float[1 + n, K, S] of those masks by K proxies in S repeats ->
    state of the next round."""


class PruningTrace(NamedTuple):
    """A finished pruning."""

    code: np.ndarray
    """The value that is left of each gene, int32[G]."""
    masks: np.ndarray
    """bool[rounds + 1, G, V], what was left before, between and after the rounds."""
    num_scored: int
    """How many masks were scored, each by all proxies and in all repeats."""


def pruning(
    choices: Sequence[int],
    *,
    higher_is_better: Sequence[bool] = (False, True),
    digits: int | None = 3,
) -> Pruning:
    """Returns the pruning by how much scores change if a value is removed.

    The change of a score is (with - without) over the magnitude of the first, and a
    harm if the score gets worse. The mean harm of the repeats is ranked over all
    candidates of the round, equal ones alike, for each proxy; ranks of proxies are
    added up. Of each gene, the value of the smallest sum goes, and of equal ones the
    first.

    A score without a value that is not finite is an infinite harm. Repeats whose score
    with the value is not finite do not count; if none counts, harms are infinite.

    Args:
      choices: how many values each of the G genes has.
      higher_is_better: of each of the K proxies; by default those of TE-NAS, condition
        number of the tangent kernel and number of linear regions.
      digits: decimals to which changes are rounded before the mean, as in the code of
        the paper, so that small differences do not count; None for all.

    Raises:
      ValueError: no gene, a gene without values, no proxy, or negative digits; from
        ``tell``, scores that do not fit what is asked for.

    References:
      Chen et al., "Neural architecture search on ImageNet in four GPU hours" (TE-NAS),
      ICLR 2021, algorithm 1, arXiv:2102.11535.
    """
    if not len(choices) or min(choices) < 1:
        raise ValueError(f"every gene has at least one value, not {list(choices)}")
    if not len(higher_is_better):
        raise ValueError("higher_is_better has an entry for each proxy, at least one")
    if digits is not None and digits < 0:
        raise ValueError(f"digits is at least 0 or None, not {digits}")
    signs = np.where(higher_is_better, 1.0, -1.0)

    def init() -> PruningState:
        return PruningState(np.arange(max(choices)) < np.array(choices)[:, None])

    def ask(state: PruningState) -> np.ndarray:
        return _asked(state.mask)

    def tell(state: PruningState, scores: np.ndarray) -> PruningState:
        return _told(state, np.asarray(scores, float), signs, digits)

    return Pruning(init, ask, tell)


def prune(search: Pruning, score: Callable[[np.ndarray], np.ndarray]) -> PruningTrace:
    """Returns what a pruning leaves.

    Args:
      search: see :func:`pruning`.
      score: masks bool[n, G, V] -> scores float[n, K, S].
    """
    state = search.init()
    masks = [state.mask]
    while not state.finished:
        state = search.tell(state, score(search.ask(state)))
        masks.append(state.mask)
    return PruningTrace(state.code, np.stack(masks), state.num_scored)


def _candidates(mask: np.ndarray) -> np.ndarray:
    """Returns (gene, value) of all that could be removed, int64[n, 2]."""
    return np.argwhere(mask & (mask.sum(1) > 1)[:, None])


def _asked(mask: np.ndarray) -> np.ndarray:
    candidates = _candidates(mask)
    masks = np.repeat(mask[None], 1 + len(candidates), axis=0)
    masks[1 + np.arange(len(candidates)), *candidates.T] = False
    return masks


def _told(
    state: PruningState, scores: np.ndarray, signs: np.ndarray, digits: int | None
) -> PruningState:
    candidates = _candidates(state.mask)
    num, proxies = 1 + len(candidates), len(signs)
    if scores.ndim != 3 or scores.shape[:2] != (num, proxies):
        raise ValueError(
            f"scores of {num} masks by {proxies} proxies are [{num}, {proxies}, S], "
            f"not {list(scores.shape)}"
        )
    ranks = _rank_sums(scores, signs, digits)
    mask = state.mask.copy()
    for gene in np.unique(candidates[:, 0]):
        own = np.flatnonzero(candidates[:, 0] == gene)
        mask[gene, candidates[own[np.argmin(ranks[own])], 1]] = False
    return PruningState(mask, state.num_scored + num)


def _rank_sums(scores: np.ndarray, signs: np.ndarray, digits: int | None) -> np.ndarray:
    """Returns the sums over proxies of dense ranks int64[n], least harm first."""
    present, without = scores[:1], scores[1:]
    known = np.isfinite(present)
    with np.errstate(all="ignore"):
        harm = signs[None, :, None] * (present - without) / np.abs(present)
        if digits is not None:
            # As whole numbers, whose sums are exact: equal means stay equal.
            harm = np.round(harm * 10.0**digits)
        harm = np.where(present == without, 0.0, harm)  # zero both, too
        harm = np.where(np.isfinite(without), harm, np.inf)
        # [n, K]; 0 / 0 where no repeat is known.
        mean = np.where(known, harm, 0.0).sum(2) / known.sum(2)
    mean = np.where(np.isnan(mean), np.inf, mean)
    ranks = [np.unique(column, return_inverse=True)[1] for column in mean.T]
    return np.sum([rank.reshape(-1) for rank in ranks], axis=0)
