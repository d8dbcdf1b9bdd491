"""Any number of workers leave the run of one, whatever their order."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_line import command, failed
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxproxy.runs import OtherRunError, Run, num_parts, status
from jaxproxy.scoring import Worker, find_worker, make_scorer, sweep
from jaxproxy.scoring._sweep import plan_sweep, score_part
from jaxproxy.spaces import nasbench201

SPACE = nasbench201()
CODES = SPACE.sample(np.random.default_rng(0), 50)
CUT: Any = {"part_size": 7, "deduplicate": False}


@pytest.fixture(scope="module")
def scorer() -> Any:
    return make_scorer(SPACE, ["params", "macs"], fidelity="fast", devices=1)


@pytest.fixture(scope="module")
def whole(scorer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole")
    sweep(scorer, CODES, path, progress=False, **CUT)
    return path


def _parts(path: Path) -> dict[str, bytes]:
    files = path.rglob("part-*.parquet")
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def _begin(path: Path, whole: Path) -> None:
    """With the manifest of the whole run, whose date is in every part."""
    path.mkdir()
    (path / "_manifest.json").write_bytes((whole / "_manifest.json").read_bytes())


def test_shares_are_all_parts_once() -> None:
    for count in (1, 2, 5, 9):
        seen = []
        for index in range(count):
            worker, done = Worker(index, count, steal=False), set()
            while (number := worker.next_part(done, 8)) is not None:
                done.add(number)
            seen += sorted(done)
        assert sorted(seen) == list(range(8))


def test_workers_steal_from_the_end() -> None:
    worker = Worker(1, 3)
    assert worker.next_part(set(), 8) == 1
    assert worker.next_part({1, 4}, 8) == 7
    # Not the one that worker 0 would take.
    assert worker.next_part({1, 4, 7}, 8) == 5
    assert Worker(0, 3).next_part({0, 3, 6}, 8) == 7
    assert worker.next_part(set(range(8)), 8) is None
    assert worker._replace(steal=False).next_part({1, 4, 7}, 8) is None


@settings(deadline=None, max_examples=150)
@given(st.integers(1, 4), st.lists(st.integers(0, 3), max_size=60), st.booleans())
def test_any_interleaving_ends_with_all_parts(
    count: int, order: list[int], dies: bool
) -> None:
    """Virtual workers: each looks, then scores for a while, then has written.

    What it saw may be old by then, and one of them may die for good at any time.
    """
    total, done, written = 8, set[int](), []
    at: dict[int, int | None] = {}
    lost = {0} if dies and count > 1 else set[int]()
    steps = [*(w % count for w in order), *([*range(count)] * 4 * total)]
    for step, index in enumerate(steps):
        if index in lost and step > len(order) // 2:
            continue
        if at.get(index) is not None:
            written.append(at[index])
            done.add(at.pop(index))
        at[index] = Worker(index, count).next_part(done, total)
    assert done == set(range(total))
    # A part is scored again by those alone who began before it was done.
    assert max(written.count(number) for number in done) <= count


@pytest.mark.parametrize("num", [2, 4])
def test_workers_at_once_leave_the_bytes_of_one(
    num: int, scorer: Any, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    _begin(run, whole)

    def work(index: int) -> None:
        sweep(scorer, CODES, run, progress=False, worker=Worker(index, num), **CUT)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(num)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _parts(run) == _parts(whole)
    assert {p.name for p in (run / "_workers").iterdir()} == {
        f"{index}-of-{num}.json" for index in range(num)
    }
    found = status(Run.open(run))
    assert (found.done_parts, found.num_parts, found.done_archs) == (8, 8, 50)
    assert {worker.state for worker in found.workers} == {"finished"}
    assert sum(worker.parts for worker in found.workers) >= 8
    assert found.seconds_left == 0


def test_of_two_that_begin_at_once_one_decides(
    scorer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have looked and seen nothing; the second finds a manifest."""
    from jaxproxy.runs import _local

    create, calls, first = _local.create_file, [], []

    def slowly(file: Path, data: bytes) -> bool:
        calls.append(data)
        if len(calls) > 1:
            return create(file, data.replace(b'"date"', b'"day"'))
        first.append(Run.create(tmp_path / "run", json.loads(data)))
        written = create(file, data)
        assert not written
        return written

    monkeypatch.setattr(_local, "create_file", slowly)
    _, run = plan_sweep(scorer, CODES, tmp_path / "run", **CUT)
    assert "day" in run.manifest["environment"]
    assert run.manifest == first[0].manifest


def test_a_worker_of_another_run_writes_nothing(whole: Path, tmp_path: Path) -> None:
    other = make_scorer(SPACE, ["params"], fidelity="fast", devices=1)
    before = sorted(whole.rglob("*"))
    with pytest.raises(OtherRunError, match=r"scorer\.proxies"):
        sweep(other, CODES, whole, progress=False, worker=Worker(0, 2), **CUT)
    assert sorted(whole.rglob("*")) == before


def test_a_part_that_another_finished_is_left(
    scorer: Any, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While this worker is at it."""
    run, at = Run(tmp_path / "run"), []
    _begin(run.path, whole)
    source = _parts(whole)

    def score(scorer: Any, part: Any, before_block: Callable, advance: Any) -> Any:
        at.append(part.index[0])
        before_block()
        for name, data in source.items():
            (run.path / name).write_bytes(data)
        before_block()
        raise AssertionError("the part is there")

    monkeypatch.setattr("jaxproxy.scoring._sweep.score_part", score)
    sweep(scorer, CODES, run.path, progress=False, worker=Worker(), **CUT)
    assert len(at) == 1
    assert score_part is not score


KUBERNETES = {"JOB_COMPLETION_INDEX": "5", "JAXPROXY_WORKERS": "8"}
SLURM = {"SLURM_ARRAY_TASK_ID": "16", "SLURM_ARRAY_TASK_COUNT": "4"}


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("3/64", {"JOB_COMPLETION_INDEX": "1"}, (3, 64)),
        ("auto", {}, (0, 1)),
        ("auto", KUBERNETES | SLURM, (5, 8)),
        (
            "auto",
            SLURM | {"SLURM_ARRAY_TASK_MIN": "10", "SLURM_ARRAY_TASK_STEP": "3"},
            (2, 4),
        ),
        ("auto", {"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, (1, 2)),
        ("auto", {"SKYPILOT_NODE_RANK": "1", "SKYPILOT_NUM_NODES": "3"}, (1, 3)),
        ("auto", {"TPU_WORKER_ID": "2", "TPU_WORKER_HOSTNAMES": "a,b,c,d"}, (2, 4)),
    ],
)  # fmt: skip
def test_a_worker_learns_its_number(
    text: str, environment: dict[str, str], expected: tuple[int, int]
) -> None:
    worker = find_worker(text, environment)
    assert (worker.index, worker.count) == expected
    first = next(iter(environment), "")
    assert text in worker.source or first in worker.source or not environment


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        ("3", {}, "'3' of ''"),
        ("x/4", {}, "not 'x' of '4'"),
        ("4/4", {}, "worker 4 of 4"),
        ("-1/4", {}, "worker -1 of 4"),
        ("0/0", {}, "worker 0 of 0"),
        ("auto", {"JOB_COMPLETION_INDEX": "1"}, "JAXPROXY_WORKERS="),
        ("auto", SLURM, "worker 16 of 4.*an array with gaps"),
    ],
)
def test_a_number_that_cannot_be(
    text: str, environment: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        find_worker(text, environment)


REQUEST = ("score", "nasbench201", "--proxies", "params", "--sample", 2500)


def test_the_command(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = ("--out", tmp_path / "run")
    assert command(*REQUEST, *out, "--worker", "1/2", "--no-steal") == 75
    assert "worker 1 of 2 (--worker 1/2)" in capsys.readouterr().out
    assert len(Run.open(tmp_path / "run").done()) == 1
    assert command("status", tmp_path / "run", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["done_parts"], said["num_parts"], said["num_archs"]) == (1, 2, 2500)
    assert said["workers"][0]["name"] == "1-of-2"
    assert said["rate"] is None
    assert command("status", tmp_path / "run") == 0
    assert "no worker says that it is at work" in capsys.readouterr().out
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    assert command(*REQUEST, *out, "--worker", "auto") == 0
    assert "SLURM_PROCID=0" in capsys.readouterr().out
    assert command("status", tmp_path / "run") == 0
    assert "2500 of 2500 architectures in 2 of 2 parts: finished" in (
        capsys.readouterr().out
    )
    other = ("score", "nasbench201", "--proxies", "macs", "--sample", 2500)
    assert command(*other, *out, "--worker", "0/2") == 42
    assert "other settings" in capsys.readouterr().err
    assert command(*other, *out) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--workers", 0), "--workers is from 1 to"),
        (("--workers", 10**6), "--workers is from 1 to"),
        (("--workers", 2, "--worker", "0/2"), "give one of --worker and --workers"),
        (("--workers", 2, "--devices", 2), "one device each"),
        (("--no-steal",), "--no-steal is for a --worker"),
        (("--worker", "2/2"), "worker 2 of 2"),
    ],
)
def test_options_that_cannot_be(
    options: tuple[Any, ...],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = command(*REQUEST, "--out", tmp_path / "run", *options)
    assert message in failed(capsys, code)
    assert num_parts(Run.create(tmp_path / "new", {"scorer": _SCORER})) is None


_SCORER = {"space": "x", "proxies": ["p"], "seeds": [0], "fidelity": {}}


def test_silent_workers_are_not_counted_on(scorer: Any, tmp_path: Path) -> None:
    run = sweep(
        scorer, CODES, tmp_path / "run", progress=False,
        worker=Worker(0, 2, steal=False), **CUT,
    )  # fmt: skip
    file = run.path / "_workers" / "0-of-2.json"
    said = json.loads(file.read_text())
    half = {"state": "working", "archs": 20, "started": 1000.0, "updated": 1010.0}
    file.write_text(json.dumps(said | half))
    found = status(run, now=1011.0)
    assert found.rate == 2.0
    left = 50 - found.done_archs
    assert left > 0 and found.seconds_left == left / 2
    assert np.isnan(status(run, now=time.time()).rate)


def test_others_may_finish_parts_while_finished_ones_are_checked(
    scorer: Any, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path / "run")
    _begin(run.path, whole)
    source, plain = _parts(whole), Run.part
    (run.path / "part-000003.parquet").write_bytes(source["part-000003.parquet"])

    def part(self: Run, *arguments: Any) -> Any:
        (run.path / "part-000005.parquet").write_bytes(source["part-000005.parquet"])
        return plain(self, *arguments)

    monkeypatch.setattr(Run, "part", part)
    sweep(scorer, CODES, run.path, progress=False, worker=Worker(0, 2), **CUT)
    assert _parts(run.path) == source
