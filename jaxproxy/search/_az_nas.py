"""The search of AZ-NAS, by ranks of several scores over all of its history."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxproxy.options import check_counts
from jaxproxy.search._children import check_start, make_child
from jaxproxy.search._genes import Genes
from jaxproxy.search._search import Core, Search, make_core


class _History(NamedTuple):
    """What was told and is any good, in its first ``size`` rows."""

    size: Array
    """int32[]"""
    codes: Array
    """int32[H, G]"""
    scores: Array
    """float32[H, P]"""
    ranks: Array
    """Of each score among all of the history, 1 for the worst, ties at their mean,
    float32[H, P]; 0 in rows that are not filled."""

    def merits(self) -> Array:
        """Returns float32[H] in the order of sums of log(rank / size), -1 if empty.

        It is the exponential of the sum: no logarithms, and fewer roundings.
        """
        size = jnp.maximum(self.size, 1).astype(jnp.float32)
        merits = (self.ranks / size).prod(1)
        return jnp.where(self.filled(), merits, -1.0)

    def filled(self) -> Array:
        """Returns which rows are of the history, bool[H]."""
        return jnp.arange(len(self.codes)) < self.size

    def moved(self, scores: Array, sign: Array) -> Array:
        """Returns the ranks if one of these scores comes (1), leaves (-1) or none (0).

        What is better moves by one, what is equal by a half. With scores [3, 5, 5, 8],
        ranks are [1, 2.5, 2.5, 4]; if a 5 comes, they are [1, 3, 3, 5].
        """
        better = (self.scores > scores[None]).astype(jnp.float32)
        equal = (self.scores == scores[None]).astype(jnp.float32)
        ranks = self.ranks + sign * (better + 0.5 * equal)
        return jnp.where(self.filled()[:, None], ranks, 0.0)

    def rank(self, scores: Array) -> Array:
        """Returns the ranks float32[P] of one that comes.

        One more than what is worse and half of what is equal: in the example of
        :meth:`moved`, 1 + 1 + 2 / 2 = 3.
        """
        filled = self.filled()[:, None]
        worse = (filled & (self.scores < scores[None])).sum(0, dtype=jnp.float32)
        equal = (filled & (self.scores == scores[None])).sum(0, dtype=jnp.float32)
        return worse + 0.5 * equal + 1.0

    def added(self, code: Array, scores: Array, good: Array) -> "_History":
        """Returns the history with one more, if it is good.

        The worst leaves where there is no room.
        """
        full = good & (self.size == len(self.codes))
        row = jnp.where(full, self.merits().argmin(), self.size)
        # Beyond the last row, nothing is written.
        row = jnp.where(good, row, len(self.codes))
        # What leaves is nobody's equal, and its row is written over below.
        left = self.moved(self.scores[row], -full.astype(jnp.float32))
        kept = self._replace(
            ranks=left, scores=self.scores.at[row].set(jnp.nan, mode="drop")
        )
        ranks = kept.moved(scores, good.astype(jnp.float32))
        return _History(
            jnp.minimum(self.size + good.astype(jnp.int32), len(self.codes)),
            self.codes.at[row].set(code, mode="drop"),
            kept.scores.at[row].set(scores, mode="drop"),
            ranks.at[row].set(kept.rank(scores), mode="drop"),
        )


def _empty(history: int, num_genes: int, scores: int) -> _History:
    """Returns a history that knows nothing yet."""
    none, codes = jnp.zeros((), jnp.int32), jnp.zeros((history, num_genes), jnp.int32)
    unknown = jnp.full((history, scores), jnp.nan)
    return _History(none, codes, unknown, jnp.zeros_like(unknown))


class _State(NamedTuple):
    core: Core
    history: _History
    parents: Array
    """Rows of the best of the history, best first, int32[pool - 1]."""
    stale: Array
    """Whether anything was told since those were found, bool[]."""


def az_nas_evolution(
    genes: Genes,
    *,
    scores: int = 1,
    history: int = 10_000,
    pool: int = 1_024,
    changes: int = 2,
    start: Sequence[int] | None = None,
) -> Search:
    """Returns the search that mutates one of the best of all by ranks of scores.

    How good an architecture is, is the sum over scores of log(rank / size) among all
    that was told, which changes with what is told later. The parent is one of the
    ``pool - 1`` best, each equally likely; as long as there are at most ten, what is
    asked for is the start with one change. What has a score that is not finite is left
    out, and counts in no rank.

    ``core.code`` is the best by that sum, ``core.fitness`` the sum; told one score,
    which is then what it ranks by, ``core.fitness`` is the score.

    Args:
      genes: of the space; the authors' moves of the MobileNetV2 space are
        :func:`~jaxproxy.spaces.mobilenetv2_mutation`.
      scores: how many an architecture is told with, P.
      history: how many architectures it knows, H; a ``tell`` takes O(H P) operations.
        If more are told, the worst leaves for each: ranks and the best are then among
        those that are left.
      pool: one more than may be parents.
      changes: mutations of a parent, as in :func:`zennas_evolution`.
      start: code of the architecture to begin with; None to begin with random ones.

    Raises:
      ValueError: sizes that are no positive integers, more parents than the history
        has room for or none, or a start that is no code.

    References:
      Lee and Ham, "AZ-NAS", CVPR 2024, arXiv:2403.19232, and its code. There, random
      numbers and equal architectures at the end of the ranking are in another order.
    """
    check_counts(scores=scores, history=history, pool=pool, changes=changes)
    if not 2 <= pool <= history + 1:
        raise ValueError(
            f"pool={pool} with history={history}: give 2 <= pool <= history + 1"
        )
    begin = check_start(genes, start)
    child = make_child(genes, begin, changes)

    def init(key: Array) -> _State:
        known = _empty(history, len(genes.choices), scores)
        parents = jnp.zeros(pool - 1, jnp.int32)
        return _State(make_core(genes, key), known, parents, jnp.array(False))

    return _evolution(genes, init, child, begin, scores)


def _evolution(
    genes: Genes,
    init: Callable[[Array], _State],
    child: Callable[[Array, Array, Array], Array],
    start: np.ndarray | None,
    scores: int,
) -> Search:
    """Returns the search, given its first state and how it makes a child."""

    def ask(state: _State) -> tuple[_State, Array]:
        core, key = state.core.next_key()
        known = state.history
        # Where several are asked for before they are told, they share the ranking.
        parents = lax.cond(
            state.stale,
            lambda: lax.top_k(known.merits(), len(state.parents))[1],
            lambda: state.parents,
        )
        number = jnp.clip(known.size, 1, len(parents))
        parent = known.codes[parents[jax.random.randint(key, (), 0, number)]]
        if start is not None:
            parent = jnp.where(known.size == 0, start, parent)

        def propose(key: Array) -> Array:
            return child(key, parent, known.size)

        core, code = core.draw(genes, propose, parent)
        return _State(core, known, parents, jnp.array(False)), code

    def tell(state: _State, code: Array, fitness: Array) -> _State:
        judged = genes.judged(code, fitness)
        good, told = jnp.isfinite(judged).all(), judged.reshape(scores)
        known = state.history.added(code, told, good)
        core = _updated(state.core, known, code, judged)
        return _State(core, known, state.parents, state.stale | good)

    return Search(init, ask, tell, scores=scores)


def _updated(core: Core, known: _History, code: Array, judged: Array) -> Core:
    """Returns the core with one more that was told."""
    if judged.ndim == 0:
        return core.updated(code, judged)
    best = known.merits().argmax()
    some, size = known.size > 0, jnp.maximum(known.size, 1).astype(jnp.float32)
    merit = jnp.log(jnp.where(some, known.ranks[best], 1.0) / size).sum()
    first = jnp.where(core.told == 0, code, core.code)
    return core._replace(
        told=core.told + 1,
        code=jnp.where(some, known.codes[best], first),
        fitness=jnp.where(some, merit, core.fitness),
    )
