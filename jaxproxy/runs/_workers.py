"""What the workers of a run last said of themselves (host code).

Each writes a file of its own, ``RUN/_workers/ID.json``, now and then. It is read to
show how far they are, and never to decide what is to be done.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from contextlib import suppress
from typing import Any, NamedTuple

from jaxproxy.runs._files import StoreError
from jaxproxy.runs._store import WORKERS, Run

SILENT_SECONDS = 120.0
"""A worker that said nothing for so long is not counted on."""
_SECONDS = 10.0  # between two reports of a worker that is in the middle of a part


class Report(NamedTuple):
    """What a worker said.

    Attributes:
      name: of the worker, such as ``3-of-64``.
      host: where it runs.
      pid: its process there.
      started: seconds since 1970 when it began.
      updated: when it said this.
      parts: how many it has finished since it began.
      archs: how many architectures these have.
      number: of the part that it is at; None between parts and at the end.
      state: ``"working"``, ``"finished"`` or ``"stopped"``.
    """

    name: str
    host: str
    pid: int
    started: float
    updated: float
    parts: int
    archs: int
    number: int | None
    state: str

    @property
    def rate(self) -> float:
        """Architectures per second of finished parts since it began, or NaN."""
        seconds = self.updated - self.started
        return self.archs / seconds if self.archs and seconds > 0 else math.nan


class Reporter:
    """Writes what one worker says, at most every ten seconds within a part."""

    def __init__(self, run: Run, name: str) -> None:
        """Says that a worker has begun."""
        self._files = run.files
        now, host = time.time(), platform.node()
        self._last = Report(name, host, os.getpid(), now, now, 0, 0, None, "working")
        self._write()

    def at(self, number: int) -> None:
        """Says which part the worker is at."""
        same = self._last.number == number
        if not same or time.time() - self._last.updated > _SECONDS:
            self._last = self._last._replace(number=number)
            self._write()

    def finished(self, archs: int) -> None:
        """Says that a part with so many architectures is done."""
        last = self._last
        self._last = last._replace(parts=last.parts + 1, archs=last.archs + archs)
        self._write()

    def ended(self, state: str) -> None:
        """Says that the worker has ended."""
        self._last = self._last._replace(state=state, number=None)
        self._write()

    def _write(self) -> None:
        self._last = self._last._replace(updated=time.time())
        data = json.dumps(self._last._asdict()).encode()
        with suppress(StoreError):  # what is shown is no reason to stop
            self._files.put(f"{WORKERS}/{self._last.name}.json", data)


class Status(NamedTuple):
    """How far a run is.

    Attributes:
      done_parts: that are finished.
      num_parts: of the run; None for a search, which does not know.
      done_archs: rows of the finished parts.
      num_archs: of the request, or the budget of a search; None if nobody said.
      workers: what each said last, by name.
      rate: architectures per second of all workers that are at work, or NaN.
      seconds_left: by that rate, or NaN.
    """

    done_parts: int
    num_parts: int | None
    done_archs: int
    num_archs: int | None
    workers: list[Report]
    rate: float
    seconds_left: float


def status(run: Run, now: float | None = None) -> Status:
    """Returns how far a run is, whoever is working on it.

    Args:
      run: whose folder is read.
      now: seconds since 1970; by default those of this machine's clock, which need not
        be that of the workers.

    Raises:
      StoreError: the folder is no run, or cannot be read.
    """
    now = time.time() if now is None else now
    numbers = sorted(run.done())
    archs = sum(run.num_rows(number) for number in numbers)
    workers = _reports(run)
    alive = [w for w in workers if is_alive(w, now)]
    rate = sum(w.rate for w in alive if math.isfinite(w.rate)) or math.nan
    total = run.manifest.get("num_archs")
    if total is None:
        total = run.manifest.get("environment", {}).get("budget")
    left = math.nan if total is None else (total - archs) / rate if total > archs else 0
    return Status(len(numbers), num_parts(run), archs, total, workers, rate, left)


def num_parts(run: Run) -> int | None:
    """Returns how many parts a finished run has; None for a search."""
    size, classes = run.manifest.get("part_size"), run.manifest.get("num_classes")
    return None if size is None or classes is None else -(-classes // size)


def is_alive(report: Report, now: float) -> bool:
    """Returns whether a worker is at work, as far as one can tell."""
    return report.state == "working" and now - report.updated < SILENT_SECONDS


def _reports(run: Run) -> list[Report]:
    names = run.files.names(WORKERS) if WORKERS in run.files.names() else []
    found = []
    for name in sorted(name for name in names if name.endswith(".json")):
        try:
            with run.files.read(f"{WORKERS}/{name}") as stream:
                fields: dict[str, Any] = json.loads(stream.read().decode("utf-8"))
            found.append(Report(**fields))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, TypeError) as error:
            raise StoreError(
                f"cannot read {run.path / WORKERS / name}: {error}"
            ) from error
    return found
