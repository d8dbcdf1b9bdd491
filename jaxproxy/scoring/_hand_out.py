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
    waiting = deque(numbers)
    left = set(waiting)
    given: dict[Any, tuple[int, int]] = {}  # handle -> worker and number, in order
    load, lost = Counter[int](), Counter[int]()

    def next_for(worker: int) -> int | None:
        if waiting:
            return waiting.popleft()
        if load[worker]:
            return None
        copies = Counter(number for _, number in given.values())
        others = [n for _, n in given.values() if n in left and copies[n] == 1]
        return others[-1] if others else None

    def give(worker: int, number: int) -> None:
        given[pool.submit(worker, number)] = worker, number
        load[worker] += 1

    def feed(worker: int) -> None:
        while load[worker] < window:
            number = next_for(worker)
            if number is None:
                return
            give(worker, number)

    for place in range(min(window * pool.size, len(waiting))):
        give(place % pool.size, waiting.popleft())  # few are shared out evenly
    while left:
        handle, loss = pool.wait([*given])
        worker, number = given.pop(handle)
        load[worker] -= 1
        if loss is None and number in left:
            left.remove(number)
            yield number
        elif loss is not None and number in left:
            lost[number] += 1
            if lost[number] > retries:
                raise RuntimeError(
                    f"part {number} was given away {lost[number]} times, and its "
                    f"worker was lost each time: {loss}"
                ) from loss
            if all(number != other for _, other in given.values()):
                waiting.append(number)
        feed(worker)
