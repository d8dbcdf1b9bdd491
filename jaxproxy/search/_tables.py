"""Searches on tables: hundreds of runs in one call, and what they found."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxproxy.limits import check_memory
from jaxproxy.options import check_counts
from jaxproxy.search._genes import Genes
from jaxproxy.search._search import Search, run

_BYTES = 2**30
_NUMBERS = 40  # bytes of an evaluation of a run, at least: a rank and its truths
"""Of the states of runs that are computed together."""


def look_up(genes: Genes, codes: np.ndarray, values: np.ndarray) -> "LookUp":
    """Returns stored values as a function of a code, for devices.

    Args:
      genes: of the space, dense: every combination has a value.
      codes: int32[N, G], in the order of the values; all of the space.
      values: float[N].

    Raises:
      ValueError: codes without a value, twice, or more codes than ranks of 32 bits.
    """
    rows = table_rows(genes, codes)
    return LookUp(genes, jnp.asarray(np.asarray(values, np.float32)[rows]))


def table_rows(genes: Genes, codes: np.ndarray) -> np.ndarray:
    """Returns the row of a table for each rank of a code, int64[N].

    Args:
      genes: of the space.
      codes: int32[N, G] of the rows of the table.

    Raises:
      ValueError: not every code of the space once.
    """
    ranks = np.asarray(genes.rank(jnp.asarray(codes)))
    num = int(np.prod(genes.choices, dtype=object))
    rows = np.argsort(ranks)
    if len(ranks) != num or (ranks[rows] != np.arange(num)).any():
        known = len(np.unique(ranks))
        raise ValueError(
            f"a table has every architecture once; this has {len(ranks)} rows of "
            f"{known} of the {num}"
        )
    return rows


class LookUp(NamedTuple):
    """Values of a table by the rank of a code."""

    genes: Genes
    values: Array
    """float32[N]"""

    def __call__(self, code: Array) -> Array:
        """Returns the value float32[] of a code int32[G]."""
        return self.values[self.genes.rank(code)]


def simulate(
    search: Search,
    genes: Genes,
    seen: np.ndarray,
    *,
    budget: int,
    runs: int = 500,
    key: Array | None = None,
    together: int | None = None,
) -> np.ndarray:
    """Returns which architectures many runs of a search score, in order.

    One program for all; run ``i`` is that of key ``i`` of ``jax.random.split``.

    Args:
      search: what is run.
      genes: of the space.
      seen: float[N], what the search is told of an architecture, by its rank; or
        float[D, N] for several data sets.
      budget: evaluations of a run.
      runs: how many.
      key: of all runs; None for that of seed 0.
      together: how many runs are computed at once; None for as many as have states of
        one GiB together, which is all but for ``rerank``.

    Returns:
      Ranks int32[runs, budget], or [D, runs, budget]; :func:`curves` makes them
      accuracies.

    Raises:
      ValueError: no runs, no budget, or a table of another size than the space.
    """
    seen = np.asarray(seen, np.float32)
    num = int(np.prod(genes.choices, dtype=object))
    if seen.ndim not in (1, 2) or seen.shape[-1] != num:
        raise ValueError(f"a table of {num} values is needed, not {list(seen.shape)}")
    if runs < 1 or budget < 1 or (together is not None and together < 1):
        raise ValueError(
            f"runs={runs}, budget={budget}, together={together}: all are at least 1"
        )
    check_counts(runs=runs, budget=budget)
    check_memory(_NUMBERS * budget, runs=runs)
    keys = jax.random.split(jax.random.key(0) if key is None else key, runs)

    def ranks(key: Array, seen: Array) -> Array:
        codes = run(search, lambda code: seen[genes.rank(code)], budget, key).codes
        return genes.rank(codes)

    def many(keys: Array, seen: Array) -> Array:
        size = together or _fitting(search, runs)
        # A batch of one would run both sides of every condition.
        batch_size = None if size == 1 else size
        return lax.map(lambda key: ranks(key, seen), keys, batch_size=batch_size)

    tables = seen.reshape(-1, num)
    found = jax.jit(lambda keys, tables: lax.map(partial(many, keys), tables))
    return np.asarray(found(keys, tables)).reshape(*seen.shape[:-1], runs, budget)


def _fitting(search: Search, runs: int) -> int:
    """Returns how many runs, at least one, have states that fit."""
    state = jax.tree.leaves(jax.eval_shape(search.init, jax.random.key(0)))
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in state)
    return max(1, min(runs, _BYTES // size))


class Curves(NamedTuple):
    """What runs have found after 1, 2, ... evaluations, float64[runs, budget] each."""

    honest: np.ndarray
    """Truth of the architecture that is best by what the search saw."""
    oracle: np.ndarray
    """Best truth of any architecture that was scored, which no user would know."""


def curves(ranks: np.ndarray, seen: np.ndarray, truth: np.ndarray) -> Curves:
    """Returns what the runs of :func:`simulate` have found.

    Args:
      ranks: int[runs, budget].
      seen: float[N] by rank, as the search was told; what is not finite is never best.
      truth: float[N] by rank, as is reported.
    """
    seen, truth = np.asarray(seen, float)[ranks], np.asarray(truth, float)[ranks]
    seen = np.where(np.isfinite(seen), seen, -np.inf)
    best = np.maximum.accumulate(seen, axis=1)
    # The first that reached the best so far: of equals, the earlier.
    new = np.concatenate(
        [np.ones_like(best[:, :1], bool), best[:, 1:] > best[:, :-1]], 1
    )
    places = np.where(new, np.arange(seen.shape[1]), 0)
    winner = np.maximum.accumulate(places, axis=1)
    honest = np.take_along_axis(truth, winner, axis=1)
    return Curves(honest, np.fmax.accumulate(truth, axis=1))
