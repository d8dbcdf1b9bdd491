"""Several workers of one run as processes of this machine (host code)."""

import logging
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess

from jaxproxy.runs import Run, status
from jaxproxy.scoring._progress import caught_signals, show_progress
from jaxproxy.scoring._sweep import Interrupted

RESTARTS = 3
"""How often a worker that died is started again while no part is finished."""
_STOP_SECONDS = 60.0
_LOGGER = logging.getLogger("jaxproxy")


def run_workers(
    works: Sequence[Callable[[], int]],
    run: Run,
    total: int,
    *,
    hopeless: Sequence[int] = (2,),
) -> None:
    """Does works that score one run, each in a process, until all have ended.

    A process that dies is started again; what it had finished is there.

    Args:
      works: functions that can be pickled and return an exit code; 0 where the run is
        finished.
      run: what they score into.
      total: architectures of the run.
      hopeless: exit codes that another start would not change.

    Raises:
      RuntimeError: a worker died again and again, or ended without hope.
      Interrupted: a signal came, and the workers have stopped.
    """
    processes, deaths = [_start(work) for work in works], 0
    done = status(run).done_archs
    try:
        with caught_signals() as caught, show_progress(done, total) as advance:
            while running := [p.sentinel for p in processes if p.exitcode is None]:
                wait(running, timeout=0.5)
                if new := status(run).done_archs - done:
                    advance(new)
                    done, deaths = done + new, 0
                if caught:
                    _stop(processes)
                    raise Interrupted(run, caught[0], status(run).done_archs, total)
                for place, process in enumerate(processes):
                    if process.exitcode:
                        deaths += 1
                        _check_hope(place, process.exitcode, hopeless, deaths)
                        processes[place] = _start(works[place])
            if new := status(run).done_archs - done:
                advance(new)
    finally:
        _stop(processes)


def _check_hope(place: int, code: int, hopeless: Sequence[int], deaths: int) -> None:
    how = f"exit code {code}" if code > 0 else f"signal {-code}"
    if code in hopeless or deaths > RESTARTS:
        raise RuntimeError(f"worker {place} ended with {how}; its own message is above")
    _LOGGER.warning("worker %d ended with %s and is started again", place, how)


def _start(work: Callable[[], int]) -> SpawnProcess:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_exit_with, args=(work,), daemon=True)
    process.start()
    return process


def _exit_with(work: Callable[[], int]) -> None:
    sys.exit(work())


def _stop(processes: Sequence[SpawnProcess]) -> None:
    """Lets workers finish the block they are at, as a signal does."""
    alive = [process for process in processes if process.exitcode is None]
    for process in alive:
        process.terminate()
    for process in alive:
        process.join(_STOP_SECONDS)
        process.kill()
