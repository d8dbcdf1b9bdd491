"""Searches on tables of a space, and what they found (host, but for the runs)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxproxy.analysis._columns import archs_of, score_columns
from jaxproxy.analysis._truth import Truth
from jaxproxy.limits import check_seed
from jaxproxy.options import make, quoted
from jaxproxy.runs import Run
from jaxproxy.search import (
    SEARCHES,
    Curves,
    Search,
    curves,
    look_up,
    make_genes,
    simulate,
    table_rows,
    warm_up,
)
from jaxproxy.spaces import Space

_MARKS = (10, 20, 50, 100, 200, 300, 500, 1_000, 2_000, 5_000)
_FIRST = 64


class Simulated(NamedTuple):
    """What the runs of one search had found after some evaluations, by one truth."""

    method: str
    truth: str
    evaluations: int
    mean: float
    """Truth of what was best by what the search saw, mean over runs."""
    std: float
    best_seen_mean: float
    """The best truth of anything that was scored, which no user would know."""


def simulations(
    space: Space,
    methods: Sequence[str] | Mapping[str, Search],
    seen: Truth,
    truths: Sequence[Truth],
    *,
    budget: int = 300,
    runs: int = 500,
    warm: Truth | None = None,
    seed: int = 0,
) -> Iterator[tuple[str, str, Curves]]:
    """Yields what many runs of searches find on tables: method, truth, curves.

    Args:
      space: all of whose codes are architectures, few enough to be listed.
      methods: names of searches with their options, as in ``SEARCHES``, or searches by
        name, such as those of :func:`named_searches`.
      seen: what a search is told.
      truths: what is reported.
      budget: evaluations of a run.
      runs: of each search.
      warm: scores of a proxy: each search is run a second time, and asks first for what
        is best by it. Architectures without a score come last.
      seed: of all runs.

    Raises:
      ValueError: an unknown search or option, a space that cannot be listed, a table
        that lacks architectures, or numbers below one.
    """
    codes = all_codes(space)
    check_seed(seed)
    if not truths or not methods:
        raise ValueError("give at least one method, and one truth to report")
    genes = make_genes(space)
    archs = space.to_strs(codes)
    given = isinstance(methods, Mapping)
    searches = dict(methods) if given else named_searches(space, methods)
    values = {t.name: _column(space, archs, t) for t in truths}
    lower = {t.name: t.lower for t in truths}
    told = _column(space, archs, seen)
    if warm is not None:
        scores = _column(space, archs, warm, complete=False)
        proxy, pool = look_up(genes, codes, scores), max(3_000, budget)
        searches |= {
            f"warm-up+{name}": warm_up(
                search, genes, proxy, first=_first(name, budget), pool=pool
            )
            for name, search in searches.items()
        }
    order = table_rows(genes, codes)
    for name, search in searches.items():
        key = jax.random.key(seed)
        ranks = simulate(search, genes, told[order], budget=budget, runs=runs, key=key)
        for truth, column in values.items():
            found = curves(ranks, told[order], column[order])
            yield name, truth, _in_its_unit(found, lower[truth])


def all_codes(space: Space) -> np.ndarray:
    """Returns the codes int32[N, G] of a space of which there are tables of all.

    Raises:
      ValueError: it is too large, or some of its codes are no architectures.
    """
    if space.enumerate is None or space.constraint is not None:
        raise ValueError(
            f"{space.name} is too large, or has too few architectures among its codes, "
            "for a table of all"
        )
    return space.enumerate()


def named_searches(
    space: Space, methods: Sequence[str], features: Run | None = None
) -> dict[str, Search]:
    """Returns searches of a space by their names with options.

    Args:
      space: all of whose codes are architectures, few enough to be listed.
      methods: names of searches with their options, as in ``SEARCHES``.
      features: a run that scored the whole space, whose columns ``rerank`` fits; the
        genes themselves where there is none.

    Raises:
      ValueError: an unknown search or option, a space that cannot be listed, or a run
        that lacks architectures.
    """
    genes, codes, table = make_genes(space), all_codes(space), None
    if features is not None:
        archs = space.to_strs(codes)
        table = _columns(space, archs, features)[table_rows(genes, codes)]
    searches = {}
    for text in methods:
        given: dict[str, Any] = {"genes": genes}
        if table is not None and text.partition("(")[0].strip() == "rerank":
            given["features"] = table
        search, name = make(text, SEARCHES, "method", **given)
        searches[name] = search
    return searches


def simulated(found: Mapping[tuple[str, str], Curves]) -> list[Simulated]:
    """Returns records of curves after 10, 20, 50... evaluations and at the end.

    Args:
      found: by method and truth.
    """
    records = []
    for (method, truth), curve in found.items():
        budget = curve.honest.shape[1]
        for mark in sorted({*(m for m in _MARKS if m < budget), budget}):
            honest, oracle = curve.honest[:, mark - 1], curve.oracle[:, mark - 1]
            mean, std = float(honest.mean()), float(honest.std())
            records.append(
                Simulated(method, truth, mark, mean, std, float(oracle.mean()))
            )
    return records


def _columns(space: Space, archs: Sequence[str], run: Run) -> np.ndarray:
    """Returns all columns of a run float64[N, F], a row for each architecture.

    Raises:
      ValueError: the run lacks architectures.
    """
    places = {arch: place for place, arch in enumerate(archs_of(run))}
    missing = [arch for arch in archs if arch not in places]
    if missing:
        raise ValueError(
            f"{run.path} lacks {len(missing)} of the {len(archs)} architectures of "
            f"{space.name}, such as {missing[0]!r}"
        )
    table = np.stack([column.oriented for column in score_columns(run)], 1)
    return table[[places[arch] for arch in archs]]


def _in_its_unit(found: Curves, lower: bool) -> Curves:
    """Returns curves of a truth that was turned so that higher is better."""
    return Curves(-found.honest, -found.oracle) if lower else found


def _first(name: str, budget: int) -> int:
    """Returns how much of the warm-up is evaluated: all by random search."""
    return budget if name.startswith("random_search") else min(_FIRST, budget)


def _column(
    space: Space, archs: Sequence[str], truth: Truth, *, complete: bool = True
) -> np.ndarray:
    """Returns values float64[N] of architectures, higher is better, NaN without one.

    Raises:
      ValueError: none at all, or any if the column is to be complete.
    """
    known = truth.oriented
    values = np.array([known.get(arch, np.nan) for arch in archs])
    missing = np.flatnonzero(np.isnan(values))
    if len(missing) and (complete or len(missing) == len(archs)):
        raise ValueError(
            f"{truth.name} lacks {len(missing)} of the {len(archs)} architectures of "
            f"{space.name}, such as {quoted(archs[missing[0]])}"
        )
    return values
