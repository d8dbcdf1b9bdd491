"""Regularized evolution, also called aging evolution."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.options import check_counts, check_options
from jaxproxy.search._genes import Genes
from jaxproxy.search._search import Core, Search, make_core

Proxy = Callable[[Array], Array]


class _State(NamedTuple):
    core: Core
    codes: Array
    """The pool int32[P, G], a ring: what is told goes to ``told % P``."""
    fitness: Array
    """float32[P]"""


def regularized_evolution(
    genes: Genes,
    *,
    pool: int = 64,
    sample: int = 10,
    replacement: bool = False,
    move: Literal["none", "parent", "neighbour"] = "none",
    proxy: Proxy | None = None,
) -> Search:
    """Returns the search that mutates the best of a sample of the youngest.

    The first ``pool`` architectures are random. Then each is the child of the fittest
    of ``sample`` members of the pool, and takes the place of the oldest.

    Args:
      genes: of the space.
      pool: how many architectures live, P.
      sample: how many of them compete to be the parent.
      replacement: whether one may compete twice, as with NAS-Bench-201's authors (who
        have a pool of 10 and samples of 3); without in zero-cost-nas (64 and 10).
      move: what else the proxy decides. ``neighbour``: with probability 3/4, the child
        is the parent's neighbour that is best by proxy (Abdelfattah et al.).
        ``parent``: which of the sample is the parent (the code of epsinas).
      proxy: code int32[G] -> float[], for a move.

    Raises:
      ValueError: sizes that are no positive integers, a sample that the pool cannot
        give, or a move without a proxy or the other way round.

    References:
      Real et al., "Regularized evolution for image classifier architecture search",
      AAAI 2019, arXiv:1802.01548. Abdelfattah et al., "Zero-cost proxies for
      lightweight NAS", ICLR 2021, section 5, arXiv:2101.08134.
    """
    check_counts(pool=pool, sample=sample)
    if sample > pool and not replacement:
        raise ValueError(
            f"sample={sample} of pool={pool}: without replacement, the sample is no "
            "larger than the pool"
        )
    check_options(regularized_evolution, {"move": move})
    if (move == "none") != (proxy is None):
        raise ValueError(f"move={move!r} with proxy={proxy}: a move needs a proxy")
    if proxy is not None and not callable(proxy):
        raise ValueError(f"proxy is a function of a code, not {proxy!r}")
    judge = None if proxy is None else partial(_by_proxy, genes, proxy)
    drawn = partial(_rivals, pool, sample, replacement)
    return _evolution(genes, pool, drawn, move, judge)


def _by_proxy(genes: Genes, proxy: Proxy, codes: Array) -> Array:
    """Returns the proxy float32[n] of codes int32[n, G], -inf if it is bad."""
    return jax.vmap(genes.judged)(codes, jax.vmap(proxy)(codes))


def _rivals(pool: int, sample: int, replacement: bool, key: Array) -> Array:
    """Returns the places in the pool of those that compete, int32[sample]."""
    if replacement:
        return jax.random.randint(key, (sample,), 0, pool)
    return lax.top_k(jax.random.uniform(key, (pool,)), sample)[1]


def _evolution(
    genes: Genes,
    pool: int,
    rivals: Callable[[Array], Array],
    move: str,
    judge: Callable[[Array], Array] | None,
) -> Search:
    """Returns the search, given who competes and what judges moves."""

    def init(key: Array) -> _State:
        codes = jnp.zeros((pool, len(genes.choices)), jnp.int32)
        return _State(make_core(genes, key), codes, jnp.full(pool, -jnp.inf))

    def parent(key: Array, state: _State) -> tuple[Array, Array]:
        """Returns the best of those that compete, int32[G], and if it is any good."""
        places = rivals(key)
        codes, fitness = state.codes[places], state.fitness[places]
        if judge is not None and move == "parent":
            # What failed when it was trained is no parent, whatever the proxy says.
            fitness = jnp.where(fitness > -jnp.inf, judge(codes), -jnp.inf)
        return codes[fitness.argmax()], fitness.max() > -jnp.inf

    def ask(state: _State) -> tuple[_State, Array]:
        core, key = state.core.next_key()
        parent_key, move_key = jax.random.split(key)
        elder, good = parent(parent_key, state)
        # Where nothing that competes is any good, it begins anew.
        young = (core.told < pool) | ~good

        def mutant(key: Array) -> Array:
            return genes.mutate(key, elder)

        def propose(key: Array) -> Array:
            # Not a where: random codes of a constrained space are dear.
            return lax.cond(young, genes.random, mutant, key)

        core, code = core.draw(genes, propose, elder)
        if judge is not None and move == "neighbour":
            near = genes.moved(elder)
            merits = judge(near)
            # If no neighbour is any good, the random one has to do.
            moves = ~young & jax.random.bernoulli(move_key, 0.75)
            moves &= merits.max() > -jnp.inf
            code = jnp.where(moves, near[merits.argmax()], code)
        return state._replace(core=core), code

    def tell(state: _State, code: Array, fitness: Array) -> _State:
        fitness, place = genes.judged(code, fitness), state.core.told % pool
        return _State(
            state.core.updated(code, fitness),
            state.codes.at[place].set(code),
            state.fitness.at[place].set(fitness),
        )

    return Search(init, ask, tell)
