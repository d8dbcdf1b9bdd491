"""Pruning on the scores of scorers, and scorers with other seeds."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.blocks import assert_same

from jaxproxy.proxies import parse_proxy
from jaxproxy.scoring import BlockScores, Scorer, make_scorer, prune_live
from jaxproxy.search import prune, pruning
from jaxproxy.spaces import nasbench201, nasbench201_supernet
from jaxproxy.types import Fidelity

SUPERNET = nasbench201_supernet()
BARE = nasbench201_supernet(bare=True)
CHOICES = (4,) * 6


class _Fake:
    """A score that is a sum over what is live, lower being better, in two repeats."""

    def __init__(self, worth: np.ndarray, vital: tuple[int, int] | None = None) -> None:
        self.space, self.seeds, self.worth = SUPERNET, (0, 1), worth
        self.proxies = [SimpleNamespace(name="x", count=None, higher_is_better=False)]
        self.vital, self.asked = vital, [0]

    def score(self, codes: np.ndarray) -> BlockScores:
        live = SUPERNET.check_codes(codes).reshape(-1, 6, 4)
        self.asked.append(len(live))
        scores = 100.0 - np.stack([(live * self.worth).sum((1, 2))] * 2, axis=1)
        valid = np.ones(scores.shape, bool)
        if self.vital is not None:
            valid[live[:, *self.vital] == 0] = False
        return BlockScores({"x": scores}, {"x": valid}, {}, {})


WORTH = np.random.default_rng(0).permutation(24).reshape(6, 4) / 10 + 0.1


def test_a_round_is_a_call() -> None:
    fake: Any = _Fake(WORTH)
    trace = prune_live([fake, fake], CHOICES, digits=None)
    assert trace.code.tolist() == WORTH.argmax(1).tolist()
    assert fake.asked == [0, 25, 25, 19, 19, 13, 13]


def test_what_is_not_valid_is_no_score() -> None:
    """The worst of the first edge cannot be missed."""
    worst = int(WORTH[0].argmin())
    fake: Any = _Fake(WORTH, vital=(0, worst))
    trace = prune_live([fake], CHOICES, digits=None)
    assert trace.code.tolist() == [worst, *WORTH[1:].argmax(1)]


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    """Of the smallest network there is, in blocks that are not always full."""
    return make_scorer(
        BARE,
        ["linear_regions(hashed=True)"],
        fidelity=Fidelity(width=1, cells=1, batch_size=400, resolution=3),
        seeds=[4, 9],
        devices=1,
        block_size=7,
    )


def test_other_seeds_without_compiling_again(scorer: Scorer) -> None:
    codes = BARE.sample(np.random.default_rng(0), 3)
    both = scorer.score(codes)
    other, name = scorer.reseeded([9, 4]), scorer.proxies[0].name
    scores = both.scores[name]
    assert (scores[:, 0] != scores[:, 1]).any()
    np.testing.assert_array_equal(other.score(codes).scores[name], scores[:, ::-1])
    assert (other.seeds, scorer.seeds) == ((9, 4), (4, 9))
    assert other.describe()["seeds"] == [9, 4]
    alone = scorer.reseeded([9]).score(codes)
    np.testing.assert_array_equal(alone.scores[name], scores[:, 1:])
    # The one that was given other seeds is what it was.
    assert_same(scorer.score(codes), both)
    assert other.num_traces == scorer.num_traces == 1
    with pytest.raises(ValueError, match="seeds must be distinct"):
        scorer.reseeded([1, 1])


def test_a_supernet_is_pruned(scorer: Scorer) -> None:
    """By what scores alone say, and to an architecture of the space."""
    trace = prune_live([scorer], CHOICES)
    name = scorer.proxies[0].name

    def score(masks: np.ndarray) -> np.ndarray:
        block = scorer.score(masks.reshape(-1, 24).astype(np.int32))
        return block.scores[name][:, None]

    again = prune(pruning(CHOICES, higher_is_better=[True]), score)
    np.testing.assert_array_equal(again.masks, trace.masks)
    assert trace.num_scored == 57
    arch = BARE.to_str(trace.masks[-1].reshape(-1).astype(np.int32))
    np.testing.assert_array_equal(nasbench201().from_str(arch), trace.code + 1)
    assert scorer.num_traces == 1


def test_mistakes_are_named(scorer: Scorer) -> None:
    with pytest.raises(ValueError, match="at least one scorer"):
        prune_live([], CHOICES)
    with pytest.raises(ValueError, match=r"one number of seeds, not \[1, 2\]"):
        prune_live([scorer, scorer.reseeded([1])], CHOICES)
    with pytest.raises(ValueError, match="are 30 genes of two values, which codes of"):
        prune_live([scorer], (5,) * 6)
    counted: Any = SimpleNamespace(
        space=SUPERNET, seeds=(0, 1), proxies=[parse_proxy("params")]
    )
    with pytest.raises(ValueError, match="params is counted"):
        prune_live([counted], CHOICES)
