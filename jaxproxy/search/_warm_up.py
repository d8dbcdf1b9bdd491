"""Searches that begin with what a proxy likes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxproxy.options import check_counts
from jaxproxy.search._genes import Genes
from jaxproxy.search._search import Core, Search


class _State(NamedTuple):
    inner: Any
    first: Array
    """What is asked first, int32[N, G]."""
    asked: Array
    """How much of it was, int32[]."""

    @property
    def core(self) -> Core:
        """What every search keeps."""
        return self.inner.core


def warm_up(
    search: Search,
    genes: Genes,
    proxy: Callable[[Array], Array],
    *,
    pool: int = 3_000,
    first: int = 64,
) -> Search:
    """Returns a search that asks first for what a proxy likes best.

    Of ``pool`` random architectures, with repetitions, the ``first`` best by proxy are
    asked for in their order; the search is told of them, so that they are the first
    pool of an evolution. Non-finite scores come last.

    Args:
      search: what goes on from there.
      genes: of the space.
      proxy: code int32[G] -> float[].
      pool: how many architectures the proxy scores.
      first: how many of them are asked for.

    Raises:
      ValueError: fewer scored than asked for, or none.

    References:
      Abdelfattah et al., "Zero-cost proxies for lightweight NAS", ICLR 2021, section 5,
      arXiv:2101.08134.
    """
    check_counts(pool=pool, first=first)
    if first > pool:
        raise ValueError(f"first={first} of pool={pool}: give 1 <= first <= pool")

    def init(key: Array) -> _State:
        key, own = jax.random.split(key)
        codes = jax.vmap(genes.random)(jax.random.split(own, pool))
        scores = jax.vmap(genes.judged)(codes, jax.vmap(proxy)(codes))
        best = jnp.argsort(-scores, stable=True)[:first]
        return _State(search.init(key), codes[best], jnp.zeros((), jnp.int32))

    def ask(state: _State) -> tuple[_State, Array]:
        # The search is not asked for what it does not choose: it may remember.
        inner, code = jax.lax.cond(
            state.asked < first,
            lambda state: (state.inner, state.first[state.asked]),
            lambda state: search.ask(state.inner),
            state,
        )
        return _State(inner, state.first, state.asked + 1), code

    def tell(state: _State, code: Array, fitness: Array) -> _State:
        return state._replace(inner=search.tell(state.inner, code, fitness))

    return search._replace(init=init, ask=ask, tell=tell)
