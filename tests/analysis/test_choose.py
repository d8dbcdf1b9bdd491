"""The set that is chosen is the best there is, by plain arithmetic."""

import itertools

import numpy as np
import pytest
from scipy import stats

from jaxproxy.analysis import Labelled, best_of, choose, score_chosen


def _scores(num: int = 40, names: str = "abcdef", seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(num) for name in names}


def _worth(names: tuple[str, ...], space: Labelled, n: int, weight: float) -> float:
    """Plain: log ranks are summed, the first of n is found, ranks are correlated."""
    total = sum(
        np.log(stats.rankdata(space.scores[name]) / len(space.accuracy))
        for name in names
    )
    a = (space.accuracy - space.accuracy.mean()) / space.accuracy.std()
    found = best_of(total, a, n=n).mean
    return found + weight * stats.spearmanr(total, a).statistic


@pytest.mark.parametrize("weight", [0.0, 1.0])
@pytest.mark.parametrize("num", [1, 2, 3])
def test_it_is_the_best_set(num: int, weight: float) -> None:
    scores = _scores()
    accuracy = scores["b"] + scores["e"] + _scores(seed=1)["a"]
    space = Labelled(scores, accuracy)
    chosen = choose([space], num, n=10, weight=weight, starts=8)
    every = itertools.combinations(scores, num)
    best = max(every, key=lambda names: _worth(names, space, 10, weight))
    assert set(chosen.components) == set(best)
    expected = _worth(best, space, 10, weight)
    assert chosen.value == pytest.approx(expected, abs=1e-9)
    assert chosen.found[0] + weight * chosen.rho[0] == pytest.approx(expected, abs=1e-9)


def test_seeds_and_data_sets_are_averaged() -> None:
    scores, accuracy = _scores(), np.stack([*_scores(names="xy").values()])
    both = {k: np.stack([v, _scores(seed=5)[k]]) for k, v in scores.items()}
    chosen = choose([Labelled(both, accuracy)], 2, n=10, starts=8)
    z = stats.zscore(accuracy, axis=1).mean(0)
    worths = []
    for names in itertools.combinations(scores, 2):
        parts = [
            _worth(names, Labelled({k: v[s] for k, v in both.items()}, z), 10, 1.0)
            for s in range(2)
        ]
        worths.append((np.mean(parts), names))
    assert set(chosen.components) == set(max(worths)[1])


def test_of_several_spaces_the_worst_counts() -> None:
    """What is perfect in one space and wrong in the other is not chosen."""
    good, bad = _scores(names="abc"), _scores(names="abc", seed=3)
    accuracy = good["a"]
    spaces = [
        Labelled({**good, "b": accuracy + good["b"] / 2}, accuracy),
        Labelled(
            {"a": -bad["c"], "b": bad["c"] + bad["b"] / 2, "c": bad["a"]}, bad["c"]
        ),
    ]
    assert choose(spaces[:1], 1, n=10).components == ("a",)
    assert choose(spaces, 1, n=10, over="min").components == ("b",)


def test_what_has_no_score_is_last() -> None:
    scores = {"a": np.array([1.0, np.nan, 3.0, 2.0]), "b": np.zeros(4)}
    chosen = choose([Labelled(scores, np.array([2.0, 1.0, 4.0, 3.0]))], 1, n=2)
    assert chosen.components == ("a",)
    assert chosen.rho == pytest.approx((1.0,))
    ranked = score_chosen(["a"], scores)
    assert np.argsort(ranked).tolist() == [1, 0, 3, 2]


@pytest.mark.parametrize(
    ("spaces", "options", "message"),
    [
        ([], {}, "at least one space"),
        ([Labelled(_scores(), np.zeros(40))], {}, "all accuracies .* equal"),
        ([Labelled(_scores(), np.full(40, np.nan))], {}, "must be finite"),
        ([Labelled(_scores(), np.arange(30.0))], {}, "same architectures"),
        ([Labelled(_scores(), np.arange(40.0))], {"num": 7}, "choose 7 of the 6"),
        ([Labelled(_scores(), np.arange(40.0))], {"num": 0}, "cannot choose 0"),
        ([Labelled(_scores(), np.arange(40.0))], {"n": 41}, "cannot choose of 41"),
        ([Labelled(_scores(), np.arange(40.0))], {"starts": 0}, "starts is at"),
        ([Labelled(_scores(), np.arange(40.0))], {"over": "max"}, "unknown over 'max'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(spaces: list, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose(spaces, **{"num": 2, "n": 10, **options})
    with pytest.raises(ValueError, match=r"no scores \['z'\]"):
        score_chosen(["a", "z"], _scores())
