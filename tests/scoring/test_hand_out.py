"""Parts are handed out so that each is done, whatever happens to the workers."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxproxy.scoring._hand_out import hand_out


class _Pool:
    """Workers whose parts end, or are lost, in an order that numbers decide."""

    def __init__(self, size: int, choices: list[int], chance: float = 0) -> None:
        self.size, self.chance = size, chance
        self.given: dict[int, list[int]] = {worker: [] for worker in range(size)}
        self.handles: dict[int, tuple[int, int]] = {}
        self.done: Counter[int] = Counter()
        self.most = 0
        self._random = np.random.default_rng(choices)

    def submit(self, worker: int, number: int) -> Any:
        handle = sum(map(len, self.given.values()))
        self.given[worker].append(number)
        self.handles[handle] = worker, number
        own = [1 for other, _ in self.handles.values() if other == worker]
        self.most = max(self.most, len(own))
        return handle

    def wait(self, handles: list[Any]) -> tuple[Any, Exception | None]:
        assert set(handles) == set(self.handles)
        # A worker does what it has in order.
        first = {self.handles[h][0]: h for h in sorted(handles, reverse=True)}
        handle = self._random.choice(list(first.values()))
        _, number = self.handles.pop(handle)
        if self._random.random() < self.chance:
            return handle, OSError("lost")
        self.done[number] += 1
        return handle, None


@settings(deadline=None, max_examples=200)
@given(
    st.integers(1, 5), st.integers(0, 30), st.lists(st.integers(0, 99), min_size=1),
    st.sampled_from([0, 0.3]), st.integers(1, 3),
)  # fmt: skip
def test_each_part_comes_once(
    size: int, num: int, choices: list[int], chance: float, window: int
) -> None:
    pool = _Pool(size, choices, chance)
    found = [*hand_out(pool, range(num), window=window, retries=100)]
    assert sorted(found) == list(range(num))
    assert pool.done.keys() == set(range(num))
    assert max(pool.done.values(), default=0) <= 2 + 100 * (chance > 0)
    assert pool.most <= window
    if not chance:  # nothing is done twice while there is something else to do
        assert sum(pool.done.values()) <= num + size


def test_parts_are_shared_out_evenly() -> None:
    pool = _Pool(4, [0])
    [*hand_out(pool, range(8), window=2)]
    assert {worker: numbers[:2] for worker, numbers in pool.given.items()} == {
        0: [0, 4], 1: [1, 5], 2: [2, 6], 3: [3, 7],
    }  # fmt: skip


def test_an_idle_worker_takes_over_what_another_does_not_finish() -> None:
    class Stuck(_Pool):
        def wait(self, handles: list[Any]) -> tuple[Any, Exception | None]:
            free = [h for h in handles if self.handles[h][0] != 0]
            _, number = self.handles.pop(free[0])
            self.done[number] += 1
            return free[0], None

    pool = Stuck(2, [0])
    assert sorted(hand_out(pool, range(6), window=2)) == list(range(6))
    assert pool.given[0] == [0, 2]
    assert pool.given[1][-2:] == [2, 0]


def test_a_part_that_loses_its_workers_is_given_up() -> None:
    class Cursed(_Pool):
        def wait(self, handles: list[Any]) -> tuple[Any, Exception | None]:
            _, number = self.handles.pop(handles[0])
            return handles[0], OSError("no such node") if number == 2 else None

    with pytest.raises(RuntimeError, match=r"part 2 was given away 4 times.*no such"):
        [*hand_out(Cursed(2, [0]), range(4), retries=3)]


def test_what_a_part_raises_ends_all() -> None:
    class Faulty(_Pool):
        def wait(self, handles: list[Any]) -> tuple[Any, Exception | None]:
            raise ValueError("wrong codes")

    with pytest.raises(ValueError, match="wrong codes"):
        [*hand_out(Faulty(2, [0]), range(4))]
