"""Random search."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxproxy.search._genes import Genes
from jaxproxy.search._search import Core, Search, make_core


class _State(NamedTuple):
    core: Core


def random_search(genes: Genes) -> Search:
    """Returns the search that draws uniformly, with replacement.

    Args:
      genes: of the space.
    """

    def ask(state: _State) -> tuple[_State, Array]:
        nowhere = jnp.zeros(len(genes.choices), jnp.int32)
        core, code = state.core.draw(genes, genes.random, nowhere)
        return _State(core), code

    def tell(state: _State, code: Array, fitness: Array) -> _State:
        return _State(state.core.updated(code, genes.judged(code, fitness)))

    return Search(lambda key: _State(make_core(genes, key)), ask, tell)
