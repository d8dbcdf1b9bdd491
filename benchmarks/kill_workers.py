"""Workers of one run, killed at random, against one worker that nobody kills.

``python benchmarks/kill_workers.py --out RESULT.json`` starts four workers on forty
parts, kills one of them by SIGKILL every 0 to 2 seconds for a minute, starts it again,
and waits until the run is finished. It compares the bytes of all parts with those of a
single worker, and counts how often a part was written and what was left behind.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from ranking import environment, write

from jaxproxy import Fidelity, Run, make_scorer, set_up_jax
from jaxproxy.scoring import Worker, sweep
from jaxproxy.spaces import nasbench201

SIZE = Fidelity(width=8, cells=1, batch_size=8, resolution=16)


def work(path: Path, index: int, count: int, parts: int, part_size: int) -> None:
    """The life of a worker; each part that it writes is a line of a file."""
    set_up_jax(1)
    space = nasbench201()
    codes = space.sample(np.random.default_rng(0), parts * part_size)
    scorer = make_scorer(space, ["capacity"], fidelity=SIZE, devices=1, block_size=16)
    plain = Run.write_part

    def write_part(run: Run, number: int, *tables: Any) -> None:
        plain(run, number, *tables)
        with open(path.with_suffix(".log"), "a") as log:
            log.write(f"{number}\n")

    Run.write_part = write_part  # type: ignore[method-assign]
    worker = Worker(index, count)
    cut: Any = {"part_size": part_size, "deduplicate": False}
    sweep(scorer, codes, path, progress=False, worker=worker, **cut)


def start(path: Path, index: int, count: int, args: Any) -> subprocess.Popen:
    """A worker as a process."""
    numbers = (index, count, args.parts, args.part_size)
    command = [sys.executable, __file__, "--work", str(path), *map(str, numbers)]
    return subprocess.Popen(command)


def digests(path: Path) -> dict[str, str]:
    """SHA-256 of every file that holds results."""
    files = sorted(path.rglob("part-*.parquet"))
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def killed_run(path: Path, args: Any) -> dict[str, Any]:
    """Scores while workers are killed; returns what happened."""
    choose = random.Random(args.seed)
    workers = [start(path, index, args.workers, args) for index in range(args.workers)]
    begin, kills = time.monotonic(), 0
    while time.monotonic() - begin < args.seconds:
        time.sleep(choose.uniform(0, 2))
        index = choose.randrange(args.workers)
        if workers[index].poll() is None:
            workers[index].send_signal(signal.SIGKILL)
            workers[index].wait()
            kills += 1
        if len(Run(path).done()) < args.parts or not path.exists():
            workers[index] = start(path, index, args.workers, args)
    codes = [worker.wait() for worker in workers]
    while len(Run(path).done()) < args.parts:  # the last of a share was killed
        codes.append(start(path, 0, args.workers, args).wait())
    return {
        "kills": kills,
        "exit_codes": codes,
        "seconds": round(time.monotonic() - begin, 1),
    }


def main() -> None:
    """Runs the test, or is one of its workers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--work", nargs=5)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--parts", type=int, default=40)
    parser.add_argument("--part-size", type=int, default=390)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.work:
        path, *numbers = args.work
        work(Path(path), *map(int, numbers))
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("XDG_CACHE_HOME", f"{folder}/cache")
        alone, killed = Path(folder, "alone"), Path(folder, "killed")
        begin = time.monotonic()
        start(alone, 0, 1, args).wait()
        seconds = round(time.monotonic() - begin, 1)
        killed.mkdir()  # the same manifest, whose date is in every part
        shutil.copy(alone / "_manifest.json", killed)
        happened = killed_run(killed, args)
        written = Counter(killed.with_suffix(".log").read_text().split())
        swept = Run(killed).fsck()
        known = {"_manifest.json", "_readings", "_workers"}
        others = {f.name for f in killed.iterdir()} - known
        result = {
            **environment(),
            "seed": args.seed,
            "workers": args.workers,
            "parts": args.parts,
            "part_size": args.part_size,
            "seconds_alone": seconds,
            **happened,
            "same_bytes": digests(alone) == digests(killed),
            "parts_done": len(Run(killed).done()),
            "writes": {str(n): k for n, k in Counter(written.values()).items()},
            "swept": swept,
            "others_left": sorted(n for n in others if not n.startswith("part-")),
        }
    print(result)
    if args.out:
        write(args.out, result)


if __name__ == "__main__":
    main()
