"""What to train next: a fit of a run's scores to the accuracies known so far (host)."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxproxy.analysis._columns import archs_of, names_in, score_columns
from jaxproxy.analysis._truth import Truth
from jaxproxy.runs import Run
from jaxproxy.search import Genes, Search, normal_scores, rerank

_FEW = 10
"""Below so many accuracies there is no fit."""


def propose(
    run: Run,
    accuracy: Mapping[str, float] | Truth,
    n: int = 8,
    *,
    explore: float = 0.5,
) -> list[str]:
    """Returns architectures of a run that are worth training next, the best first.

    With fewer than ten accuracies of the run's architectures, those of the highest mean
    normal score over all columns; then those that :func:`~jaxproxy.search.rerank`, a
    Gaussian process on all columns, asks for. The same accuracies give the same
    proposals, whatever their order.

    Args:
      run: a run with finished parts.
      accuracy: architecture string -> accuracy, higher is better, of those that were
        trained, or a truth of either kind; NaN for a training that failed. Those that
        the run does not have are no part of the fit.
      n: how many, fewer if the run has no more.
      explore: how many deviations of the fit count for as much as its mean.

    Raises:
      ValueError: ``n`` below one, or a run whose scores are all equal.
      StoreError: the run cannot be read.
    """
    if n < 1:
        raise ValueError(f"n is at least 1, not {n}")
    told_of = accuracy.oriented if isinstance(accuracy, Truth) else accuracy
    archs, columns = archs_of(run), score_columns(run)
    names = names_in(run, archs, told_of)
    # A run of random architectures may hold one of them twice.
    places = {arch: place for place, arch in enumerate(archs)}
    rows = np.array(sorted(places.values()))
    table = np.stack([column.oriented[rows] for column in columns], 1)
    scores = normal_scores(table)
    trained = np.array([names[row] in told_of for row in rows])
    n = min(n, int((~trained).sum()))
    if trained.sum() < _FEW:
        order = np.argsort(np.where(trained, np.inf, -scores.mean(1)), kind="stable")
        return [archs[row] for row in rows[order[:n]]]
    # To a search, an architecture is its place in the table: a single gene.
    search = rerank(
        Genes((len(rows),)),
        features=table,
        candidates=np.arange(len(rows))[:, None],
        first=_FEW,
        explore=explore,
        most=int(trained.sum()) + n,
    )
    told = np.flatnonzero(trained)
    fitness = [told_of[names[row]] for row in rows[told]]
    state = _told(search, told, np.array(fitness, np.float32))
    ask = jax.jit(search.ask)
    asked = []
    for _ in range(n):
        state, code = ask(state)
        asked.append(archs[rows[int(code[0])]])
    return asked


def _told(search: Search, places: np.ndarray, fitness: np.ndarray) -> Any:
    """Returns the state of a search that was told of some places, in their order."""

    def tell(state: Any, told: tuple[Array, Array]) -> tuple[Any, None]:
        return search.tell(state, *told), None

    codes = jnp.asarray(places[:, None], jnp.int32)
    told = codes, jnp.asarray(fitness)
    return jax.jit(partial(lax.scan, tell))(search.init(jax.random.key(0)), told)[0]
