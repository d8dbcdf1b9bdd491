"""The search of the InTrain paper."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.options import check_counts
from jaxproxy.search._genes import Genes
from jaxproxy.search._search import Core, Search, make_core


class _State(NamedTuple):
    core: Core
    codes: Array
    """The k best of all that were told, best first, int32[k, G]."""
    fitness: Array
    """float32[k]"""


def intrain_nas(genes: Genes, *, k: int = 10, distinct: bool = False) -> Search:
    """Returns the search that mutates one of the k best of the whole history.

    The first architecture is random. Only the k best of the history are ever parents,
    so they are all that is kept; one that equals the worst of them came later and
    stays out. An architecture may be told twice, and then is twice among them: as the
    best is told again and again, its copies may drive all others out.

    Args:
      genes: of the space.
      k: how many may be parents, each equally likely; all, as long as there are fewer.
      distinct: keep each code once, which the paper does not.

    Raises:
      ValueError: ``k`` is no positive integer.

    References:
      InTrain, arXiv:2606.18676, algorithm 1.
    """
    check_counts(k=k)

    def init(key: Array) -> _State:
        codes = jnp.zeros((k, len(genes.choices)), jnp.int32)
        return _State(make_core(genes, key), codes, jnp.full(k, -jnp.inf))

    def ask(state: _State) -> tuple[_State, Array]:
        core, key = state.core.next_key()
        known = jnp.minimum((state.fitness > -jnp.inf).sum(), k)
        elder = state.codes[jax.random.randint(key, (), 0, jnp.maximum(known, 1))]

        def mutant(key: Array) -> Array:
            return genes.mutate(key, elder)

        def propose(key: Array) -> Array:
            # Not a where: random codes of a constrained space are dear.
            return lax.cond(known == 0, genes.random, mutant, key)

        core, code = core.draw(genes, propose, elder)
        return state._replace(core=core), code

    def tell(state: _State, code: Array, fitness: Array) -> _State:
        fitness = genes.judged(code, fitness)
        # Behind all that are at least as good: with fitness [9, 7, 5] and a new 7,
        # place 2, so that [9, 7, 7] is left.
        place = (state.fitness >= fitness).sum()
        if distinct:
            told = (state.codes == code).all(1) & (state.fitness > -jnp.inf)
            place = jnp.where(told.any(), k, place)
        return _State(
            state.core.updated(code, fitness),
            _inserted(state.codes, code, place),
            _inserted(state.fitness, fitness, place),
        )

    return Search(init, ask, tell)


def _inserted(rows: Array, new: Array, place: Array) -> Array:
    """Returns rows with a new one at a place, without the last; as they are at k."""
    mask = (...,) + (None,) * (rows.ndim - 1)
    number = jnp.arange(len(rows))[mask]
    later = jnp.where(number == place, new, jnp.roll(rows, 1, axis=0))
    return jnp.where(number < place, rows, later)
