"""NSGA-II: a front of several objectives."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxproxy.options import check_counts
from jaxproxy.search._genes import Genes
from jaxproxy.search._pareto import crowding, non_dominated_ranks
from jaxproxy.search._search import Core, Search, make_core


class _State(NamedTuple):
    core: Core
    """The best is that of the first objective."""
    parents: Array
    """int32[P, G], best first: by front, then those that are less crowded."""
    merits: Array
    """Their fitness, float32[P, K]."""
    asked: Array
    """What was asked since the parents were chosen, int32[P, G]."""
    num_asked: Array
    children: Array
    """What was told since, int32[P, G]."""
    values: Array
    """Its fitness, float32[P, K]."""
    num_told: Array


def nsga2(
    genes: Genes,
    *,
    objectives: int = 2,
    pool: int = 100,
    crossover: float = 0.9,
    weigh_cost: bool = False,
) -> Search:
    """Returns the search for a front of several objectives, each to be high.

    The first ``pool`` architectures are random. Then each is the child of two parents:
    each parent is the better of two random members of the pool (by front, then by how
    far its neighbours are), genes come from either, and one gene is mutated. After
    every ``pool`` children, the best of both generations live on. No architecture is
    asked for that the pool holds, or that was asked for in the same generation, as long
    as 1,024 proposals find another.

    Args:
      genes: of the space.
      objectives: K, each to be high; a cost is told with its sign changed. What is not
        finite in one is dominated by all others.
      pool: how many live, P.
      crossover: how often the genes are those of both parents, rather than of one.
      weigh_cost: whether the last objective is to cost little, as the genes count it;
        the search is then told one fitness less.

    Raises:
      ValueError: sizes that are no positive integers, a probability that is none, or a
        cost that the genes have not, or that is the only objective.

    References:
      Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE
      Transactions on Evolutionary Computation 6(2), 2002.
    """
    check_counts(objectives=objectives, pool=pool)
    if not 0 <= crossover <= 1:
        raise ValueError(f"crossover is a probability, not {crossover}")
    if weigh_cost and (genes.cost is None or objectives < 2):
        raise ValueError(
            "weigh_cost=True needs genes with a cost, and another objective beside it"
        )
    cost = genes.cost if weigh_cost else None
    return _fronts(genes, cost, objectives, pool, crossover)


def _fronts(
    genes: Genes,
    cost: Callable[[Array], Array] | None,
    objectives: int,
    pool: int,
    crossover: float,
) -> Search:
    def init(key: Array) -> _State:
        codes = jnp.full((pool, len(genes.choices)), -1, jnp.int32)
        shape = (pool, objectives) if objectives > 1 else (pool,)
        worst, none = jnp.full(shape, -jnp.inf, jnp.float32), jnp.zeros((), jnp.int32)
        core = make_core(genes, key)
        return _State(core, codes, worst, codes, none, codes, worst, none)

    def ask(state: _State) -> tuple[_State, Array]:
        # What is not finite is no parent; at first there is none, and all is random.
        known = _rows(state.merits)[:, 0] > -jnp.inf
        num = known.sum(dtype=jnp.int32)

        def propose(key: Array) -> Array:
            keys = jax.random.split(key, 4)
            rivals = jax.random.randint(keys[0], (2, 2), 0, jnp.maximum(num, 1))
            father, mother = state.parents[rivals.min(1)]
            mixed = genes.crossover(keys[1], father, mother)
            both = jax.random.bernoulli(keys[2], crossover)
            child = genes.mutate(keys[3], jnp.where(both, mixed, father))
            return jnp.where(num == 0, genes.random(keys[3]), child)

        def fresh(code: Array) -> Array:
            new = ~_holds(state.parents, code) & ~_holds(state.asked, code)
            return new if genes.allowed is None else new & genes.allowed(code)

        # If no proposal is new, the best by the first objective is asked for again.
        new_genes = genes._replace(allowed=fresh)
        core, code = state.core.draw(new_genes, propose, state.core.code)
        asked = state.asked.at[state.num_asked % pool].set(code)
        num_asked = state.num_asked + 1
        return state._replace(core=core, asked=asked, num_asked=num_asked), code

    def tell(state: _State, code: Array, fitness: Array) -> _State:
        if cost is not None:
            fitness = jnp.append(jnp.atleast_1d(fitness), -cost(code))
        fitness = genes.judged(code, fitness)
        state = state._replace(
            core=state.core.updated(code, jnp.atleast_1d(fitness)[0]),
            children=state.children.at[state.num_told].set(code),
            values=state.values.at[state.num_told].set(fitness),
            num_told=state.num_told + 1,
        )
        return jax.lax.cond(
            state.num_told == pool, _next_generation, lambda s: s, state
        )

    scores = objectives - (cost is not None)
    return Search(init, ask, tell, scores=scores, objectives=objectives)


def _next_generation(state: _State) -> _State:
    """Returns the state whose parents are the best of both generations."""
    pool = len(state.parents)
    codes = jnp.concatenate([state.parents, state.children])
    merits = jnp.concatenate([state.merits, state.values])
    ranks = non_dominated_ranks(_rows(merits))
    best = jnp.lexsort((-crowding(_rows(merits), ranks), ranks))[:pool]
    none = jnp.zeros((), jnp.int32)
    return state._replace(
        parents=codes[best],
        merits=merits[best],
        asked=jnp.full_like(state.asked, -1),
        num_asked=none,
        num_told=none,
    )


def _rows(fitness: Array) -> Array:
    return fitness.reshape(len(fitness), -1)


def _holds(codes: Array, code: Array) -> Array:
    """Returns whether a code int32[G] is among others, bool[]."""
    return (codes == code[None]).all(1).any()
