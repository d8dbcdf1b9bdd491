"""The fit of readings is that of the textbook, and finds with few trainings."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm, rankdata

from jaxproxy.search import (
    Genes,
    look_up,
    normal_scores,
    random_search,
    rerank,
    run,
    simulate,
    warm_up,
)

GENES = Genes((4, 3, 5, 2))
CODES = np.stack(np.unravel_index(np.arange(120), GENES.choices), 1).astype(np.int32)
RNG = np.random.default_rng(0)
# A worth that single genes do not say, and readings that say part of it.
WORTH = np.sin(CODES @ np.array([1.0, 2.3, 0.7, 1.9])) + 0.2 * CODES[:, 0]
READINGS = np.stack(
    [
        WORTH + 0.4 * RNG.normal(size=120),
        np.exp(WORTH + 0.4 * RNG.normal(size=120)),
        RNG.normal(size=120),
    ],
    1,
)
FIT = rerank(GENES, features=READINGS, first=4, explore=0.5, noise=0.1, most=25)
VALUE = look_up(GENES, CODES, WORTH)


def _textbook(rows: list[int], told: list[float | None]) -> np.ndarray:
    """Mean plus half a deviation of all, by a solve; what is not told narrows only."""
    features = normal_scores(READINGS).astype(float)
    apart = np.square(features[:, None] - features[None]).sum(-1)
    kernel = np.exp(-apart / (2 * 0.8**2 * features.shape[1]))
    known = [i for i, value in enumerate(told) if value is not None]
    values = np.array([told[i] for i in known])
    scores = norm.ppf((rankdata(values) - 0.5) / len(values))
    scores /= np.sqrt(np.mean(scores**2))
    at = np.array(rows)[known]
    inner = kernel[np.ix_(at, at)] + 0.1 * np.eye(len(at))
    mean = kernel[:, at] @ np.linalg.solve(inner, scores)
    inner = kernel[np.ix_(rows, rows)] + 0.1 * np.eye(len(rows))
    half = np.linalg.solve(inner, kernel[rows])
    variance = 1.0 - np.einsum("ij,ij->j", kernel[rows], half)
    return mean + 0.5 * np.sqrt(variance)


def _rank(code: Any) -> int:
    return int(GENES.rank(jnp.asarray(code)))


def test_what_is_asked_next_is_best_by_the_textbook() -> None:
    """The first told in order, then two asked before either is told."""
    ask, tell = jax.jit(FIT.ask), jax.jit(FIT.tell)
    state, rows, told = FIT.init(jax.random.key(0)), [], []
    for step in range(14):
        state, code = ask(state)
        rows.append(_rank(code))
        told.append(None)
        if step >= 4:
            merits = _textbook(rows[:-1], told[:-1])
            merits[rows[:-1]] = -np.inf
            assert merits[rows[-1]] >= merits.max() - 1e-4
        if step < 8 or step % 2:
            # Two of the same worth, and one that failed: the least of all.
            for place in [i for i, value in enumerate(told) if value is None]:
                value = -9.0 if place == 6 else float(np.round(WORTH[rows[place]], 1))
                told[place] = value
                fitness = jnp.float32(jnp.nan if place == 6 else value)
                state = tell(state, CODES[rows[place]], fitness)
    assert len(set(rows)) == 14


def test_what_was_not_asked_for_is_fitted_too() -> None:
    state = FIT.init(jax.random.key(0))
    rows, told = [3, 50, 77, 110, 8], [0.3, 2.0, -1.0, 0.4, 0.5]
    for row, value in zip(rows, told, strict=True):
        state = FIT.tell(state, jnp.asarray(CODES[row]), jnp.float32(value))
    _, code = FIT.ask(state)
    merits = _textbook(rows, list(told))
    merits[rows] = -np.inf
    assert merits[_rank(code)] >= merits.max() - 1e-4


def test_it_finds_with_fewer_trainings_than_random() -> None:
    def found(search: Any) -> np.ndarray:
        ranks = simulate(search, GENES, WORTH, budget=20, runs=40)
        return WORTH[ranks].max(1)

    assert found(FIT).mean() > found(random_search(GENES)).mean() + 0.05
    assert (found(FIT) == WORTH.max()).mean() > 0.8


def test_warm_up_comes_before_the_fit() -> None:
    """Three of a proxy's, then one at random to make four, then the fit."""
    proxy = look_up(GENES, CODES, READINGS[:, 0])
    search = warm_up(FIT, GENES, proxy, pool=100, first=3)
    trace = jax.jit(partial(run, search, VALUE, 8))(jax.random.key(2))
    rows = [_rank(code) for code in trace.codes]
    assert (np.diff(READINGS[rows[:3], 0]) <= 0).all()
    told = [float(v) for v in np.asarray(trace.fitness)]
    for step in range(4, 8):
        merits = _textbook(rows[:step], list(told[:step]))
        merits[rows[:step]] = -np.inf
        assert merits[rows[step]] >= merits.max() - 1e-4


def test_more_than_there_is_room_for_is_not_fitted() -> None:
    """The 26th and later leave the fit of 25 as it is; then all 120 are exhausted."""
    trace = jax.jit(partial(run, FIT, VALUE, 124))(jax.random.key(1))
    rows = np.asarray(GENES.rank(trace.codes))
    assert len(set(rows[:120].tolist())) == 120
    assert (rows[120:] == WORTH.argmax()).all()
    state = trace.state
    np.testing.assert_array_equal(state.rows, rows[:25])
    np.testing.assert_allclose(state.fitness, WORTH[rows[:25]], rtol=1e-6)


def test_normal_scores_are_of_ranks() -> None:
    table = np.array([[1.0, 5.0, 2.0], [np.nan, 5.0, 2.0], [9.0, 5.0, 4.0]])
    scores = normal_scores(table)
    assert scores.shape == (3, 2)
    np.testing.assert_array_equal(scores[:, 0].argsort(), [1, 0, 2])
    assert scores[0, 1] == scores[1, 1] < scores[2, 1]
    with pytest.raises(ValueError, match="all candidates have the same features"):
        normal_scores(np.ones((4, 2)))


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValueError, match=r"features are float\[120, F\]"):
        rerank(GENES, features=READINGS[:5])
    with pytest.raises(ValueError, match=r"candidates are int32\[N, 4\], not \[3, 2\]"):
        rerank(GENES, candidates=np.zeros((3, 2), int))
    with pytest.raises(ValueError, match="too many to list: give candidates="):
        rerank(Genes((16,) * 10))
    with pytest.raises(ValueError, match="noise=0"):
        rerank(GENES, noise=0.0)
