"""The searches of ZenNAS and AZ-NAS do what their codes do, in plain Python."""

from collections import Counter
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxproxy.search import (
    Genes,
    Search,
    az_nas_evolution,
    make_genes,
    run,
    simulate,
    zennas_evolution,
)
from jaxproxy.spaces import nasbench201
from jaxproxy.testing import check_search

SMALL = Genes((3, 1, 4, 2, 5))
START = (2, 0, 1, 1, 4)
MAKERS: dict[str, Any] = {
    "zen": partial(zennas_evolution, pool=12),
    "zen, one": partial(zennas_evolution, pool=1, changes=1, start=START),
    "az, one": partial(az_nas_evolution, pool=5, start=START),
    "az": partial(az_nas_evolution, scores=3),
    "az, full": partial(az_nas_evolution, scores=2, pool=6, history=15),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_search_keeps_its_contract(name: str) -> None:
    check_search(MAKERS[name], SMALL)


class _Plain:
    """The pool of ZenNAS' code: a list that loses its first lowest."""

    def __init__(self, pool: int) -> None:
        self.pool, self.members = pool, []

    def tell(self, code: tuple[int, ...], fitness: float) -> None:
        if np.isfinite(fitness):
            self.members.append((code, fitness))
        while len(self.members) > self.pool:
            scores = [fitness for _, fitness in self.members]
            self.members.pop(scores.index(min(scores)))


def _coarse(code: jax.Array) -> jax.Array:
    """Of few values, so that many are equal, and NaN for some codes."""
    value = (code.sum() // 2).astype(jnp.float32)
    return jnp.where((code[0] == 1) & (code[4] == 3), jnp.nan, value)


def test_the_pool_is_that_of_the_code() -> None:
    """And the first eleven members differ from the start in one gene."""
    search, plain = zennas_evolution(SMALL, pool=14, start=START), _Plain(14)
    ask, tell = jax.jit(search.ask), jax.jit(search.tell)
    state = search.init(jax.random.key(3))
    for _ in range(90):
        parents = [np.array(code) for code, _ in plain.members]
        state, code = ask(state)
        row = np.asarray(code)
        if len(parents) <= 10:
            assert (row != START).sum() == 1
        else:
            assert min((row != parent).sum() for parent in parents) <= 2
        fitness = _coarse(code)
        state = tell(state, code, fitness)
        plain.tell(tuple(row.tolist()), float(fitness))
        here = np.asarray(state.fitness) > -np.inf
        order = np.argsort(np.asarray(state.born)[here])
        codes = np.asarray(state.codes)[here][order].tolist()
        assert [tuple(code) for code in codes] == [code for code, _ in plain.members]
        np.testing.assert_array_equal(
            np.asarray(state.fitness)[here][order],
            [fitness for _, fitness in plain.members],
        )


def _several(code: jax.Array) -> jax.Array:
    """Three scores with many equal values; one is not finite for some codes."""
    other = jnp.where(code[4] == 0, jnp.inf, (code[2] - code[0]).astype(jnp.float32))
    third = (code[2] * 7 % 4 + code[3]).astype(jnp.float32)
    return jnp.stack([(code.sum() // 3).astype(jnp.float32), other, third])


def _aggregate(scores: np.ndarray) -> np.ndarray:
    """As in AZ-NAS' code."""
    ranks = stats.rankdata(scores, axis=0)
    return np.log(ranks / len(scores)).sum(1)


def _counted(scores: Any) -> Counter[tuple[float, ...]]:
    return Counter(tuple(row) for row in np.asarray(scores).tolist())


def _known(state: Any) -> tuple[np.ndarray, ...]:
    size = int(state.history.size)
    return tuple(np.asarray(part)[:size] for part in state.history[1:])


@pytest.mark.parametrize("history", [200, 16])
def test_ranks_and_parents_are_those_of_all_that_is_known(history: int) -> None:
    """With room for all, and where the worst has to leave for each."""
    search = az_nas_evolution(SMALL, scores=3, history=history, pool=13, start=START)
    ask, tell = jax.jit(search.ask), jax.jit(search.tell)
    state = search.init(jax.random.key(1))
    for number in range(100):
        codes, scores, _ = _known(state)
        state, code = ask(state)
        if len(codes) <= 10:
            assert (np.asarray(code) != START).sum() == 1
        else:
            merits, rows = _aggregate(scores), np.asarray(state.parents)[: len(codes)]
            assert len(set(rows.tolist())) == len(rows) == min(len(codes), 12)
            # Sums are rounded, so that equal ones may change places.
            others = np.delete(merits, rows)
            assert (others <= merits[rows].min() + 1e-5).all()
            assert (codes[rows] != np.asarray(code)).sum(1).min() <= 2
        fitness = _several(code)
        state = tell(state, code, fitness)
        good = np.isfinite(fitness).all()
        _, after, ranks = _known(state)
        before = _counted(scores) + (_counted(fitness[None]) if good else Counter())
        gone = before - _counted(after)
        if good and len(codes) == history:
            (row,) = gone.elements()
            # It may be equal to what is told.
            merits = _aggregate(scores)
            worst = merits[(scores == row).all(1)]
            np.testing.assert_allclose(worst, merits.min(), atol=1e-5)
        else:
            assert not gone
        assert len(after) == min(len(scores) + good, history)
        np.testing.assert_array_equal(ranks, stats.rankdata(after, axis=0))
        assert int(state.core.told) == number + 1
        if not len(after):
            continue
        merits, core = _aggregate(after), state.core
        np.testing.assert_allclose(core.fitness, merits.max(), atol=1e-5)
        best = merits[(after == np.asarray(_several(core.code))).all(1)]
        np.testing.assert_allclose(best, merits.max(), atol=1e-5)
    assert len(after) == history or len(after) > 50


def test_the_example_of_the_comment() -> None:
    search = az_nas_evolution(Genes((9,)), history=6, pool=2)
    state = search.init(jax.random.key(0))
    for value in (3.0, 5.0, 5.0, 8.0):
        state = search.tell(state, jnp.zeros(1, jnp.int32), jnp.float32(value))
    np.testing.assert_array_equal(state.history.ranks[:4, 0], [1, 2.5, 2.5, 4])
    state = search.tell(state, jnp.zeros(1, jnp.int32), jnp.float32(5.0))
    np.testing.assert_array_equal(state.history.ranks[:5, 0], [1, 3, 3, 5, 3])
    np.testing.assert_array_equal(state.history.ranks[5:], 0)


def _run(search: Search, score: Any, budget: int) -> Any:
    return jax.jit(lambda key: run(search, score, budget, key))(jax.random.key(0))


def test_rejected_proposals_use_up_evaluations_if_they_count() -> None:
    """As many as are refused are told -inf; they are no parents and not the best."""
    limited = Genes((4, 4, 4), allowed=lambda code: code.sum() <= 4)

    def score(code: jax.Array) -> jax.Array:
        return code.sum().astype(jnp.float32)

    make = partial(zennas_evolution, limited, pool=20, start=(1, 1, 1))
    counted, free = (
        _run(make(count_rejected=flag), score, 300) for flag in (True, False)
    )
    wrong = np.asarray(counted.codes).sum(1) > 4
    assert int(counted.state.core.refused) == wrong.sum() > 30
    members = counted.state.fitness > -jnp.inf
    assert (np.asarray(counted.state.codes)[members].sum(1) <= 4).all()
    assert float(counted.state.core.fitness) == 4.0
    assert (np.asarray(free.codes).sum(1) <= 4).all()
    assert int(free.state.core.refused) > 30
    everything = zennas_evolution(Genes((4, 4, 4)), count_rejected=True)
    assert int(_run(everything, score, 20).state.core.refused) == 0


def test_several_asked_for_before_they_are_told() -> None:
    """They share a ranking, and it is a new one when they are told."""
    search = az_nas_evolution(SMALL, scores=3, pool=4, history=50)
    state = search.init(jax.random.key(0))
    for seed in range(20):
        code = SMALL.random(jax.random.key(seed))
        state = search.tell(state, code, _several(code))
    assert bool(state.stale)
    state, _ = search.ask(state)
    assert not bool(state.stale)
    again, _ = search.ask(state)
    np.testing.assert_array_equal(again.parents, state.parents)


@pytest.mark.parametrize("make", [zennas_evolution, az_nas_evolution])
def test_they_find_the_best_of_a_table(make: Any) -> None:
    """Of 15,625 by 400 evaluations, which random ones do in one run of 39."""
    space = nasbench201()
    genes = make_genes(space)
    table = np.random.default_rng(0).normal(size=(6, 5))
    codes = np.indices(space.choices).reshape(6, -1).T
    seen = table[np.arange(6), codes].sum(1)
    ranks = simulate(make(genes, pool=8), genes, seen, budget=400, runs=20)
    assert (seen[ranks].max(1) == seen.max()).mean() >= 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: zennas_evolution(SMALL, pool=0), "pool is an integer from 1"),
        (lambda: zennas_evolution(SMALL, changes=0), "changes is an integer from 1"),
        (lambda: zennas_evolution(SMALL, start=(1, 2)), r"start is a code of 5 genes"),
        (lambda: zennas_evolution(SMALL, start=(9, 0, 0, 0, 0)), r"not \(9, 0"),
        (lambda: zennas_evolution(SMALL, start=(0.5,) * 5), "start is a code"),  # type: ignore[arg-type]
        (
            lambda: zennas_evolution(SMALL, count_rejected=2),  # type: ignore[arg-type]
            "must be True or False, not 2",
        ),
        (lambda: az_nas_evolution(SMALL, scores=0), "scores is an integer from 1"),
        (
            lambda: az_nas_evolution(SMALL, history=8, pool=10),
            "pool=10 with history=8: give 2 <= pool <= history",
        ),
        (lambda: az_nas_evolution(SMALL, pool=1), "pool=1 with history=10000"),
        (
            lambda: run(
                az_nas_evolution(SMALL, scores=2), _several, 3, jax.random.key(0)
            ),
            r"told float\[2\] of an architecture, but its score is float\[3\]",
        ),
    ],
)
def test_bad_options_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
