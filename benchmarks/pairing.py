"""Two implementations timed in turn: processes, architectures, rounds, ratios.

What ``peer.py`` and ``proxies.py`` share. PyTorch is two single-thread processes with
half of the architectures each, jaxproxy one process with two CPU devices. All are warm,
and only one side runs at a time, so that a busy machine slows all alike: trust the
ratios.
"""

import datetime
import json
import os
import platform
import random
import statistics
import subprocess
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
# Milliseconds of an operation in eager PyTorch, roughly: only to share out the work.
OP_COST = {"nor_conv_3x3": 4.0, "nor_conv_1x1": 2.0, "avg_pool_3x3": 1.0}
# No compilation cache, so that the compile time is one.
ENVIRONMENT = {
    "torch": {},
    "torch_tuned": {
        "MALLOC_MMAP_THRESHOLD_": str(2**30),
        "MALLOC_TRIM_THRESHOLD_": str(2**32),
    },
    "jax": {"JAX_ENABLE_COMPILATION_CACHE": "false", "OPENBLAS_NUM_THREADS": "1"},
}


def arch_str(index: int) -> str:
    """Architecture of an official index: lexicographic order, shuffled by seed 88."""
    ranks = list(range(len(OPS) ** 6))
    random.Random(88).shuffle(ranks)
    a, b, c, d, e, f = (OPS[ranks[index] // 5**k % 5] for k in range(5, -1, -1))
    return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"


def random_archs(count: int, seed: int) -> dict[int, str]:
    """Distinct architectures, official index -> string; a prefix is random too."""
    indices = np.random.default_rng(seed).choice(len(OPS) ** 6, count, replace=False)
    return {int(index): arch_str(int(index)) for index in indices}


def halves(archs: list[str]) -> list[list[int]]:
    """Positions for each PyTorch process, so that both have about the same to do."""
    cost = [sum(n * arch.count(op) for op, n in OP_COST.items()) for arch in archs]
    order = np.argsort(cost, stable=True)[::-1]
    # First, last, last, first: the dearest pair is split, then the next the other way.
    return [
        [int(p) for i, p in enumerate(order) if i % 4 in pair]
        for pair in ((0, 3), (1, 2))
    ]


class Side:
    """The processes of one side; each scores its share of the architectures."""

    def __init__(
        self,
        name: str,
        python: str,
        job: dict,
        shares: list[list[int]],
        environment: dict[str, str] | None = None,
    ) -> None:
        """Starts the processes and waits until all are warm.

        Args:
          name: a key of ``peer_worker.SIDES``.
          python: interpreter that has the side's packages.
          job: what ``peer_worker`` reads, with all architectures.
          shares: positions in ``job["archs"]`` for each process.
          environment: overrides :data:`ENVIRONMENT`.
        """
        here = Path(__file__).resolve().parent
        path = os.pathsep.join([str(here.parent), os.environ.get("PYTHONPATH", "")])
        changes = ENVIRONMENT[name] if environment is None else environment
        self.shares = shares
        self.workers = [
            subprocess.Popen(
                [python, str(here / "torch" / "peer_worker.py"), name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, **changes, "PYTHONPATH": path},
            )
            for _ in shares
        ]
        jobs = [{**job, "archs": [job["archs"][p] for p in share]} for share in shares]
        self.about = self._ask([json.dumps(j) for j in jobs])

    def _ask(self, lines: list[str]) -> list[dict]:
        for worker, line in zip(self.workers, lines, strict=True):
            worker.stdin.write(line + "\n")
            worker.stdin.flush()
        answers = [worker.stdout.readline() for worker in self.workers]
        if not all(answers):
            raise RuntimeError("a worker died; its own message is above")
        return [json.loads(answer) for answer in answers]

    def go(self, number: int) -> tuple[dict, np.ndarray]:
        """One pass: its measurements, and the scores in the order of the job."""
        answers = self._ask([f"go {number}"] * len(self.workers))
        count = sum(len(share) for share in self.shares)
        scores = np.empty(count)
        for share, answer in zip(self.shares, answers, strict=True):
            scores[share] = answer["scores"]
        seconds = max(a["seconds"] for a in answers)
        measured = {
            "seconds": seconds,
            "worker_seconds": [a["seconds"] for a in answers],
            "archs_per_s": count / seconds,
            "cpu_ms_per_arch": 1e3 * sum(a["cpu_s"] for a in answers) / count,
            "peak_rss_mib": sum(a["peak_rss_mib"] for a in answers),
        }
        return measured, scores

    def close(self) -> None:
        """Ends the processes."""
        for worker in self.workers:
            worker.stdin.close()
            worker.wait()


def spread(values: list[float]) -> dict[str, float]:
    """Minimum, median and maximum."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def agreement(a: np.ndarray, b: np.ndarray) -> dict[str, float | int | None]:
    """Spearman correlation of two score lists where both are finite.

    The sides draw different weights, so it is a check that they score alike, below 1.
    """
    both = np.isfinite(a) & np.isfinite(b)
    ranks = [rankdata(v[both]) for v in (a, b)]
    enough = both.sum() > 2 and all(np.ptp(rank) > 0 for rank in ranks)
    rho = float(np.corrcoef(ranks)[0, 1]) if enough else None
    return {"spearman": rho, "finite_in_both": int(both.sum())}


def machine() -> dict[str, str | int | None]:
    """What the numbers were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
    }


def summarise(records: list[dict], names: list[str]) -> dict:
    """Minimum, median and maximum over the rounds, per side and of the ratios."""
    keys = ("archs_per_s", "cpu_ms_per_arch", "peak_rss_mib")
    summary: dict = {
        n: {k: spread([r[n][k] for r in records]) for k in keys} for n in names
    }
    for peer in _peers(names):
        summary[f"ratio_to_{peer}"] = spread(
            [r["jax"]["archs_per_s"] / r[peer]["archs_per_s"] for r in records]
        )
    return summary


def _peers(names: list[str]) -> list[str]:
    return [name for name in names if name != "jax"] if "jax" in names else []


def benchmark(sides: dict[str, Side], rounds: int) -> dict:
    """The rounds, all sides in turn, and their summary."""
    records, names = [], list(sides)
    for number in range(rounds):
        passes = {name: side.go(number) for name, side in sides.items()}
        records.append({name: measured for name, (measured, _) in passes.items()})
        speeds = {n: round(records[-1][n]["archs_per_s"], 2) for n in names}
        print(f"round {number}: archs/s {speeds}", flush=True)
    summary = summarise(records, names)
    for peer in _peers(names):
        summary[f"agreement_with_{peer}"] = agreement(passes[peer][1], passes["jax"][1])
    if "jax" in sides:
        about = sides["jax"].about[0]
        slow, fast = about["first_pass_s"], about["second_pass_s"]
        summary["jax_compile_s"] = about["make_scorer_s"] + slow - fast
    workers = {name: side.about for name, side in sides.items()}
    return {"summary": summary, "rounds": records, "workers": workers}


def conditions(seed: int) -> dict:
    """What a result has to say about how it was measured."""
    return {
        "seed": seed,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "environment": ENVIRONMENT,
    }


def write(report: dict, out: Path | None) -> None:
    """Writes a result as JSON, if there is a file to write to."""
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
