"""Pruning: arithmetic by hand, and what is not finite."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxproxy.search import PruningState, prune, pruning

# Masks of genes of three and two values: all, and without each of the five. Of each,
# a condition number, lower being better, and a number of regions, in two repeats.
CONDITION = [[100, 200], [90, 220], [80, 160], [120, 240], [80.01, 160.02], [100, 200]]
REGIONS = [[50, 40], [50, 40], [45, 36], [55, 44], [50.01, 40.01], [60, 48]]
SCORES = np.stack([CONDITION, REGIONS], axis=1)


def test_a_round_by_hand() -> None:
    """Changes (with - without) / with, to thousandths:

    condition .1 -.1, .2 .2, -.2 -.2, .2 .2, 0 0; means 0 .2 -.2 .2 0; ranks from the
    largest 1 0 2 0 1. Regions 0, .1, -.1, 0, -.2; ranks from the smallest 2 3 1 2 0.
    Sums 3 3 3 | 2 1: of the first gene the first of equals goes, of the second the
    last.
    """
    search = pruning((3, 2))
    state = search.init()
    assert state.mask.tolist() == [[True, True, True], [True, True, False]]
    state = search.tell(state, SCORES)
    assert state.mask.tolist() == [[False, True, True], [True, False, False]]
    assert (state.num_scored, state.finished) == (6, False)
    # Only the first gene has a choice left: with both, without 1, without 2.
    assert search.ask(state)[:, 0].tolist() == [
        [False, True, True],
        [False, False, True],
        [False, True, False],
    ]
    scores = np.array([[[10], [9]], [[10], [10]], [[5], [10]]])  # [3, 2, 1]
    state = search.tell(state, scores)
    assert state.finished
    assert state.code.tolist() == [1, 0]


def test_all_digits_count_if_asked() -> None:
    """Condition .1999 is no .2: ranks 2 0 3 1 2, regions 3 4 1 2 0.

    Sums 5 4 4 | 3 2.
    """
    search = pruning((3, 2), digits=None)
    state = search.tell(search.init(), SCORES)
    assert state.mask.tolist() == [[True, False, True], [True, False, False]]


def test_what_is_asked_for() -> None:
    """24, 18 and 12 candidates, and each time what is left."""
    asked = []

    def score(masks: np.ndarray) -> np.ndarray:
        asked.append(masks)
        return np.ones((len(masks), 2, 3))

    trace = prune(pruning((4,) * 6), score)
    assert [masks.shape for masks in asked] == [(25, 6, 4), (19, 6, 4), (13, 6, 4)]
    assert trace.num_scored == 57
    # Where all is equal, the first goes.
    assert trace.code.tolist() == [3] * 6
    assert trace.masks.sum((1, 2)).tolist() == [24, 18, 12, 6]
    for masks in asked:
        assert (masks[0] >= masks[1:]).all()
        assert ((masks[0] & ~masks[1:]).sum((1, 2)) == 1).all()
        assert len(np.unique(masks.reshape(len(masks), -1), axis=0)) == len(masks)


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=5),
    st.booleans(),
    st.integers(0, 2**31),
)
@settings(max_examples=50, deadline=None)
def test_what_is_worth_most_is_left(
    choices: list[int], higher: bool, seed: int
) -> None:
    """Of a score that is a sum over what is there."""
    rng = np.random.default_rng(seed)
    worth = rng.permutation(np.arange(1.0, 5 * len(choices) + 1)).reshape(-1, 5)
    worth = worth[:, : max(choices)]

    def score(masks: np.ndarray) -> np.ndarray:
        total = (masks * worth).sum((1, 2))
        return (total if higher else -total)[:, None, None]

    search = pruning(choices, higher_is_better=[higher], digits=None)
    code = prune(search, score).code
    best = [row[:num].argmax() for row, num in zip(worth, choices, strict=True)]
    assert code.tolist() == best


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_cannot_be_scored_without_a_value_keeps_it(bad: float) -> None:
    def score(masks: np.ndarray) -> np.ndarray:
        scores = 10.0 + masks[:, 0] @ [3.0, 2.0, 1.0]
        return np.where(masks[:, 0, 2], scores, bad)[:, None, None]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trace = prune(pruning((3,), higher_is_better=[True]), score)
    assert trace.code.tolist() == [2]


def test_repeats_that_cannot_be_scored_do_not_count() -> None:
    """The second repeat would remove the other value; the third says nothing."""
    scores = np.array([[4.0, np.nan, 0.0], [3.0, 9.0, 0.0], [2.0, np.inf, 0.0]])
    search = pruning((2,), higher_is_better=[True])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        state = search.tell(search.init(), scores[:, None])
    assert state.mask.tolist() == [[False, True]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_it_ends_if_nothing_can_be_scored(bad: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trace = prune(pruning((4, 1, 2)), lambda m: np.full((len(m), 2, 3), bad))
    assert trace.code.tolist() == [3, 0, 1]


def test_the_order_of_repeats_changes_nothing() -> None:
    """Thousandths are added up exactly: (.1 + .2) + .3 and .1 + (.2 + .3) are equal."""
    rng = np.random.default_rng(0)
    search = pruning((4,) * 6)
    changes = rng.integers(-3, 4, (25, 2, 3)) / 10
    scores = 100 * (1 - changes)
    scores[0] = 100
    first = search.tell(search.init(), scores)
    for order in ([1, 2, 0], [2, 1, 0], [0, 2, 1]):
        again = search.tell(search.init(), scores[:, :, order])
        np.testing.assert_array_equal(again.mask, first.mask)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"at least one value, not \[2, 0\]"):
        pruning((2, 0))
    with pytest.raises(ValueError, match=r"at least one value, not \[\]"):
        pruning(())
    with pytest.raises(ValueError, match="an entry for each proxy"):
        pruning((2,), higher_is_better=())
    with pytest.raises(ValueError, match="at least 0 or None, not -1"):
        pruning((2,), digits=-1)
    search = pruning((2,))
    for shape in ((3, 1, 1), (2, 2, 1), (3, 2)):
        with pytest.raises(ValueError, match=r"3 masks by 2 proxies are \[3, 2, S\]"):
            search.tell(search.init(), np.ones(shape))
    assert PruningState(np.ones((2, 1), bool)).finished
