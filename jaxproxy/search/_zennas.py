"""The search of Zen-NAS and ZiCo."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxproxy.options import check_counts, check_options
from jaxproxy.search._children import FOUNDERS, check_start, make_child
from jaxproxy.search._genes import Genes
from jaxproxy.search._search import Core, Search, make_core


class _State(NamedTuple):
    core: Core
    codes: Array
    """The pool int32[P, G]; its members are the first of the rows."""
    fitness: Array
    """float32[P], -inf where there is no member yet."""
    born: Array
    """How many were told before each, int32[P]."""


def zennas_evolution(
    genes: Genes,
    *,
    pool: int = 512,
    changes: int = 2,
    start: Sequence[int] | None = None,
    count_rejected: bool = False,
) -> Search:
    """Returns the search that mutates a random member of a pool of the best.

    What is told joins the pool, and the worst leaves it if it is too large; of equally
    bad ones, the oldest. As long as the pool has at most ten members, and is not full,
    what is asked for is the start with one change. What has no finite fitness does not
    join; the authors give it -9999.

    Args:
      genes: of the space; the authors' moves of the MobileNetV2 space are
        :func:`~jaxproxy.spaces.mobilenetv2_mutation`.
      pool: the most members, each equally likely to be the parent.
      changes: mutations of a parent. The authors' two are of different blocks, or one
        if they draw the same block twice; here, the second is of what the first made.
      start: code of the architecture to begin with; None to begin with random ones.
      count_rejected: whether a proposal that is not allowed uses up an evaluation, as
        with the authors. It is then asked for and counted in ``core.refused``, and
        told it is -inf; :func:`~jaxproxy.scoring.search_live` does not score it.
        Otherwise it is drawn again, as by all other searches.

    Raises:
      ValueError: sizes that are no positive integers, or a start that is no code.

    References:
      Lin et al., "Zen-NAS", ICCV 2021, algorithm 1, arXiv:2102.01063, and its code;
      Li et al., "ZiCo", ICLR 2023, arXiv:2301.11300, has the same.
    """
    check_counts(pool=pool, changes=changes)
    check_options(zennas_evolution, {"count_rejected": count_rejected})
    return _evolution(genes, pool, changes, check_start(genes, start), count_rejected)


def _evolution(
    genes: Genes,
    pool: int,
    changes: int,
    start: np.ndarray | None,
    count_rejected: bool,
) -> Search:
    """Returns the search of checked options."""
    # A pool of ten would otherwise have no parents, ever.
    child = make_child(genes, start, changes, min(FOUNDERS, pool))

    def init(key: Array) -> _State:
        core = make_core(genes, key)
        codes = jnp.zeros((pool, len(genes.choices)), jnp.int32)
        fitness, born = jnp.full(pool, -jnp.inf), jnp.zeros(pool, jnp.int32)
        return _State(core, codes, fitness, born)

    def ask(state: _State) -> tuple[_State, Array]:
        core, key = state.core.next_key()
        members = (state.fitness > -jnp.inf).sum(dtype=jnp.int32)
        row = jax.random.randint(key, (), 0, jnp.maximum(members, 1))
        parent = state.codes[row]
        if start is not None:
            parent = jnp.where(members == 0, start, parent)

        def propose(key: Array) -> Array:
            return child(key, parent, members)

        if not count_rejected or genes.allowed is None:
            core, code = core.draw(genes, propose, parent)
            return state._replace(core=core), code
        core, key = core.next_key()
        code = propose(key)
        refused = core.refused + (~genes.allowed(code)).astype(jnp.int32)
        return state._replace(core=core._replace(refused=refused)), code

    def tell(state: _State, code: Array, fitness: Array) -> _State:
        return _told(state, code, genes.judged(code, fitness))

    return Search(init, ask, tell)


def _told(state: _State, code: Array, fitness: Array) -> _State:
    """Returns the state that knows one more judged fitness."""
    # The oldest of the worst; rows without a member are worse than all.
    worst = state.fitness == state.fitness.min()
    row = jnp.where(worst, state.born, jnp.iinfo(jnp.int32).max).argmin()
    # Of equals, the one that leaves is older than what is told.
    joins = (fitness >= state.fitness[row]) & (fitness > -jnp.inf)

    def joined(rows: Array, new: Array) -> Array:
        return rows.at[row].set(jnp.where(joins, new, rows[row]))

    return _State(
        state.core.updated(code, fitness),
        joined(state.codes, code),
        joined(state.fitness, fitness),
        joined(state.born, state.core.told),
    )
