"""Hands parts of a run out to workers that may be slow or die (host code).

A part is a function of its number, so whoever finishes it first has it, and a part that
is done twice has the same bytes: no worker need be asked whether it still lives.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Any, Protocol


class Pool(Protocol):
    """Workers, numbered from 0, that do one part after another."""

    size: int
    """How many workers."""

    def submit(self, worker: int, number: int) -> Any:
        """Returns a handle of a part that a worker was given."""
        ...

    def wait(self, handles: list[Any]) -> tuple[Any, Exception | None]:
        """Returns the first handle that has ended, and what took its worker away.

        Raises:
          Exception: what the part itself raised, which it would raise again.
        """
        ...


def hand_out(
    pool: Pool, numbers: Iterable[int], *, window: int = 2, retries: int = 3
) -> Iterator[int]:
    """Yields each number as soon as one worker has done it.

    A worker has at most ``window`` parts waiting, so that it never waits itself. When
    all are given away, a worker that has nothing more takes over what another has not
    finished, the one given away last first: of one that is lost, or much slower.

    Args:
      pool: the workers.
      numbers: of the parts.
      window: parts that a worker holds at a time.
      retries: how often a part is given away anew after its worker was lost.

    Raises:
      RuntimeError: a part whose workers were lost too often.
    """
    parts = _Parts(pool, numbers, window)
    lost = Counter[int]()
    while parts.left:
        handle, loss = pool.wait([*parts.given])
        worker, number = parts.given.pop(handle)
        if number in parts.left and loss is None:
            parts.left.remove(number)
            yield number
        elif number in parts.left:
            lost[number] += 1
            if lost[number] > retries:
                raise RuntimeError(
                    f"part {number} was given away {lost[number]} times, and its "
                    f"worker was lost each time: {loss}"
                ) from loss
            if number not in parts.copies():
                parts.waiting.append(number)
        parts.feed(worker)


class _Parts:
    """Where the parts are: waiting, given away, and left to be done."""

    def __init__(self, pool: Pool, numbers: Iterable[int], window: int) -> None:
        """Gives each worker its first; few are shared out evenly."""
        self.pool, self.window = pool, window
        self.waiting = deque(numbers)
        self.left = set(self.waiting)
        self.given: dict[Any, tuple[int, int]] = {}
        """Handle -> worker and number, the earliest first."""
        for place in range(min(window * pool.size, len(self.waiting))):
            self._give(place % pool.size, self.waiting.popleft())

    def copies(self) -> Counter[int]:
        """Returns how many workers have a part."""
        return Counter(number for _, number in self.given.values())

    def feed(self, worker: int) -> None:
        """Gives a worker what it has room for."""
        while (load := self._load(worker)) < self.window:
            if self.waiting:
                self._give(worker, self.waiting.popleft())
            elif load or (number := self._unfinished()) is None:
                return
            else:
                self._give(worker, number)

    def _unfinished(self) -> int | None:
        """The part given away last that only one worker has."""
        copies = self.copies()
        numbers = [number for _, number in self.given.values()]
        alone = [n for n in numbers if n in self.left and copies[n] == 1]
        return alone[-1] if alone else None

    def _load(self, worker: int) -> int:
        return sum(worker == other for other, _ in self.given.values())

    def _give(self, worker: int, number: int) -> None:
        self.given[self.pool.submit(worker, number)] = worker, number
