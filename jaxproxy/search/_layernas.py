"""Search gene by gene with the best of each cost, after LayerNAS."""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxproxy.options import check_choices, check_counts
from jaxproxy.search._genes import Genes
from jaxproxy.search._search import Core, Search, make_core


class _State(NamedTuple):
    core: Core
    gene: Array
    """Which gene is decided next, int32[]."""
    prefixes: Array
    """The best for each bucket of cost so far, later genes by default, int32[H, G]."""
    todo: Array
    """Which prefix with which value of the gene is still to be scored, bool[H, V]."""
    pending: Array
    """Which of them was asked, as an index into H * V, int32[]."""
    found: Array
    """The best of the longer prefixes for each bucket, int32[H, G]."""
    fitness: Array
    """Theirs, float32[H]; -inf for none."""


def layernas(
    genes: Genes,
    *,
    most: float | None = None,
    buckets: int = 100,
    rest: Literal["largest", "smallest"] = "smallest",
) -> Search:
    """Returns a LayerNAS-style search: genes in order, the best of each cost kept.

    It keeps one architecture for each of H equally wide buckets of cost up to ``most``.
    A step takes the next gene: each kept architecture is scored with every value of it,
    and of all that fall into a bucket the best is kept. With L genes of V values, that
    is at most H V L scores in place of V to the power of L. At the end it begins anew,
    the later genes as in the best that was found.

    The authors have published no code; what is uncertain is decided here: a bucket is
    that of the cost with the cheapest later genes, so that what cannot meet ``most`` is
    never extended, and an architecture that is not allowed is not scored. It finds the
    best of all if the later genes never change which of two prefixes is better.

    Args:
      genes: of the space, in the order in which they are decided, with a cost.
      most: the largest cost that is kept; None for that of the dearest architecture.
      buckets: H.
      rest: the later genes of what is scored in the first pass, by cost.

    Raises:
      ValueError: genes without a cost, ``most`` not positive, or wrong options.

    References:
      Fan et al., "LayerNAS: Neural architecture search in polynomial complexity", 2023,
      arXiv:2304.11517, algorithm 1.
    """
    check_counts(buckets=buckets)
    check_choices(rest=(rest, ("largest", "smallest")))
    if genes.cost is None:
        raise ValueError("layernas needs genes with a cost, as make_genes gives")
    with jax.ensure_compile_time_eval():  # also where a user's program makes it
        cheap = _extreme(genes, genes.cost, -1.0)
        dear = _extreme(genes, genes.cost, 1.0)
        limit = float(genes.cost(jnp.asarray(dear))) if most is None else most
    if not 0 < limit < math.inf:
        raise ValueError(f"most={limit}: the largest cost is positive and finite")
    bucket = _buckets(genes.cost, cheap, limit, buckets)
    plan = _Plan(genes, bucket, buckets)
    return _by_gene(plan, dear if rest == "largest" else cheap)


def _extreme(genes: Genes, cost: Callable[[Array], Array], sign: float) -> np.ndarray:
    """Returns the code int32[G] of the largest cost, or of the smallest.

    By two rounds over the genes: exact if what is dear in a gene is dear whatever the
    others are.
    """
    code = np.zeros(len(genes.choices), np.int32)
    for gene, num in [*enumerate(genes.choices)] * 2:
        rows = np.tile(code, (num, 1))
        rows[:, gene] = np.arange(num)
        code = rows[np.argmax(sign * np.asarray(jax.vmap(cost)(jnp.asarray(rows))))]
    return code


def _buckets(
    cost: Callable[[Array], Array], cheap: np.ndarray, most: float, buckets: int
) -> Callable[[Array, Array], Array]:
    """Returns (code, gene) -> its bucket int32[], ``buckets`` for none.

    Of code [3, 1, 2] and gene 1 the cost is that of [3, 1, c], c the cheapest. With
    most=10 and five buckets, costs 0 to 2 are in bucket 0, and 8.1 to 10 in bucket 4.
    """

    def bucket(code: Array, gene: Array) -> Array:
        least = jnp.where(jnp.arange(len(code)) > gene, jnp.asarray(cheap), code)
        value = jnp.asarray(cost(least), jnp.float32)
        place = jnp.ceil(value / most * buckets).astype(jnp.int32) - 1
        return jnp.where(value <= most, jnp.clip(place, 0, buckets - 1), buckets)

    return bucket


class _Plan(NamedTuple):
    """Which prefixes are extended, and how."""

    genes: Genes
    bucket: Callable[[Array, Array], Array]
    buckets: int

    def candidates(self, prefixes: Array, gene: Array) -> Array:
        """Returns each prefix with each value of the gene, int32[H, V, G]."""
        options = max(self.genes.choices)
        rows = jnp.repeat(prefixes[:, None], options, axis=1)
        return rows.at[:, :, gene].set(jnp.arange(options))

    def rows(self, state: _State) -> Array:
        """Returns all that a step may score, int32[H * V, G]."""
        rows = self.candidates(state.prefixes, state.gene)
        return rows.reshape(-1, rows.shape[-1])

    def planned(self, core: Core, gene: Array, prefixes: Array, live: Array) -> _State:
        """Returns the state that has all values of a gene before it."""
        rows = self.candidates(prefixes, gene)
        sizes = jnp.array(self.genes.choices, jnp.int32)
        todo = live[:, None] & (jnp.arange(rows.shape[1])[None] < sizes[gene])
        places = jax.vmap(jax.vmap(self.bucket, (0, None)), (0, None))(rows, gene)
        todo &= places < self.buckets
        if self.genes.allowed is not None:
            todo &= jax.vmap(jax.vmap(self.genes.allowed))(rows)
        none = jnp.full(self.buckets, -jnp.inf, jnp.float32)
        first = jnp.zeros((), jnp.int32)
        return _State(core, gene, prefixes, todo, first, jnp.zeros_like(prefixes), none)

    def anew(self, core: Core, code: Array) -> _State:
        """Returns the state that begins with one code."""
        prefixes = jnp.tile(code, (self.buckets, 1))
        first = jnp.arange(self.buckets) == 0
        return self.planned(core, jnp.zeros((), jnp.int32), prefixes, first)

    def onward(self, state: _State) -> _State:
        """Returns the state that plans the next gene, or the next pass."""
        last, live = len(self.genes.choices) - 1, state.fitness > -jnp.inf
        gene = jnp.minimum(state.gene + 1, last)
        further = self.planned(state.core, gene, state.found, live)
        again, end = self.anew(state.core, state.core.code), state.gene == last
        end |= ~live.any()
        return jax.tree.map(lambda a, b: jnp.where(end, a, b), again, further)


def _by_gene(plan: _Plan, start: np.ndarray) -> Search:
    genes = plan.genes

    def init(key: Array) -> _State:
        return plan.anew(make_core(genes, key), jnp.asarray(start))

    def ask(state: _State) -> tuple[_State, Array]:
        core, other = state.core.draw(genes, genes.random, state.core.code)
        pending = state.todo.reshape(-1).argmax().astype(jnp.int32)
        code = jnp.where(state.todo.any(), plan.rows(state)[pending], other)
        return state._replace(core=core, pending=pending), code

    def tell(state: _State, code: Array, fitness: Array) -> _State:
        fitness = genes.judged(code, fitness)
        state = state._replace(core=state.core.updated(code, fitness))
        # What it did not ask for counts as found, but is no part of the plan.
        asked = state.todo.any() & (plan.rows(state)[state.pending] == code).all()
        place = plan.bucket(code, state.gene)
        better = asked & (fitness > state.fitness.at[place].get(mode="clip"))
        place = jnp.where(better, place, plan.buckets)
        todo = state.todo.reshape(-1)
        todo = todo.at[state.pending].set(todo[state.pending] & ~asked)
        state = state._replace(
            todo=todo.reshape(state.todo.shape),
            found=state.found.at[place].set(code, mode="drop"),
            fitness=state.fitness.at[place].set(fitness, mode="drop"),
        )
        return jax.lax.cond(todo.any(), lambda same: same, plan.onward, state)

    return Search(init, ask, tell, together=False)
