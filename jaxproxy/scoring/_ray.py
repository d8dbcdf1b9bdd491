"""A sweep whose parts are scored by actors of a Ray cluster (host code).

Each actor holds one compiled program and writes what it scores into the run itself, so
that nothing but numbers of parts goes through Ray. Ray starts actors anew that were
lost; a part that was done twice has the same bytes. ``ray`` is an extra.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Unpack

import numpy as np

from jaxproxy.runs import Run, is_url
from jaxproxy.scoring._hand_out import hand_out
from jaxproxy.scoring._plan import Part, Plan
from jaxproxy.scoring._progress import caught_signals, show_progress
from jaxproxy.scoring._scorer import Scorer
from jaxproxy.scoring._sweep import Cut, Interrupted, plan_sweep, score_part
from jaxproxy.startup import set_up_jax


def sweep_on_ray(
    make: Callable[[], Scorer],
    codes: np.ndarray,
    out: str | os.PathLike[str],
    *,
    address: str = "local",
    workers: int | None = None,
    retries: int = 3,
    resources: Mapping[str, float] | None = None,
    **cut: Unpack[Cut],
) -> Run:
    """Scores architectures into a run folder by actors of a Ray cluster.

    The run is the one that :func:`sweep` makes, and either finishes what the other
    began. A part whose actor is lost is given to another; a driver that is lost is
    started again, and goes on with what is not there yet.

    Args:
      make: makes the scorer, here and in each actor: a function that can be pickled,
        such as ``partial(jaxproxy.make_scorer, nasbench201(), ["naswot"])``.
      codes: int[N, G], the request.
      out: the run folder, at a path that is the same folder on all nodes.
      address: ``"local"`` starts a cluster of this machine, ``"auto"`` takes the one
        that this machine belongs to, others are Ray's, such as ``"ray://HOST:10001"``.
      workers: actors, one device each; as many as the cluster has CPUs by default.
      retries: how often a part is given away anew.
      resources: of an actor, such as ``{"num_gpus": 1}`` or ``{"TPU": 4}``; one CPU by
        default.
      **cut: ``strings``, ``deduplicate`` and ``part_size``, as of :func:`sweep`.

    Returns:
      The complete run.

    Raises:
      ValueError: the request is empty or malformed, or fewer than one worker.
      StoreError: the folder holds something else, or cannot be written.
      Interrupted: a signal came; all finished parts are kept.
      RuntimeError: a part whose actors were lost too often.
      ImportError: Ray is not installed.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    _ray()  # before a folder is made
    plan, run = plan_sweep(make(), codes, out, **cut)
    numbers = sorted(set(range(len(plan.rows))) - run.done())
    if numbers:
        with _connected(address) as num_cpus:
            num = min(workers or num_cpus, len(numbers))
            pool = _Actors(make, plan, run, num, resources or {"num_cpus": 1})
            try:
                _wait_for_all(pool, plan, run, numbers, retries)
            finally:
                pool.stop()
    return run


@contextmanager
def _connected(address: str) -> Iterator[int]:
    """Yields how many CPUs the cluster has; one that is connected to stays so."""
    ray = _ray()
    before = ray.is_initialized()
    if not before:
        with warnings.catch_warnings():  # JAX's, of processes that start at once
            warnings.filterwarnings("ignore", r"os\.fork\(\)", RuntimeWarning)
            ray.init(address=address, log_to_driver=False)
    try:
        yield max(1, int(ray.cluster_resources().get("CPU", 1)))
    finally:
        if not before:
            ray.shutdown()


def _wait_for_all(
    pool: "_Actors", plan: Plan, run: Run, numbers: Sequence[int], retries: int
) -> None:
    total = len(plan.codes)
    done = total - sum(len(plan.rows[number]) for number in numbers)
    with caught_signals() as caught, show_progress(done, total) as advance:
        for number in hand_out(pool, numbers, retries=retries):
            done += len(plan.rows[number])
            advance(len(plan.rows[number]))
            if caught:
                raise Interrupted(run, caught[0], done, total)


class _Worker:
    """Lives in an actor: one program, compiled when the first part comes."""

    def __init__(self, make: Callable[[], Scorer], path: str) -> None:
        set_up_jax(1)
        self._scorer, self._run = make(), Run.open(path)

    def score(self, number: int, part: Part) -> int:
        """Writes a part of the run, and returns its number."""
        self._run.write_part(number, *score_part(self._scorer, part))
        return number


class _Actors:
    """The actors, as :class:`Pool` asks for them."""

    def __init__(
        self,
        make: Callable[[], Scorer],
        plan: Plan,
        run: Run,
        size: int,
        resources: Mapping[str, float],
    ) -> None:
        ray = _ray()
        self._space, self._plan, self.size = make().space, plan, size
        known = {"num_cpus", "num_gpus", "memory"}
        options: dict[str, Any] = {k: v for k, v in resources.items() if k in known}
        custom = {k: v for k, v in resources.items() if k not in known}
        actor = ray.remote(_Worker).options(
            **options,
            resources=custom or None,
            max_restarts=-1,
            max_task_retries=-1,
            runtime_env={"env_vars": _environment()},
        )
        path = str(run.path) if is_url(run.path) else os.path.abspath(run.path)
        self._actors: list[Any] = [actor.remote(make, path) for _ in range(size)]

    def submit(self, worker: int, number: int) -> Any:
        """Returns a reference to what an actor will answer."""
        part = self._plan.part(self._space, number)
        return self._actors[worker].score.remote(number, part)

    def wait(self, handles: list[Any]) -> tuple[Any, Exception | None]:
        """Returns the first that has ended; raises what a part raised."""
        ray = _ray()
        (first,), _ = ray.wait(handles, num_returns=1)
        try:
            ray.get(first)
        except ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from None
        except ray.exceptions.RayError as error:
            return first, error
        return first, None

    def stop(self) -> None:
        """Ends the actors, and what they were given twice."""
        ray = _ray()
        for actor in self._actors:
            ray.kill(actor)


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ImportError(
            f"this needs Ray ({error}); pip install 'jaxproxy[ray]'"
        ) from error
    return ray


def _environment() -> dict[str, str]:
    """What decides which devices and programs an actor has."""
    names = (
        "JAX_PLATFORMS",
        "XDG_CACHE_HOME",
        "JAX_COMPILATION_CACHE_DIR",
        "PYTHONPATH",
    )
    return {name: os.environ[name] for name in names if name in os.environ}
