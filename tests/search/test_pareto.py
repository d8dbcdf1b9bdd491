"""Fronts, crowding and volumes are pymoo's; NSGA-II finds what there is."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxproxy.search import (
    Genes,
    Trace,
    crowding,
    hypervolume,
    non_dominated_ranks,
    nsga2,
    pareto_front,
    run,
)

GENES = Genes((5, 6, 4, 5))
CODES = np.stack(np.unravel_index(np.arange(600), GENES.choices), 1).astype(np.int32)
# No tables of smooth functions: what is near in genes must be near in value.
COST = np.array([1.0, 2.0, 0.7, 1.3])


def _score(code: jax.Array) -> jax.Array:
    """Worth and cost; the front trades one for the other."""
    values = code.astype(jnp.float32)
    worth = jnp.sqrt(values * jnp.array([4.0, 1.0, 2.0, 3.0])).sum()
    return jnp.stack([worth, -(values * jnp.array(COST, jnp.float32)).sum()])


@given(
    st.integers(1, 60), st.integers(1, 3), st.integers(1, 9), st.integers(0, 2**31 - 1)
)
@settings(max_examples=30, deadline=None)
def test_fronts_are_pymoos(num: int, objectives: int, values: int, seed: int) -> None:
    """With many ties: few values, and several equal points."""
    pymoo = pytest.importorskip("pymoo.util.nds.non_dominated_sorting")
    rng = np.random.default_rng(seed)
    fitness = rng.integers(0, values, (num, objectives)).astype(np.float32)
    ours = np.asarray(non_dominated_ranks(jnp.asarray(fitness)))
    fronts = pymoo.NonDominatedSorting().do(-fitness)
    theirs = np.empty(num, int)
    for rank, members in enumerate(fronts):
        theirs[members] = rank
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(pareto_front(fitness), theirs == 0)


def test_crowding_is_pymoos() -> None:
    metrics = pytest.importorskip("pymoo.operators.survival.rank_and_crowding.metrics")
    fitness = np.random.default_rng(3).normal(size=(40, 2)).astype(np.float32)
    ranks = np.asarray(non_dominated_ranks(jnp.asarray(fitness)))
    ours = np.asarray(crowding(jnp.asarray(fitness), jnp.asarray(ranks)))
    assert ranks.max() > 3
    for rank in range(ranks.max() + 1):
        front = ranks == rank
        if front.sum() == 1:
            continue  # pymoo has 0 for a front of one, which nothing competes with
        theirs = metrics.calc_crowding_distance(-fitness[front].astype(float))
        np.testing.assert_allclose(ours[front], theirs, rtol=1e-5)


def test_crowding_by_hand() -> None:
    """Ends are infinite; the middle has (4-0)/4 and (5-1)/4, a mean of 1."""
    fitness = jnp.array([[0.0, 5.0], [3.0, 2.0], [4.0, 1.0], [-jnp.inf, -jnp.inf]])
    ranks = non_dominated_ranks(fitness)
    np.testing.assert_array_equal(ranks, [0, 0, 0, 1])
    np.testing.assert_array_equal(
        crowding(fitness, ranks), [np.inf, 1.0, np.inf, np.inf]
    )


def test_a_volume_by_hand_and_by_pymoo() -> None:
    points = np.array([[3.0, 1.0], [1.0, 3.0], [2.0, 2.0], [1.0, 1.0], [np.nan, 9.0]])
    assert hypervolume(points, np.zeros(2)) == 6.0
    assert hypervolume(points, np.array([1.5, 0.5])) == 0.5 * 1.5 + 1.0 * 0.5
    assert hypervolume(points, np.array([5.0, 5.0])) == 0.0
    hv = pytest.importorskip("pymoo.indicators.hv")
    many = np.random.default_rng(0).normal(size=(200, 2))
    theirs = hv.HV(ref_point=np.array([1.0, 0.5]))(-many)
    np.testing.assert_allclose(hypervolume(many, np.array([-1.0, -0.5])), theirs)
    with pytest.raises(ValueError, match=r"not \[4, 3\] and \[3\]"):
        hypervolume(np.zeros((4, 3)), np.zeros(3))
    with pytest.raises(ValueError, match=r"float\[N, K\], not \[3\]"):
        pareto_front(np.zeros(3))


@pytest.fixture(scope="module")
def traces() -> Trace:
    search = nsga2(GENES, pool=20)
    keys = jax.random.split(jax.random.key(0), 8)
    return jax.jit(jax.vmap(partial(run, search, _score, 300)))(keys)


def test_it_finds_the_front(traces: Trace) -> None:
    """Of half of the space, more of the volume than a random half."""
    every = np.asarray(jax.vmap(_score)(jnp.asarray(CODES)))
    worst = every.min(0)
    full = hypervolume(every, worst)
    found = [hypervolume(rows, worst) / full for rows in np.asarray(traces.fitness)]
    rng = np.random.default_rng(0)
    halves = (every[rng.choice(600, 300)] for _ in found)
    random = [hypervolume(rows, worst) / full for rows in halves]
    assert np.mean(found) > 0.99 > np.mean(random)
    assert min(found) > max(random)


def test_nothing_is_asked_for_twice_in_a_generation(traces: Trace) -> None:
    ranks = np.asarray(GENES.rank(traces.codes)).reshape(8, -1, 20)
    distinct = [len(np.unique(rows)) for run_ in ranks for rows in run_]
    assert set(distinct) == {20}


def test_parents_are_the_best_of_two_generations(traces: Trace) -> None:
    """Against fronts and crowding of numpy, one generation by hand."""
    search = nsga2(GENES, pool=20)
    keys = jax.random.split(jax.random.key(0), 8)
    before = jax.jit(partial(run, search, _score, 20))(keys[3])
    after = jax.jit(partial(run, search, _score, 40))(keys[3])
    both = np.concatenate([np.asarray(before.fitness), np.asarray(after.fitness)[20:]])
    ranks = np.asarray(non_dominated_ranks(jnp.asarray(both)))
    kept = np.asarray(after.state.merits)
    worst = np.asarray(non_dominated_ranks(jnp.asarray(both)))
    # All of the better fronts, and only part of the last that fits.
    last = np.searchsorted(np.cumsum(np.bincount(ranks)), 20)
    for row in both[worst < last]:
        assert (kept == row).all(1).any()
    allowed = {tuple(row) for row in both[worst <= last].tolist()}
    assert {tuple(row) for row in kept.tolist()} <= allowed


def test_what_is_not_finite_is_no_parent() -> None:
    def score(code: jax.Array) -> jax.Array:
        return jnp.where(code[0] < 3, jnp.array([jnp.nan, 1.0]), _score(code))

    trace = jax.jit(partial(run, nsga2(GENES, pool=10), score, 200))(jax.random.key(1))
    assert (np.asarray(trace.state.parents)[:, 0] >= 3).all()
    late = np.asarray(trace.codes)[100:, 0]
    assert (late >= 3).mean() > 0.7


def test_a_cost_of_the_genes_is_an_objective() -> None:
    """Told the worth alone, it does what it does when told both."""
    genes = GENES._replace(cost=lambda code: -_score(code)[1])
    told = nsga2(GENES, pool=10)
    weighs = nsga2(genes, pool=10, weigh_cost=True)
    both = jax.jit(partial(run, told, _score, 60))(jax.random.key(4))
    one = jax.jit(partial(run, weighs, lambda code: _score(code)[0], 60))(
        jax.random.key(4)
    )
    np.testing.assert_array_equal(both.codes, one.codes)
    np.testing.assert_array_equal(both.state.merits, one.state.merits)
    assert one.fitness.shape == (60,)
    with pytest.raises(ValueError, match="needs genes with a cost"):
        nsga2(GENES, weigh_cost=True)
    with pytest.raises(ValueError, match="another objective beside it"):
        nsga2(genes, objectives=1, weigh_cost=True)


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="pool is an integer from 1 to 1000000, not 0"):
        nsga2(GENES, pool=0)
    with pytest.raises(ValueError, match=r"crossover is a probability, not 1\.5"):
        nsga2(GENES, crossover=1.5)
