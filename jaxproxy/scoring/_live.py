"""Searches that score what they ask for, into a run folder (host code).

A part of the run is a block of what was asked for together. What the search knows is a
function of the seed and of the scores that are stored, so a run that was stopped is
continued by asking anew and telling what is there; no state is ever written.
"""

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxproxy.limits import check_seed
from jaxproxy.options import check_counts
from jaxproxy.runs import Run, StoreError
from jaxproxy.scoring._manifest import make_manifest
from jaxproxy.scoring._memory import Memory
from jaxproxy.scoring._plan import Part
from jaxproxy.scoring._progress import caught_signals, show_progress
from jaxproxy.scoring._scorer import Scorer
from jaxproxy.scoring._sweep import Interrupted, part_tables
from jaxproxy.search import Core, Genes, Search

_LOGGER = logging.getLogger("jaxproxy")


class LiveSearch(NamedTuple):
    """What a search found."""

    run: Run
    """All that was scored, in the order of asking."""
    core: Core
    """The best, and how much was told and refused."""
    search: Search
    """What asked."""


def search_live(
    search: Search,
    genes: Genes,
    scorer: Scorer,
    out: str | os.PathLike[str],
    *,
    budget: int,
    seed: int = 0,
    together: int = 64,
    settings: Mapping[str, Any] | None = None,
) -> LiveSearch:
    """Runs a search on the scores of a scorer's first proxies, into a run folder.

    It is told as many as it takes, each so that higher is better. The same call
    finishes a run that was stopped, with the same trace; with a larger budget it goes
    on where the smaller one ended, as if it had been the larger all along. Signals and
    progress are as in :func:`sweep`.

    Args:
      search: what asks.
      genes: of the scorer's space, as the search was made with.
      scorer: scores what is asked for; further proxies are stored as well.
      out: the run folder: new, or holding a run of the same search.
      budget: how many architectures are scored.
      seed: of the search.
      together: how many are asked for before they are told; 1 is what papers do, more
        is faster. It is part of what the search is.
      settings: JSON-able, what else defines the search, for the manifest.

    Raises:
      ValueError: numbers below one, a search that has to be told one by one or more
        scores than there are proxies, or nothing within the budget of the genes.
      StoreError: the folder holds something else, such as a search of a larger budget,
        or cannot be written.
      Interrupted: a signal came.
    """
    if budget < 1 or together < 1:
        raise ValueError(f"budget={budget}, together={together}: both are at least 1")
    check_counts(together=together)
    check_seed(seed)
    if together > 1 and not search.together:
        raise ValueError("this search is told one by one: give together=1")
    if search.scores > len(scorer.proxies):
        names = [proxy.name for proxy in scorer.proxies]
        raise ValueError(f"this search is told {search.scores} scores, not {names}")
    steps = _Steps(search, genes, scorer, together)
    steps.check_budget(seed)
    numbers = {"seed": seed, "together": together}
    request = {"search": {**(settings or {}), **numbers}}
    run = Run.create(out, make_manifest(scorer, request, budget=budget))
    return LiveSearch(run, _search_parts(steps, run, budget, seed), search)


def _search_parts(steps: "_Steps", run: Run, budget: int, seed: int) -> Core:
    finished = run.done()
    if max(finished, default=0) * steps.together >= budget:
        raise _larger(run, budget)
    state = steps.search.init(jax.random.key(seed))
    with caught_signals() as caught, show_progress(0, budget) as advance:
        for number, start in enumerate(range(0, budget, steps.together)):
            state, codes = steps.ask(state)
            codes = codes[: budget - start]
            allowed = steps.allowed(codes)
            part = steps.part(codes[allowed], start + np.flatnonzero(allowed))
            known = number in finished and steps.is_stored(run, number, part)
            if len(part.index) and not known:
                if caught:
                    raise Interrupted(run, caught[0], start, budget)
                scored = steps.memory.score(part.classes)
                run.write_part(number, *part_tables(steps.scorer, part, scored))
            fitness = np.full((len(codes), *steps.shape), np.nan, np.float32)
            if len(part.index):
                fitness[allowed] = steps.stored(run, number)
            before = state.core
            state = steps.tell(state, codes, fitness)
            steps.log_best(before, state.core, start + len(codes))
            advance(len(codes))
    return state.core


class _Steps:
    """One block of a search after another: asked, scored, told."""

    def __init__(
        self, search: Search, genes: Genes, scorer: Scorer, together: int
    ) -> None:
        self.search, self.genes, self.scorer = search, genes, scorer
        self.together, self.memory = together, Memory(scorer)
        self.proxies = scorer.proxies[: search.scores]
        self.signs = [1 if proxy.higher_is_better else -1 for proxy in self.proxies]
        self.shape = (search.scores,) if search.scores > 1 else ()
        self._ask = jax.jit(
            lambda state: lax.scan(
                lambda state, _: search.ask(state), state, None, length=together
            )
        )
        self._tell = jax.jit(_telling(search))

    def check_budget(self, seed: int) -> None:
        """Raises ValueError if nothing that is asked for first is allowed."""
        state, codes = self.ask(self.search.init(jax.random.key(seed)))
        if not self.allowed(codes).any():
            raise ValueError(
                f"none of {int(state.core.refused)} random architectures of "
                f"{self.scorer.space.name} is allowed: what is asked for is too rare"
            )

    def ask(self, state: Any) -> tuple[Any, np.ndarray]:
        """Returns the next state, and codes int32[n, G]."""
        state, codes = self._ask(state)
        return state, np.asarray(codes)

    def allowed(self, codes: np.ndarray) -> np.ndarray:
        """Returns which codes are allowed, bool[n]; a search may be stuck."""
        if self.genes.allowed is None:
            return np.ones(len(codes), bool)
        return np.asarray(jax.vmap(self.genes.allowed)(jnp.asarray(codes)))

    def part(self, codes: np.ndarray, index: np.ndarray) -> Part:
        """Returns what is to be scored, each architecture once."""
        space = self.scorer.space
        classes, class_of_row = np.unique(codes, axis=0, return_inverse=True)
        return Part(
            index=index.astype(np.int64),
            strings=space.to_strs(codes),
            codes=codes,
            classes=classes,
            class_strings=np.array(space.to_strs(classes), object),
            class_of_row=class_of_row.reshape(-1),
        )

    def is_stored(self, run: Run, number: int, part: Part) -> bool:
        """Returns whether all of a part is there, and not only its beginning.

        A search of 45 by tens ends with half a part, which one of 60 makes whole.

        Raises:
          StoreError: the part is of another search, or of one that went further.
        """
        there = run.part(number, ["arch"])["arch"].to_pylist()
        if there[: len(part.strings)] != part.strings[: len(there)]:
            raise StoreError(
                f"part {number} of {run.path} has other architectures than this search "
                "asks for"
            )
        if len(there) > len(part.strings):
            raise _larger(run, int(part.index[-1]) + 1)
        return len(there) == len(part.strings)

    def stored(self, run: Run, number: int) -> np.ndarray:
        """Returns the fitness float32[n, ...] of a part, NaN where it is invalid."""
        names = [proxy.name for proxy in self.proxies]
        columns = [column for name in names for column in (name, f"{name}_valid")]
        table = run.part(number, columns)
        scores = [
            np.where(table[f"{name}_valid"].to_numpy(), table[name].to_numpy(), np.nan)
            for name in names
        ]
        # Higher is better in all of them.
        fitness = np.stack(scores, -1) * np.array(self.signs)
        return fitness if self.shape else fitness[:, 0]

    def log_best(self, before: Core, core: Core, told: int) -> None:
        """Logs the best if it is a new one.

        Its fitness by several scores may change with what others are told.
        """
        new = core.fitness > before.fitness
        if self.shape:
            new = (core.code != before.code).any()
        if new:
            best = self.scorer.space.to_str(np.asarray(core.code))
            score = float(core.fitness) * (1 if self.shape else self.signs[0])
            _LOGGER.info("%.6g after %d: %s", score, told, best)

    def tell(self, state: Any, codes: np.ndarray, fitness: np.ndarray) -> Any:
        """Returns the state that knows the fitness float32[n, ...] of codes."""
        return self._tell(state, jnp.asarray(codes), jnp.asarray(fitness))


def _larger(run: Run, budget: int) -> StoreError:
    return StoreError(
        f"{run.path} holds a search of more than budget={budget} evaluations; ask for "
        "as many or more, or choose a new folder"
    )


def _telling(search: Search) -> Callable[[Any, Array, Array], Any]:
    def tell(state: Any, codes: Array, fitness: Array) -> Any:
        def one(state: Any, told: tuple[Array, Array]) -> tuple[Any, None]:
            return search.tell(state, *told), None

        return lax.scan(one, state, (codes, fitness))[0]

    return tell
