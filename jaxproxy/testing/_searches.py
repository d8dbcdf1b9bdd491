"""Checks of users' own searches."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxproxy.search import Genes, Search, Trace, run
from jaxproxy.testing._checks import require


def check_search(
    make: Callable[[Genes], Search], genes: Genes, *, budget: int = 40
) -> None:
    """Raises ValueError if a search breaks its contract.

    What it asks for must be codes of the space; runs must be functions of their keys,
    whether alone or under ``vmap``; the best must be the first that is best of what was
    told; no fitness that is not finite, and no architecture that is not allowed, may be
    the best; and what it did not ask for may be told.

    Args:
      make: genes -> the search, as the functions of ``SEARCHES``.
      genes: of a small space in which everything is allowed.
      budget: evaluations of a run.
    """
    search = make(genes)
    weights = jnp.linspace(0.5, 1.5, len(genes.choices))

    def score(code: Array) -> Array:
        return (jnp.sin(3.0 * code.astype(jnp.float32) + weights) * weights).sum()

    def trace(key: Array) -> Trace:
        return run(search, score, budget, key)

    keys = jax.random.split(jax.random.key(0), 3)
    many = jax.jit(jax.vmap(trace))(keys)
    one = jax.jit(trace)
    for number, key in enumerate(keys):
        alone = one(key)
        _check_trace(genes, alone, budget)
        same = bool((alone.codes == many.codes[number]).all())
        require(same, "a run is the same alone and in vmap")
    _check_bad_fitness(search, budget)
    _check_budget(make, genes, score, budget)
    strange = jnp.array([n - 1 for n in genes.choices], jnp.int32)
    told = search.tell(search.init(keys[0]), strange, jnp.float32(1e6))
    require(
        bool((told.core.code == strange).all()), "it learns what it did not ask for"
    )


def _check_trace(genes: Genes, trace: Trace, budget: int) -> None:
    codes, fitness, core = np.asarray(trace.codes), trace.fitness, trace.state.core
    shape = budget, len(genes.choices)
    require(codes.shape == shape, f"codes have shape {list(shape)}")
    require(codes.dtype == np.int32, f"codes are int32, not {codes.dtype}")
    within = (codes >= 0) & (codes < np.array(genes.choices))
    require(bool(within.all()), "genes are within their choices")
    best = int(np.argmax(fitness))
    require(int(core.told) == budget, "it counts what it is told")
    require(bool((core.code == codes[best]).all()), "the best is the first of the best")


def _check_bad_fitness(search: Search, budget: int) -> None:
    """Every second fitness is NaN or infinite; later, all are."""
    state = search.init(jax.random.key(1))
    ask, tell = jax.jit(search.ask), jax.jit(search.tell)
    bad = (jnp.nan, jnp.inf, -jnp.inf)
    for number in range(min(budget, 12)):
        state, code = ask(state)
        fitness = bad[number // 2 % 3] if number % 2 else -float(number)
        state = tell(state, code, jnp.float32(fitness))
    require(float(state.core.fitness) == 0.0, "what is not finite is never the best")
    state = search.init(jax.random.key(2))
    state, first = ask(state)
    state = tell(state, first, jnp.float32(jnp.nan))
    for _ in range(3):
        state, code = ask(state)
        state = tell(state, code, jnp.float32(jnp.nan))
    require(
        bool((state.core.code == first).all()), "if nothing is finite, the first is"
    )
    require(bool(jnp.isneginf(state.core.fitness)), "as the best, with -inf")


def _check_budget(
    make: Callable[[Genes], Search],
    genes: Genes,
    score: Callable[[Array], Array],
    budget: int,
) -> None:
    """Allows few, and then none."""
    limit = sum(genes.choices) // 2 - len(genes.choices) // 2

    def allowed(code: Array) -> Array:
        return code.sum() <= limit

    search = make(genes._replace(allowed=allowed))
    trace = jax.jit(lambda key: run(search, score, budget, key))(jax.random.key(3))
    wrong = int((trace.codes.sum(1) > limit).sum())
    require(wrong == 0, f"what is not allowed is not asked for, but {wrong} were")
    nothing = make(genes._replace(allowed=lambda code: code.sum() < 0))
    trace = jax.jit(lambda key: run(nothing, score, 2, key))(jax.random.key(4))
    best = trace.state.core.fitness
    require(bool(jnp.isneginf(best)), "where nothing is allowed, nothing is the best")
