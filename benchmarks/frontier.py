"""Ranking quality against cost: which size of network and batch to score.

``python benchmarks/frontier.py --truth FILE.csv:COLUMN --out RESULT.json`` scores one
seeded sample of NAS-Bench-201 at a grid of fidelities, forward half (``capacity``) and
whole (``intrain``), and with 1 to 4 seeds. Points that no cheaper one beats are found
on one half of the sample and reported on the other. With ``--plot`` it draws them all.
"""

import argparse
import json
import platform
import time
from collections.abc import Iterator, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxproxy import Fidelity, make_scorer, set_up_jax
from jaxproxy.analysis import bootstrap, kendall, load_truth
from jaxproxy.spaces import Space, nasbench201

BATCHES = ((4, 8), (16, 8), (2, 16), (4, 16), (8, 16), (2, 32), (8, 32))
FORWARD = [
    Fidelity(width, cells, batch, resolution)
    for width in (4, 8, 16)
    for cells in (1, 2, 5)
    for batch, resolution in BATCHES
    if width * cells * batch * resolution**2 <= 8 * 5 * 8 * 16**2
]
FULL = [
    Fidelity(8, 1, 4, 16),
    Fidelity(8, 2, 4, 16),
    Fidelity(8, 2, 8, 16),
    Fidelity(16, 2, 8, 16),
    Fidelity(16, 5, 4, 16),
]
SEEDS = [Fidelity(8, 1, 4, 16), Fidelity(8, 2, 4, 16)]
PROXIES = ("capacity", "capacity(depth=sqrt)", "intrain")


def points(quick: bool) -> Iterator[tuple[Fidelity, tuple[str, ...], int]]:
    """Fidelity, proxies and number of seeds of each point of the grid."""
    for fidelity in FORWARD[:: 8 if quick else 1]:
        yield fidelity, PROXIES[:2], 1
    for fidelity in FULL[: 1 if quick else None]:
        yield fidelity, PROXIES, 1
    for fidelity in SEEDS[: 1 if quick else None]:
        for seeds in (2, 4):
            yield fidelity, PROXIES[:2], seeds


def measure(
    space: Space,
    codes: np.ndarray,
    fidelity: Fidelity,
    proxies: Sequence[str],
    seeds: int,
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Scores by proxy, averaged over seeds, and milliseconds per architecture."""
    scorer = make_scorer(space, list(proxies), fidelity=fidelity, seeds=seeds)
    start = time.perf_counter()
    scorer(codes[: scorer.block_size])
    first = time.perf_counter() - start
    start, cpu = time.perf_counter(), time.process_time()
    scored = scorer.score(codes).scores
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    scores = {p: scored[p].mean(1) for p in proxies}
    cost = {
        "ms": 1e3 * seconds / len(codes),
        "cpu_ms": 1e3 * cpu / len(codes),
        "compile_s": first,
    }
    return scores, cost


def evaluate(
    scores: np.ndarray, accuracy: np.ndarray, half: np.ndarray
) -> dict[str, Any]:
    """Tau on the half for choosing and, with a 95 % interval, on the other."""
    finite = np.isfinite(scores)
    test, choose = finite & ~half, finite & half
    low, high = bootstrap(kendall, scores[test], accuracy[test])
    return {
        "tau_choose": kendall(scores[choose], accuracy[choose]),
        "tau_test": kendall(scores[test], accuracy[test]),
        "interval": [low, high],
        "invalid": int((~finite).sum()),
    }


def pareto(points: Sequence[dict[str, Any]], truths: Sequence[str]) -> list[dict]:
    """The points that no cheaper one beats in mean tau on the half for choosing."""
    best, kept = -np.inf, []
    for point in sorted(points, key=lambda p: p["ms"]):
        tau = float(np.mean([point[t]["tau_choose"] for t in truths]))
        if tau > best:
            best = tau
            kept.append({k: v for k, v in point.items() if k != "compile_s"})
    return kept


def main() -> None:
    """Runs the grid and writes JSON after every point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--truth", nargs="+", required=True)
    parser.add_argument("--archs", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    set_up_jax(2)
    jax.config.update("jax_enable_compilation_cache", False)  # for compile_s
    space = nasbench201()
    rng = np.random.default_rng(args.seed)
    codes = space.sample(rng, args.archs)
    half = rng.permutation(len(codes)) < len(codes) // 2
    truths = {}
    for truth in map(load_truth, args.truth):
        archs = map(space.to_str, codes)
        truths[truth.name] = np.array([truth.accuracy[arch] for arch in archs])
    result: dict[str, Any] = {
        "date": date.today().isoformat(),
        "device": platform.processor() or platform.machine(),
        "devices": jax.device_count(),
        "versions": {p: version(p) for p in ("jax", "jaxlib", "flax", "numpy")},
        "sample": {"num": args.archs, "seed": args.seed, "space": space.name},
        "points": [],
    }
    for fidelity, proxies, seeds in points(args.quick):
        scores, cost = measure(space, codes, fidelity, proxies, seeds)
        for proxy in proxies:
            taus = {n: evaluate(scores[proxy], a, half) for n, a in truths.items()}
            point = {"proxy": proxy, "seeds": seeds, **vars(fidelity), **cost, **taus}
            result["points"].append(point)
        result["pareto"] = pareto(result["points"], list(truths))
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")
        first = next(iter(truths))
        print(
            fidelity, seeds, f"{cost['ms']:.2f} ms", taus[first]["tau_test"], flush=True
        )
    if args.plot:
        draw(result, next(iter(truths)), args.plot)


def draw(result: dict[str, Any], truth: str, path: Path) -> None:
    """Tau with its interval against milliseconds per architecture."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5))
    for proxy in PROXIES:
        chosen = [p for p in result["points"] if p["proxy"] == proxy]
        taus = np.array([p[truth]["tau_test"] for p in chosen])
        ends = np.array([p[truth]["interval"] for p in chosen]).T
        bars = np.abs(ends - taus)
        axes.errorbar(
            [p["ms"] for p in chosen], taus, bars, fmt="o", ms=3, lw=0.5, label=proxy
        )
    axes.set(xscale="log", xlabel="ms per architecture", ylabel=f"Kendall tau, {truth}")
    axes.legend()
    figure.savefig(path, bbox_inches="tight")


if __name__ == "__main__":
    main()
