"""Scores any number of architectures into a run folder (host code).

The request is cut into parts that depend on the codes alone, so a run that was stopped
anywhere goes on anywhere: on other devices, on another host. A part is scored in blocks
of the scorer's fixed size and becomes durable as a whole; no more than one is held in
memory.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from jaxproxy.runs import Reporter, Run, StoreError, readings_table, rows_table
from jaxproxy.scoring._balance import blocks, merge_blocks
from jaxproxy.scoring._manifest import make_manifest
from jaxproxy.scoring._plan import Part, Plan, SpaceStrings, make_plan
from jaxproxy.scoring._program import BlockScores
from jaxproxy.scoring._progress import caught_signals, show_progress
from jaxproxy.scoring._scorer import Scorer
from jaxproxy.scoring._workers import Worker

if TYPE_CHECKING:  # slow to import
    import pyarrow as pa


#: Classes per part. Not derived from the scorer's block size, which may depend on the
#: devices. A stop loses at most one part: take fewer where one class costs seconds.
PART_SIZE = 1000

_LOGGER = logging.getLogger("jaxproxy")


class Cut(TypedDict, total=False):
    """How a request is cut into parts and named, as :func:`sweep` says."""

    strings: Sequence[str] | None
    deduplicate: bool | None
    part_size: int


class Interrupted(Exception):
    """A signal stopped a sweep; every finished part is kept.

    Attributes:
      signum: the signal; a command exits with ``128 + signum``.
      done: architectures in finished parts.
      total: architectures requested.
    """

    def __init__(self, run: Run, signum: int, done: int, total: int) -> None:
        """Says how to go on."""
        super().__init__(
            f"stopped by {signal.Signals(signum).name}: {done} of {total} archs are "
            f"kept in {run.path}; the same call resumes the run"
        )
        self.signum, self.done, self.total = signum, done, total


def sweep(
    scorer: Scorer,
    codes: np.ndarray,
    out: str | os.PathLike[str],
    *,
    strings: Sequence[str] | None = None,
    progress: bool = True,
    deduplicate: bool | None = None,
    part_size: int = PART_SIZE,
    worker: Worker | None = None,
) -> Run:
    """Scores architectures into a run folder, or finishes a run that was stopped.

    Any number of processes may do so at once, on one machine or on many that see the
    folder; ``worker`` keeps them apart.

    On SIGINT or SIGTERM (in the main thread) the current block is finished, the
    unfinished part is dropped, and :class:`Interrupted` is raised; a second signal acts
    as if there were no sweep.

    Args:
      scorer: what to compute.
      codes: int[N, G], the request; repetitions are allowed and are rows of their own.
      out: the run folder: new, or holding a run of the same request and scorer.
      strings: the column ``arch``, N of them; by default the space's own strings.
      progress: show a bar on a terminal; elsewhere log a line every 5 seconds, at level
        INFO of the logger ``jaxproxy``.
      deduplicate: score one representative of each isomorphism class and report it for
        all requested members (exact counts, such as parameters, are always those of the
        member). False scores each distinct code as it is. By default true if every
        proxy but the counts is ``invariant`` and the space's classes are of equals, so
        that no score depends on the choice.
      part_size: classes per part, at least 1.
      worker: which of several processes this is. It scores its own share, then, unless
        ``steal`` is false, what others have not finished.

    Returns:
      The run, complete but for what is left to workers that do not steal.

    Raises:
      ValueError: the request is empty or malformed.
      StoreError: the folder holds something else, or cannot be written.
      Interrupted: a signal came.
    """
    cut: Cut = {"strings": strings, "deduplicate": deduplicate, "part_size": part_size}
    plan, run = plan_sweep(scorer, codes, out, **cut)
    _score_parts(scorer, plan, run, progress, worker)
    return run


def plan_sweep(
    scorer: Scorer,
    codes: np.ndarray,
    out: str | os.PathLike[str],
    *,
    strings: Sequence[str] | None = None,
    deduplicate: bool | None = None,
    part_size: int = PART_SIZE,
) -> tuple[Plan, Run]:
    """Returns the parts of a sweep, and the run that they belong to.

    Arguments and errors are those of :func:`sweep`.
    """
    codes = scorer.space.check_codes(codes)
    if strings is None:
        strings = SpaceStrings(scorer.space, codes)
    if not 0 < len(codes) == len(strings):
        raise ValueError(f"{len(codes)} codes, {len(strings)} strings; pair at least 1")
    if part_size < 1:
        raise ValueError(f"part_size must be at least 1, got {part_size}")
    if deduplicate is None:
        invariant = all(p.invariant for p in scorer.proxies if p.count is None)
        deduplicate = invariant and scorer.space.isomorphism.equal_scores
    plan = make_plan(scorer.space, codes, strings, part_size, deduplicate)
    cut = {"part_size": part_size, "deduplicate": deduplicate}
    return plan, Run.create(out, make_manifest(scorer, {**plan.request(), **cut}))


class _TakenError(Exception):
    """Somebody else finished the part."""


def _score_parts(
    scorer: Scorer, plan: Plan, run: Run, progress: bool, worker: Worker | None
) -> None:
    finished, total = run.done(), len(plan.codes)
    done = _check_finished(run, plan, finished) if finished else 0
    alone, worker = worker is None, worker or Worker()
    reporter = None if alone else Reporter(run, worker.name)
    with (
        caught_signals() as caught,
        show_progress(done, total, progress) as advance,
        _ending(reporter),
    ):

        def check_signals() -> None:
            if caught:
                error = Interrupted(run, caught[0], done, total)
                _LOGGER.warning("%s", error)
                raise error

        def before_block(number: int) -> None:
            check_signals()
            if reporter:
                reporter.at(number)
                if run.has_part(number):
                    raise _TakenError

        while (number := worker.next_part(finished, len(plan.rows))) is not None:
            part = plan.part(scorer.space, number)
            with suppress(_TakenError):
                before = partial(before_block, number)
                run.write_part(number, *score_part(scorer, part, before, advance))
                done += len(part.index)
                if reporter:
                    reporter.finished(len(part.index))
            finished = finished | {number} if alone else run.done()
        check_signals()  # in the last block: the caller must not go on unaware


@contextmanager
def _ending(reporter: Reporter | None) -> Iterator[None]:
    """Says how a worker ended."""
    state = "stopped"
    try:
        yield
        state = "finished"
    finally:
        if reporter:
            reporter.ended(state)


def _check_finished(run: Run, plan: Plan, finished: set[int]) -> int:
    """Number of finished rows; raises if parts are damaged or not of this plan.

    Others may finish more meanwhile, so that parts are read one by one.
    """
    done = 0
    for number in finished:
        index = run.part(number, ["index"])["index"].to_numpy()
        if number >= len(plan.rows) or not np.array_equal(index, plan.rows[number]):
            raise StoreError(f"{run.path} has parts that are not of this request")
        done += len(index)
    return done


def score_part(
    scorer: Scorer,
    part: Part,
    before_block: Callable[[], None] = lambda: None,
    advance: Callable[[int], None] = lambda count: None,
) -> tuple[pa.Table, pa.Table | None]:
    """Returns the rows and the readings of a part, as they are stored."""
    members = np.bincount(part.class_of_row)
    groups, scores = blocks(len(part.classes), scorer.block_size), []
    for block in groups:
        before_block()
        scores.append(scorer.score_block(part.classes[block]))
        advance(int(members[block].sum()))
    scored = merge_blocks(scores, np.argsort(np.concatenate(groups)))
    return part_tables(scorer, part, scored)


def part_tables(
    scorer: Scorer, part: Part, scored: BlockScores
) -> tuple[pa.Table, pa.Table | None]:
    """Returns the rows and the readings of a part whose classes were scored."""
    return _rows(scorer, part, scored), _readings(scorer, part, scored)


def _rows(scorer: Scorer, part: Part, scored: BlockScores) -> pa.Table:
    """Returns a row for each requested architecture, its counts among them.

    Members of a class may differ in what cannot reach the output, so exact counts are
    those of the member and not of the representative.
    """
    scores, valid = {}, {}
    counts = scorer.counts(part.codes)
    for name in (proxy.name for proxy in scorer.proxies):
        if name in counts:
            column = counts[name][:, None]
            scores[name] = np.repeat(column, len(scorer.seeds), axis=1)
            valid[name] = np.isfinite(scores[name])
        else:
            scores[name] = scored.scores[name][part.class_of_row]
            valid[name] = scored.valid[name][part.class_of_row]
    class_archs = part.class_strings[part.class_of_row]
    return rows_table(part.index, part.strings, class_archs, scores, valid)


def _readings(scorer: Scorer, part: Part, scored: BlockScores) -> pa.Table | None:
    return readings_table(
        part.class_strings,
        scorer.seeds,
        scored.readings,
        scored.present,
        {
            name: [slot._asdict() for slot in scorer.layout[name]]
            for name in scored.readings
        },
    )
