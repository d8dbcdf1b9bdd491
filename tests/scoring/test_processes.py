"""Workers as processes of this machine: started again, given up, stopped."""

import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_line import command

from jaxproxy.runs import Run
from jaxproxy.scoring import Interrupted, make_scorer, run_workers, sweep
from jaxproxy.scoring._sweep import plan_sweep
from jaxproxy.spaces import nasbench201

CODES = nasbench201().sample(np.random.default_rng(0), 40)
CUT: Any = {"part_size": 10, "deduplicate": False}


@dataclass
class _Work:
    """Copies finished parts of another run; dies before the third, as often as said."""

    source: Path
    target: Path
    deaths: int = 0
    code: int = 0
    seconds: float = 0

    def __call__(self) -> int:
        marks = self.target.parent
        for file in sorted(self.source.glob("part-*")):
            time.sleep(self.seconds)
            died = len([*marks.glob("death-*")])
            if file.name == "part-000002.parquet" and died < self.deaths:
                (marks / f"death-{died}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            (self.target / file.name).write_bytes(file.read_bytes())
        return self.code


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Run]:
    scorer = make_scorer(nasbench201(), ["params"], fidelity="fast", devices=1)
    sweep(scorer, CODES, tmp_path / "whole", progress=False, **CUT)
    _, run = plan_sweep(scorer, CODES, tmp_path / "run", **CUT)
    return tmp_path / "whole", run


def test_one_that_dies_is_started_again(runs: tuple[Path, Run]) -> None:
    whole, run = runs
    run_workers([_Work(whole, run.path, deaths=1)], run, 40)
    assert len(run.done()) == 4
    assert len([*run.path.parent.glob("death-*")]) == 1


def test_one_that_always_dies_is_given_up(runs: tuple[Path, Run]) -> None:
    whole, run = runs
    with pytest.raises(RuntimeError, match="worker 0 ended with signal 9"):
        run_workers([_Work(whole, run.path, deaths=99)], run, 40)
    # Started once, and three times more; the first finished parts.
    assert 4 <= len([*run.path.parent.glob("death-*")]) <= 5


def test_one_without_hope_is_not_started_again(runs: tuple[Path, Run]) -> None:
    whole, run = runs
    works = [_Work(whole, run.path, code=42), _Work(whole, run.path, seconds=60)]
    begin = time.monotonic()
    with pytest.raises(RuntimeError, match="worker 0 ended with exit code 42"):
        run_workers(works, run, 40, hopeless=(2, 42))
    assert time.monotonic() - begin < 50  # the other was stopped


def test_a_signal_stops_all(runs: tuple[Path, Run]) -> None:
    whole, run = runs
    timer = threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    begin = time.monotonic()
    with pytest.raises(Interrupted, match="SIGTERM"):
        run_workers([_Work(whole, run.path, seconds=60)], run, 40)
    assert time.monotonic() - begin < 50


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = ("score", "nasbench201", "--proxies", "params", "--sample", 2500)
    assert command(*request, "--out", tmp_path / "one") == 0
    assert command(*request, "--out", tmp_path / "two", "--workers", 2) == 0
    assert "2500 architectures" in capsys.readouterr().out
    one, two = (Run.open(tmp_path / name).table() for name in ("one", "two"))
    assert two.to_pandas().equals(one.to_pandas())
    assert len([*(tmp_path / "two" / "_workers").glob("*.json")]) == 2
