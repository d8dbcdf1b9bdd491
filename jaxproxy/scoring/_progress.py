"""Long host loops seen from outside: progress that is shown, signals that stop them."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType

_LOGGER = logging.getLogger("jaxproxy")
_LOG_SECONDS = 5.0


@contextmanager
def caught_signals() -> Iterator[list[int]]:
    """Yields a list that the first SIGINT or SIGTERM is appended to.

    The previous handlers are back at once, so that a second signal is not caught, and
    in any case on leaving. A signal that is ignored stays so. Outside the main thread,
    where Python allows no handlers, nothing is caught.
    """
    caught: list[int] = []
    previous = {}

    def restore() -> None:
        for signum, handler in previous.items():
            signal.signal(signum, handler)

    def catch(signum: int, frame: FrameType | None) -> None:
        caught.append(signum)
        restore()

    if threading.current_thread() is threading.main_thread():
        for signum in (signal.SIGINT, signal.SIGTERM):
            # None: set by something other than Python, which could not restore it
            if signal.getsignal(signum) not in (signal.SIG_IGN, None):
                previous[signum] = signal.signal(signum, catch)
    try:
        yield caught
    finally:
        restore()


@contextmanager
def show_progress(
    done: int, total: int, show: bool = True
) -> Iterator[Callable[[int], None]]:
    """Yields ``advance(count)``, which shows how far a run is.

    A terminal (standard error) gets a bar with rate and remaining time. Elsewhere a
    line ``k/N archs, rate, ETA`` is logged every 5 seconds and at the end, at level
    INFO of the logger ``jaxproxy``.

    Args:
      done: architectures that are done already; they do not count for the rate.
      total: architectures in all.
      show: False shows nothing.
    """
    if not show:
        yield lambda count: None
    elif sys.stderr.isatty():
        with _bar(done, total) as advance:
            yield advance
    else:
        yield _log_lines(done, total)


@contextmanager
def _bar(done: int, total: int) -> Iterator[Callable[[int], None]]:
    from rich import progress  # slow to import, and only needed on a terminal
    from rich.console import Console

    bar = progress.Progress(
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("archs, {task.fields[rate]} arch/s, ETA"),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    with bar:
        task = bar.add_task("", total=total, completed=done, rate="?")

        def advance(count: int) -> None:
            bar.advance(task, count)
            bar.update(task, rate=f"{bar.tasks[0].speed or 0:.3g}")

        yield advance


def _log_lines(done: int, total: int) -> Callable[[int], None]:
    line = (time.monotonic(), done)  # when the last line was logged, and at what count

    def advance(count: int) -> None:
        nonlocal done, line
        done += count
        now = time.monotonic()
        if now - line[0] < _LOG_SECONDS and done < total:
            return
        # over the last line's time only: the first one includes compilation
        rate = (done - line[1]) / max(now - line[0], 1e-9)
        eta = timedelta(seconds=round((total - done) / rate))
        _LOGGER.info("%d/%d archs, %.3g arch/s, ETA %s", done, total, rate, eta)
        line = (now, done)

    return advance
