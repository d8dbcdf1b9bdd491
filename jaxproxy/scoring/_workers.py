"""Which of several workers scores which part of a run (host code).

No worker talks to another. Each scores its own share, then what others have not
finished, from the end of the list, since they work from its beginning. A part that two
of them score has the same bytes.
"""

from collections.abc import Container, Mapping
from typing import NamedTuple

import jax


class Worker(NamedTuple):
    """One of ``count`` workers of a run, and where it learned that.

    Attributes:
      index: from 0.
      count: of all.
      steal: whether it goes on with what others have not finished.
      source: what said so.
    """

    index: int = 0
    count: int = 1
    steal: bool = True
    source: str = "by default"

    @property
    def name(self) -> str:
        """What it is called among the workers of a run."""
        return f"{self.index}-of-{self.count}"

    def next_part(self, done: Container[int], total: int) -> int | None:
        """Returns the part to score next, or None if there is nothing left for it.

        Args:
          done: parts that are finished, by anyone.
          total: parts of the run.
        """
        share = range(self.index, total, self.count)
        for number in share:
            if number not in done:
                return number
        if not self.steal:
            return None
        left = [number for number in reversed(range(total)) if number not in done]
        # Not all at the same one.
        return left[self.index % len(left)] if left else None


_SOURCES = (
    ("JOB_COMPLETION_INDEX", "JAXPROXY_WORKERS"),
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
    ("SKYPILOT_NODE_RANK", "SKYPILOT_NUM_NODES"),
    ("TPU_WORKER_ID", "TPU_WORKER_HOSTNAMES"),
)
"""Environment variables of an index and of a count, in the order they are asked for."""


def find_worker(
    text: str, environment: Mapping[str, str], *, steal: bool = True
) -> Worker:
    """Returns which worker this process is.

    Args:
      text: ``"3/64"``, the fourth of 64; or ``"auto"``, as a scheduler says: that of
        Kubernetes (with ``JAXPROXY_WORKERS``, for it gives no count), a SLURM array,
        a SLURM step, SkyPilot, the hosts of a TPU slice, or ``jax.distributed``; the
        first of these that is there, and the only worker where none is.
      environment: variables of the process.
      steal: whether the worker goes on with what others have not finished.

    Raises:
      ValueError: a malformed or impossible index or count.
    """
    if text != "auto":
        index, slash, count = text.partition("/")
        return _checked(index, count if slash else "", f"--worker {text}", steal)
    for index_name, count_name in _SOURCES:
        if index_name not in environment:
            continue
        index, count = environment[index_name], environment.get(count_name, "")
        source = f"{index_name}={index}, {count_name}={count}"
        if count_name == "TPU_WORKER_HOSTNAMES":
            count = str(len(count.split(",")))
        if index_name == "SLURM_ARRAY_TASK_ID":
            index = _place_in_array(environment)
        return _checked(index, count, source, steal)
    if jax.distributed.is_initialized():
        found = jax.process_index(), jax.process_count()
        return Worker(*found, steal, "jax.distributed")
    return Worker(0, 1, steal, "no scheduler found")


def _place_in_array(environment: Mapping[str, str]) -> str:
    """``--array=10-19:3`` has tasks 10, 13, 16, 19, which are workers 0, 1, 2, 3."""
    names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP")
    try:
        task, first, step = (
            int(environment.get(name, default))
            for name, default in zip(names, ("", "0", "1"), strict=True)
        )
    except ValueError:
        return environment["SLURM_ARRAY_TASK_ID"]
    if step < 1 or (task - first) % step:
        return str(task)
    return str((task - first) // step)


def _checked(index: str, count: str, source: str, steal: bool) -> Worker:
    try:
        worker = Worker(int(index), int(count), steal, source)
    except ValueError:
        raise ValueError(
            f"a worker is an index from 0 and a count, such as --worker 3/64, not "
            f"{index!r} of {count!r} ({source})"
        ) from None
    if not 0 <= worker.index < worker.count:
        raise ValueError(
            f"worker {worker.index} of {worker.count} ({source}): indices are from 0 "
            f"to one below the count; an array with gaps needs --worker INDEX/COUNT"
        )
    return worker
