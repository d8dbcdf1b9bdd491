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
    told, or, of several scores, one than which none is better by every score; no
    fitness that is not finite, and no architecture that is not allowed, may be the
    best; and what it did not ask for may be told.

    Args:
      make: genes -> the search, as the functions of ``SEARCHES``.
      genes: of a small space in which everything is allowed.
      budget: evaluations of a run.
    """
    search = make(genes)
    weights = jnp.linspace(0.5, 1.5, len(genes.choices))

    def score(code: Array) -> Array:
        genes = code.astype(jnp.float32)[None]
        waves = jnp.arange(3.0, 3.0 + search.scores)[:, None] * genes
        scores = (jnp.sin(waves + weights[None]) * weights[None]).sum(1)
        return scores if search.scores > 1 else scores[0]

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
    much = _told(search, 1e6)
    told = search.tell(search.init(keys[0]), strange, much)
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
    require(int(core.told) == budget, "it counts what it is told")
    if fitness.ndim == 1:
        first = bool((core.code == codes[int(np.argmax(fitness))]).all())
        require(first, "the best is the first of the best")
        return
    told = np.flatnonzero((codes == np.asarray(core.code)).all(1))
    require(len(told) > 0, "the best was told")
    better = (np.asarray(fitness) > np.asarray(fitness)[told[0]]).all(1)
    require(not better.any(), "nothing is better than the best by every score")


def _told(search: Search, *values: float) -> Array:
    """Returns what a search is told: the values in turn, as many as it takes."""
    scores = np.resize(np.array(values, np.float32), max(search.scores, len(values)))
    return jnp.asarray(scores[: search.scores] if search.scores > 1 else scores[0])


def _check_bad_fitness(search: Search, budget: int) -> None:
    """Every second fitness is NaN or infinite; later, all are."""
    state = search.init(jax.random.key(1))
    ask, tell = jax.jit(search.ask), jax.jit(search.tell)
    bad, codes = (jnp.nan, jnp.inf, -jnp.inf), []
    for number in range(min(budget, 12)):
        state, code = ask(state)
        codes.append(code)
        # Of several scores, one that is not finite is enough.
        values = (bad[number // 2 % 3], 1.0) if number % 2 else (-float(number),)
        state = tell(state, code, _told(search, *values))
    core = state.core
    first = (core.code == codes[0]).all() & jnp.isfinite(core.fitness)
    if search.scores == 1:
        first &= core.fitness == 0.0
    require(bool(first), "what is not finite is never the best")
    state = search.init(jax.random.key(2))
    state, first = ask(state)
    state = tell(state, first, _told(search, jnp.nan))
    for _ in range(3):
        state, code = ask(state)
        state = tell(state, code, _told(search, jnp.nan))
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
