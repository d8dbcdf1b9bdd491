"""What benchmarks of spaces have in common: correlations, timings and JSON."""

import datetime
import json
import os
import platform
import subprocess
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxproxy
from jaxproxy import Fidelity, Scorer, make_scorer
from jaxproxy.analysis import bootstrap, kendall, spearman
from jaxproxy.spaces import Space


def correlate(scores: np.ndarray, truth: np.ndarray, num: int = 200) -> dict[str, Any]:
    """Kendall's tau and Spearman's rho with 95 % intervals, where both are finite."""
    both = np.isfinite(scores) & np.isfinite(truth)
    pair = scores[both], truth[both]
    return {
        "num": int(both.sum()),
        "of": int(np.isfinite(truth).sum()),
        "tau": kendall(*pair),
        "tau_interval": list(bootstrap(kendall, *pair, num=num)),
        "rho": spearman(*pair),
        "rho_interval": list(bootstrap(spearman, *pair, num=num)),
    }


def timed(space: Space, proxy: str, fidelity: Fidelity, num: int) -> dict[str, Any]:
    """Seconds of the first call and of random architectures behind it."""
    scorer = make_scorer(space, [proxy], fidelity=fidelity, devices=1, block_size=50)
    codes = space.sample(np.random.default_rng(0), num)
    start = time.perf_counter()
    scorer(codes[:1])
    first = time.perf_counter() - start
    scorer.score(codes)
    return {
        "proxy": proxy,
        "fidelity": asdict(fidelity),
        "first_call_seconds": first,
        "num": num,
        "seconds": time.perf_counter() - start - first,
        "traces": scorer.num_traces,
    }


def take_turns(
    python: str,
    script: Path,
    archs: list[dict[str, Any]],
    scorer: Scorer,
    codes: np.ndarray,
    *,
    rounds: int,
    seed: int,
) -> dict[str, Any]:
    """InTrain of eager PyTorch and of jaxproxy in turn, on the same architectures.

    Args:
      python: interpreter that has PyTorch.
      script: a worker, see ``torch_turns.py``.
      archs: the architectures, as it reads them.
      scorer: warm, of ``"intrain"``, on one device.
      codes: of the same architectures.
      rounds: turns of each.
      seed: of PyTorch's weights and images.
    """
    job = {
        "archs": archs,
        "batch_size": scorer.fidelity.batch_size,
        "resolution": scorer.fidelity.resolution,
        "num_classes": scorer.space.num_classes,
        "seed": seed,
    }
    worker = subprocess.Popen(
        [python, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdin is not None and worker.stdout is not None

    def theirs(line: str) -> dict[str, Any]:
        assert worker.stdin is not None and worker.stdout is not None
        worker.stdin.write(f"{line}\n")
        worker.stdin.flush()
        return json.loads(worker.stdout.readline())

    worker.stdin.write(json.dumps(job) + "\n")
    theirs("warm up")
    turns = []
    for _ in range(rounds):
        answer = theirs("go")
        clock, cpu = time.perf_counter(), time.process_time()
        scores = scorer.score(codes).scores["intrain"][:, 0]
        turns.append(
            {
                "torch_seconds": answer["seconds"],
                "torch_cpu_seconds": answer["cpu_seconds"],
                "jax_seconds": time.perf_counter() - clock,
                "jax_cpu_seconds": time.process_time() - cpu,
                "rho_of_scores": spearman(scores, np.array(answer["scores"])),
            }
        )
    worker.stdin.close()
    worker.wait()
    ratios = [t["torch_cpu_seconds"] / t["jax_cpu_seconds"] for t in turns]
    return {
        "num_archs": len(codes),
        "torch": answer["version"],
        "archs_per_cpu_second": {
            side: round(
                len(codes) / np.median([t[f"{side}_cpu_seconds"] for t in turns]), 1
            )
            for side in ("torch", "jax")
        },
        "jax_over_torch": round(float(np.median(ratios)), 2),
        "range": [round(min(ratios), 2), round(max(ratios), 2)],
        "turns": turns,
    }


def environment() -> dict[str, Any]:
    """Versions, device and date."""
    packages = ("jax", "jaxlib", "flax", "numpy")
    return {
        "versions": {"jaxproxy": jaxproxy.__version__}
        | {name: version(name) for name in packages},
        "device": jax.devices()[0].device_kind,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "date": datetime.date.today().isoformat(),
    }


def write(path: Path | None, result: dict[str, Any]) -> None:
    """As JSON, if there is a file to write to."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n")
