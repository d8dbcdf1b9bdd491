"""Local search."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxproxy.search._genes import Genes
from jaxproxy.search._search import Core, Search, make_core


class _State(NamedTuple):
    core: Core
    fitness: Array
    """Of where the search stands, float32[]."""
    near: Array
    """The neighbours of it in the order in which they are scored, int32[M, G]."""
    left: Array
    """How many of them are still to be scored, int32[]; 0 to begin anew."""
    best: Array
    """The best of those that were, int32[G]."""
    best_fitness: Array


def local_search(genes: Genes) -> Search:
    """Returns the search that goes to the best neighbour, and begins anew at a peak.

    All codes that differ in one gene and are allowed are scored, in random order; the
    best of them is where the search goes on if it is better. Otherwise it begins at a
    random code.

    Args:
      genes: of the space.

    References:
      White et al., "Local search is state of the art for neural architecture search
      benchmarks", 2020, arXiv:2005.02960, algorithm 1.
    """

    def neighbours(key: Array, code: Array) -> tuple[Array, Array]:
        """Returns all neighbours, the allowed ones last, and how many those are."""
        near = genes.moved(code)
        good = jnp.ones(len(near), bool)
        if genes.allowed is not None:
            good = jax.vmap(genes.allowed)(near)
        order = jnp.argsort(
            jnp.where(good, 1.0, 0.0) + jax.random.uniform(key, good.shape)
        )
        return near[order], good.sum(dtype=jnp.int32)

    def init(key: Array) -> _State:
        core = make_core(genes, key)
        near = jnp.zeros_like(genes.moved(core.code))
        return _State(core, core.fitness, near, core.told, core.code, core.fitness)

    def ask(state: _State) -> tuple[_State, Array]:
        core, fresh = state.core.draw(genes, genes.random, state.core.code)
        code = jnp.where(state.left == 0, fresh, state.near[-state.left])
        return state._replace(core=core), code

    def tell(state: _State, code: Array, fitness: Array) -> _State:
        fitness, begins = genes.judged(code, fitness), state.left == 0
        better = begins | (fitness > state.best_fitness)
        best = jnp.where(better, code, state.best)
        best_fitness = jnp.where(better, fitness, state.best_fitness)
        climbs = (state.left == 1) & (best_fitness > state.fitness)
        arrives = begins | climbs
        core, key = state.core.next_key()
        near, left = neighbours(key, best)
        return _State(
            core.updated(code, fitness),
            jnp.where(arrives, best_fitness, state.fitness),
            jnp.where(arrives, near, state.near),
            jnp.where(arrives, left, state.left - 1),
            best,
            jnp.where(arrives, -jnp.inf, best_fitness),
        )

    return Search(init, ask, tell, together=False)
