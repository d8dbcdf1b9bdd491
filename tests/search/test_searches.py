"""Every search of the table keeps the contract of searches."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxproxy.search import (
    SEARCHES,
    Budget,
    Genes,
    Search,
    layernas,
    make_genes,
    nsga2,
    random_search,
    regularized_evolution,
    run,
    warm_up,
)
from jaxproxy.spaces import SPACES, nasbench201
from jaxproxy.testing import check_search

SMALL = Genes((3, 1, 4, 2, 5))
RANDOM = random_search(SMALL)
UNCOUNTED = dataclasses.replace(nasbench201(), counts=None)


def _sum(code: jax.Array) -> jax.Array:
    return code.sum().astype(jnp.float32)


def _warm(genes: Genes) -> Search:
    return warm_up(random_search(genes), genes, _sum, pool=50, first=4)


MAKERS: dict[str, Any] = {
    **SEARCHES,
    "nsga2": partial(nsga2, pool=10),
    "layernas": lambda genes: layernas(genes._replace(cost=_sum), buckets=6),
    "aging": partial(regularized_evolution, pool=5, sample=3),
    "tournament": partial(regularized_evolution, pool=5, sample=8, replacement=True),
    "parent": partial(
        regularized_evolution, pool=5, sample=3, move="parent", proxy=_sum
    ),
    "neighbour": partial(
        regularized_evolution, pool=5, sample=3, move="neighbour", proxy=_sum
    ),
    "warm": _warm,
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_search_keeps_its_contract(name: str) -> None:
    check_search(MAKERS[name], SMALL)


def test_a_search_that_takes_the_last_of_equals_is_found_out() -> None:
    def last(genes: Genes) -> Search:
        search = random_search(genes)

        def tell(state: Any, code: jax.Array, fitness: jax.Array) -> Any:
            told = search.tell(state, code, fitness)
            return told._replace(core=told.core._replace(code=code))

        return search._replace(tell=tell)

    with pytest.raises(ValueError, match="the best is the first of the best"):
        check_search(last, SMALL)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_moves_are_those_of_the_host(choices: list[int], seed: int) -> None:
    if max(choices) == 1:
        return
    genes, rng = Genes(tuple(choices)), np.random.default_rng(seed)
    code = rng.integers(0, choices).astype(np.int32)
    other = rng.integers(0, choices).astype(np.int32)
    mutant = np.asarray(genes.mutate(jax.random.key(seed), jnp.asarray(code)))
    assert ((mutant >= 0) & (mutant < choices)).all()
    assert (mutant != code).sum() == 1
    near = {tuple(row) for row in np.asarray(genes.moved(jnp.asarray(code))).tolist()}
    assert len(near) == sum(choices) - len(choices)
    assert tuple(mutant.tolist()) in near
    child = np.asarray(genes.crossover(jax.random.key(seed), code, other))
    assert ((child == code) | (child == other)).all()


def test_neighbours_are_those_of_the_space() -> None:
    space = nasbench201()
    code = space.sample(np.random.default_rng(0), 1)[0]
    ours = np.asarray(make_genes(space).moved(jnp.asarray(code)))
    theirs = space.neighbours(code)
    assert {tuple(row) for row in ours.tolist()} == {
        tuple(row) for row in theirs.tolist()
    }


def test_a_rank_is_the_place_in_lexicographic_order() -> None:
    genes = Genes((3, 1, 4, 2))
    codes = np.stack(np.meshgrid(*map(np.arange, genes.choices), indexing="ij"), -1)
    ranks = genes.rank(jnp.asarray(codes.reshape(-1, 4), jnp.int32))
    np.testing.assert_array_equal(ranks, np.arange(24))
    with pytest.raises(ValueError, match="1099511627776 codes have no rank"):
        Genes((16,) * 10).rank(jnp.zeros(10, jnp.int32))


def test_mutations_follow_their_rates() -> None:
    """Of NAS-Bench-201's authors: a node, and then an edge of it."""
    rates = (1 / 3, 1 / 6, 1 / 6, 1 / 9, 1 / 9, 1 / 9)
    genes = make_genes(nasbench201(), rates=rates)
    keys = jax.random.split(jax.random.key(0), 20_000)
    code = jnp.array([0, 1, 2, 3, 4, 0], jnp.int32)
    mutants = np.asarray(jax.jit(jax.vmap(genes.mutate, (0, None)))(keys, code))
    changed = (mutants != np.asarray(code)).mean(0)
    np.testing.assert_allclose(changed, rates, atol=0.012)
    values = np.bincount(mutants[mutants[:, 0] != 0, 0], minlength=5)
    assert values[0] == 0
    np.testing.assert_allclose(values[1:] / values.sum(), 0.25, atol=0.02)


def test_what_is_refused_is_counted() -> None:
    """Three in four proposals are over the budget; each draw counts its own."""
    genes = Genes((4, 4), allowed=lambda code: code[0] == 0)
    trace = jax.jit(lambda key: run(random_search(genes), _sum, 400, key))(
        jax.random.key(0)
    )
    assert (np.asarray(trace.codes)[:, 0] == 0).all()
    assert 2.4 < int(trace.state.core.refused) / 400 < 3.6


def test_distinct_parents_are_no_copies() -> None:
    """On a slope: copies of few fill the ten places, or ten codes do."""
    genes = Genes((5,) * 6)

    def parents(distinct: bool) -> np.ndarray:
        search = SEARCHES["intrain_nas"](genes, distinct=distinct)
        trace = jax.jit(lambda key: run(search, _sum, 2_000, key))(jax.random.key(0))
        return np.asarray(trace.state.codes)

    assert len(np.unique(parents(False), axis=0)) < 5
    best = parents(True)
    assert len(np.unique(best, axis=0)) == 10
    # By hand: the largest sum of six numbers up to 4, and nine of the next.
    assert best.sum(1).tolist() == [24, *[23] * 6, *[22] * 3]


def test_the_k_best_are_those_of_the_whole_history() -> None:
    """Ties and repetitions among them."""
    search, budget = SEARCHES["intrain_nas"](SMALL, k=4), 60

    def score(code: jax.Array) -> jax.Array:
        return jnp.where(code[0] == 2, jnp.nan, _sum(code // 2))

    state = search.init(jax.random.key(5))
    history: list[tuple[float, tuple[int, ...]]] = []
    for _ in range(budget):
        state, code = search.ask(state)
        fitness = score(code)
        state = search.tell(state, code, fitness)
        if np.isfinite(fitness):
            history.append((float(fitness), tuple(np.asarray(code).tolist())))
        best = sorted(history, key=lambda entry: -entry[0])[:4]
        kept = np.asarray(state.codes)[: len(best)].tolist()
        assert [tuple(row) for row in kept] == [code for _, code in best]
        np.testing.assert_array_equal(
            np.asarray(state.fitness)[: len(best)], [value for value, _ in best]
        )


def test_what_failed_is_no_parent_even_alone() -> None:
    """With nothing but failures to choose from, an evolution begins anew."""
    search = regularized_evolution(SMALL, pool=4, sample=1)
    state, first = search.init(jax.random.key(0)), jnp.zeros(5, jnp.int32)
    for _ in range(4):
        state = search.tell(state, first, jnp.float32(jnp.nan))
    distances = []
    ask = jax.jit(search.ask)
    for _ in range(40):
        state, code = ask(state)
        distances.append(int((code != first).sum()))
    assert max(distances) > 1


@pytest.mark.parametrize("name", sorted(SPACES))
def test_every_space_is_searched_within_its_constraints(name: str) -> None:
    """Codes are architectures, random ones and mutants; the host is asked."""
    space = SPACES[name]()
    genes = make_genes(space)

    def score(code: jax.Array) -> jax.Array:
        return jnp.sin(code.astype(jnp.float32)).sum()

    trace = jax.jit(lambda key: run(SEARCHES["intrain_nas"](genes), score, 12, key))(
        jax.random.key(0)
    )
    codes = space.check_codes(np.asarray(trace.codes))
    assert len(np.unique(codes, axis=0)) > 4
    assert np.isfinite(trace.state.core.fitness)


def test_a_budget_is_held() -> None:
    """Of parameters, multiply-adds and a table of costs together."""
    space, rng = nasbench201(), np.random.default_rng(0)
    codes = space.sample(rng, 9000)
    costs = {space.to_str(code): float(rng.random()) for code in codes}
    budget = Budget(params=600_000, macs=80_000_000, costs=costs, cost=0.5)
    genes = make_genes(space, budget=budget)
    trace = jax.jit(lambda key: run(random_search(genes), _sum, 50, key))(
        jax.random.key(1)
    )
    found = np.asarray(trace.codes)
    assert (space.num_params(found) <= 600_000).all()
    assert (space.num_macs(found) <= 80_000_000).all()
    assert all(costs[space.to_str(code)] <= 0.5 for code in found)
    assert space.num_params(found).max() > 300_000


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_genes(nasbench201(), budget=Budget(), allowed=_sum), "not both"),
        (lambda: make_genes(UNCOUNTED, budget=Budget(macs=1)), "does not count"),
        (lambda: make_genes(nasbench201(), rates=[1.0]), "are 6 probabilities"),
        (lambda: regularized_evolution(SMALL, pool=3, sample=4), "sample=4 of pool=3"),
        (lambda: regularized_evolution(SMALL, move="up"), "unknown move 'up'; choose"),
        (lambda: regularized_evolution(SMALL, proxy=_sum), "a move needs a proxy"),
        (
            lambda: SEARCHES["intrain_nas"](SMALL, k=0),
            "k is an integer from 1 to 1000000, not 0",
        ),
        (lambda: SEARCHES["reinforce"](SMALL, learning_rate=0.0), "must be positive"),
        (
            lambda: warm_up(random_search(SMALL), SMALL, _sum, pool=3, first=4),
            "first=4",
        ),
        (lambda: run(RANDOM, _sum, 0, jax.random.key(0)), "at least 1"),
    ],
)
def test_bad_options_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_score_of_another_shape_is_refused() -> None:
    def several(code: jax.Array) -> jax.Array:
        return code.astype(jnp.float32)

    message = r"told float\[\] of an architecture, but its score is float\[5\]"
    with pytest.raises(ValueError, match=message):
        run(RANDOM, several, 3, jax.random.key(0))


@pytest.mark.parametrize(
    ("space", "budget"),
    [
        (nasbench201(), Budget(params=400_000, macs=50_000_000)),
        (SPACES["natsbench_sss"](), Budget(macs=10_000_000)),
        (SPACES["nasbench_macro"](), Budget(params=2_000_000)),
        (SPACES["transnasbench101_micro"](), Budget(macs=600_000_000)),
        (
            nasbench201(),
            Budget(costs={nasbench201().to_str(np.zeros(6, int)): 1.0}, cost=2.0),
        ),
    ],
)
def test_small_spaces_have_a_table_of_what_is_allowed(
    space: Any, budget: Budget
) -> None:
    """All codes, and no call of the host."""
    genes = make_genes(space, budget=budget)
    assert genes.allowed is not None
    codes = space.enumerate()
    allowed = jax.jit(jax.vmap(genes.allowed))
    assert "callback" not in allowed.lower(codes).as_text()
    expected = budget.within(space, codes)
    assert 0 < expected.sum() < len(codes)
    np.testing.assert_array_equal(allowed(codes), expected)


def test_genes_change_as_they_are_told() -> None:
    """By a function of a key and a code, in every search that mutates."""

    def first(key: jax.Array, code: jax.Array) -> jax.Array:
        return code.at[0].set(jax.random.randint(key, (), 0, 3))

    genes = make_genes(nasbench201(), mutation=first)
    trace = run(SEARCHES["intrain_nas"](genes), _sum, 20, jax.random.key(0))
    codes = np.asarray(trace.codes)
    assert (codes[:, 1:] == codes[0, 1:]).all() and set(codes[1:, 0].tolist()) == {
        0,
        1,
        2,
    }
    with pytest.raises(ValueError, match="give rates= or mutation=, not both"):
        make_genes(nasbench201(), mutation=first, rates=(1.0, 0, 0, 0, 0, 0))
