"""Sweeps that are watched, stopped and killed."""

import logging
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from helpers import fake_scorer
from helpers.fake_scorer import FakeScorer, as_lists, request

from jaxproxy.runs import Run
from jaxproxy.scoring import Interrupted, sweep
from jaxproxy.scoring import _progress as progress

CODES = request()
_SCRIPT = Path(fake_scorer.__file__)


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> list[str]:
    """Tables of an uninterrupted sweep."""
    out = tmp_path_factory.mktemp("run")
    return as_lists(sweep(FakeScorer(), CODES, out, deduplicate=False, part_size=10))


def start(out: Path, seconds: float = 0.05, **options) -> subprocess.Popen:
    """Starts a sweep of the same request in another process."""
    path = os.pathsep.join([str(Path(progress.__file__).parents[2]), *sys.path])
    return subprocess.Popen(
        [sys.executable, _SCRIPT, out, str(seconds)],
        env={**os.environ, "PYTHONPATH": path},
        **options,
    )


def wait_for_parts(out: Path, process: subprocess.Popen, number: int) -> None:
    """Waits until the process has written some parts."""
    deadline = time.monotonic() + 60
    while len(list(out.glob("part-*"))) < number:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_killed_run_resumes_to_the_same_tables(tmp_path, expected):
    """SIGKILL, twice, then another number of devices and another block size."""
    for parts in (3, 6):
        process = start(tmp_path)
        wait_for_parts(tmp_path, process, parts)
        process.kill()
        process.wait()
    run = Run.open(tmp_path)
    classes = run.manifest["num_classes"]
    done, parts = len(run.done()), -(-classes // 10)
    assert 6 <= done < parts
    scorer = FakeScorer(block_size=6, num_devices=3)
    run = sweep(scorer, CODES, tmp_path, deduplicate=False, part_size=10)
    assert len(scorer.calls) == 2 * (parts - done) - 1
    assert as_lists(run) == expected
    assert not [p for p in run.fsck(delete=False) if "temporary" not in p]


def test_sigterm_drops_the_part_and_says_how_to_go_on(tmp_path, expected):
    """The process ends by itself, within a block."""
    process = start(tmp_path, stderr=subprocess.PIPE, text=True)
    wait_for_parts(tmp_path, process, 2)
    process.terminate()
    _, log = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert re.search(r"WARNING stopped by SIGTERM: \d+ of 300 archs are kept in", log)
    assert "Traceback" not in log
    run = Run.open(tmp_path)
    assert run.fsck() == []
    kept = int(re.search(r"(\d+) of 300", log)[1])
    assert len(run.table()) == kept
    run = sweep(FakeScorer(), CODES, tmp_path, deduplicate=False, part_size=10)
    assert as_lists(run) == expected


def test_sigint_restores_the_handlers(tmp_path):
    """The first signal is caught, in the last block too; a second one is not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    scorer = FakeScorer(before=lambda: signal.raise_signal(signal.SIGINT))
    try:
        with pytest.raises(Interrupted, match="0 of 300") as caught:
            sweep(scorer, CODES, tmp_path, part_size=10)
        assert len(scorer.calls) == 1
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        with pytest.raises(Interrupted, match="3 of 3 archs"):
            sweep(scorer, CODES[:3], tmp_path / "small")
        twice = [signal.SIGINT] * 2
        scorer.before = lambda: [signal.raise_signal(s) for s in twice]
        with pytest.raises(KeyboardInterrupt):
            sweep(scorer, CODES, tmp_path, part_size=10)
    finally:
        signal.signal(signal.SIGINT, before)
    assert caught.value.signum == signal.SIGINT
    assert (caught.value.done, caught.value.total) == (0, 300)


def test_other_threads_sweep_without_handlers(tmp_path, expected):
    """Python allows handlers in the main thread only."""
    runs = []
    thread = threading.Thread(
        target=lambda: runs.append(
            sweep(FakeScorer(), CODES, tmp_path, deduplicate=False, part_size=10)
        )
    )
    thread.start()
    thread.join()
    assert as_lists(runs[0]) == expected


def test_progress_is_logged_off_a_terminal(tmp_path, caplog, monkeypatch):
    """Count, rate and remaining time."""
    monkeypatch.setattr("jaxproxy.scoring._progress._LOG_SECONDS", 0)
    caplog.set_level(logging.INFO, "jaxproxy")
    sweep(FakeScorer(seconds=0.001), CODES, tmp_path, part_size=10)
    lines = caplog.messages
    assert all(re.fullmatch(r"\d+/300 archs, \S+ arch/s, ETA \S+", x) for x in lines)
    assert lines[-1].startswith("300/300")
    caplog.clear()
    sweep(FakeScorer(), CODES, tmp_path / "quiet", progress=False)
    assert not caplog.messages


def test_progress_is_a_bar_on_a_terminal(tmp_path):
    """Nothing is logged there."""
    leader, follower = pty.openpty()
    process = start(tmp_path, 0.001, stderr=follower)
    os.close(follower)
    shown = b""
    try:
        while data := os.read(leader, 4096):
            shown += data
    except OSError:  # how Linux reports that the other end is closed
        pass
    os.close(leader)
    assert process.wait(timeout=30) == 0
    assert b"300/300" in shown
    assert b"arch/s" in shown
    assert b"INFO" not in shown
