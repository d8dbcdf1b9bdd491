"""What other libraries are told is what scorers, counts and tables say."""

import numpy as np
import pytest

from jaxproxy.integrations import make_objectives
from jaxproxy.proxies import Proxy
from jaxproxy.scoring import BlockScores, make_scorer
from jaxproxy.spaces import nasbench201
from jaxproxy.types import Fidelity

SPACE = nasbench201()
CODES = SPACE.sample(np.random.default_rng(0), 6)
SMALL = Fidelity(4, 1, 4, 8)


def _count(space, codes):
    return np.where(codes[:, 0] == 0, np.nan, codes.sum(1)).astype(float)


def test_counts_tables_and_functions() -> None:
    low = Proxy("low", count=_count, higher_is_better=False)
    scorer = make_scorer(SPACE, [low, "macs"], fidelity=SMALL)
    table = {SPACE.to_str(code): 0.5 * row for row, code in enumerate(CODES[:4])}
    costs = {"latency": table, "first": lambda codes: codes[:, 0]}
    found = make_objectives(scorer, costs)
    assert found.names == ("low", "macs", "latency", "first")
    assert found.directions == ["minimize", "maximize", "minimize", "minimize"]
    np.testing.assert_array_equal(found.signs, [1, -1, 1, 1])
    rows = np.array([5, 0, 3, 0])
    values = found.score(CODES[rows])
    assert values.dtype == np.float64
    codes = CODES[rows]
    np.testing.assert_array_equal(values[:, 0], _count(SPACE, codes))
    np.testing.assert_array_equal(values[:, 1], SPACE.num_macs(codes))
    np.testing.assert_array_equal(values[:, 2], [np.nan, 0, 1.5, 0])
    np.testing.assert_array_equal(values[:, 3], codes[:, 0])
    assert scorer.num_traces == 0
    assert found.score(CODES[:0]).shape == (0, 4)


def test_costs_alone() -> None:
    found = make_objectives(SPACE, ["params", "macs"])
    assert found.directions == ["minimize"] * 2
    expected = np.stack([SPACE.num_params(CODES), SPACE.num_macs(CODES)], 1)
    np.testing.assert_array_equal(found.score(CODES), expected)


def test_a_proxy_that_is_named_as_a_cost_is_one() -> None:
    scorer = make_scorer(SPACE, ["params", "macs"], fidelity=SMALL)
    found = make_objectives(scorer, ["params"])
    assert found.names == ("macs", "params")
    assert found.directions == ["maximize", "minimize"]
    expected = np.stack([SPACE.num_macs(CODES), SPACE.num_params(CODES)], 1)
    np.testing.assert_array_equal(found.score(CODES), expected)


def test_a_score_is_the_mean_of_its_seeds_if_all_are_valid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scorer = make_scorer(SPACE, ["params", "naswot"], fidelity=SMALL, seeds=2)
    asked = []

    def score(codes: np.ndarray) -> BlockScores:
        asked.append(codes)
        scores = np.stack([codes[:, 0], codes[:, 1]], 1).astype(float)
        valid = np.stack([codes[:, 2] > 1, codes[:, 3] > 1], 1)
        return BlockScores({"naswot": scores}, {"naswot": valid}, {}, {})

    monkeypatch.setattr(scorer, "score", score)
    codes = SPACE.sample(np.random.default_rng(3), 40)
    values = make_objectives(scorer).score(np.concatenate([codes, codes]))
    np.testing.assert_array_equal(values[:40], values[40:])
    np.testing.assert_array_equal(values[:40, 0], SPACE.num_params(codes))
    valid = (codes[:, 2:4] > 1).all(1)
    expected = np.where(valid, codes[:, :2].mean(1), np.nan)
    np.testing.assert_array_equal(values[:40, 1], expected)
    assert [len(block) for block in asked] == [40]  # each once, in one call


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(ValueError, match=r"unknown cost 'latency'; choose from \['par"):
        make_objectives(SPACE, ["latency"])
    with pytest.raises(ValueError, match=r"costs are a list .* \['params'\]"):
        make_objectives(SPACE, "params")
    with pytest.raises(ValueError, match="nasbench201 alone has no objective"):
        make_objectives(SPACE)
    with pytest.raises(ValueError, match=r"each cost once, not \['macs', 'macs'\]"):
        make_objectives(SPACE, ["macs", "macs"])
    wrong = make_objectives(SPACE, {"none": lambda codes: np.zeros(3)})
    with pytest.raises(ValueError, match=r"'none' of 2 codes has shape \[3\], not"):
        wrong.score(CODES[:2])
    with pytest.raises(ValueError, match=r"codes of nasbench201 have shape \[N, 6\]"):
        make_objectives(SPACE, ["params"]).score(CODES[:, :5])
