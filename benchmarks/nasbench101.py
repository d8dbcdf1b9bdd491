"""How proxies rank trained architectures of NAS-Bench-101, and what they cost.

``python benchmarks/nasbench101.py --table NAME=FILE.csv.gz:COLUMN ... --out OUT.json``
scores a seeded sample of every table (columns ``adjacency``, ``ops`` and an accuracy)
at each fidelity ``WIDTH,CELLS,BATCH,RESOLUTION`` and writes Kendall's tau and
Spearman's rho with bootstrap intervals. ``--skip N`` leaves out the first N of the
sample, on which a fidelity was chosen. ``--speed N`` times N random architectures, and
``--torch-python PYTHON`` takes turns with eager PyTorch on some of them.
"""

import argparse
import csv
import gzip
import time
from pathlib import Path
from typing import Any

import numpy as np
from ranking import environment, take_turns, write

from jaxproxy import Fidelity, Scorer, make_scorer
from jaxproxy.analysis import bootstrap, kendall, spearman
from jaxproxy.proxies import parse_proxy
from jaxproxy.spaces import nasbench101

SPACE = nasbench101()
PUBLISHED = {
    "intrain": {"tau": 0.56, "rho": 0.75, "of": "InTrain (CVPR 2026), whole space"},
    "params": {"tau": 0.31, "rho": 0.43, "of": "InTrain (CVPR 2026), whole space"},
    "epsinas": {"tau": 0.44, "rho": 0.62, "of": "epsinas repository, whole space"},
}


def read_table(spec: str, num: int, skip: int, seed: int) -> dict[str, Any]:
    """Codes int32[n, 26] and accuracies float[n] of a random part of a table."""
    name, _, source = spec.partition("=")
    file, _, column = source.rpartition(":")
    with gzip.open(file, "rt", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row[column]]
    order = np.random.default_rng(seed).permutation(len(rows))[skip : skip + num]
    rows = [rows[i] for i in order]
    texts = (f"{row['adjacency']}:{row['ops']}" for row in rows)
    return {
        "name": name,
        "column": column,
        "rows": len(rows),
        "codes": np.stack([SPACE.from_str(text) for text in texts]),
        "accuracy": np.array([float(row[column]) for row in rows]),
    }


def measure(scores: np.ndarray, accuracy: np.ndarray) -> dict[str, Any]:
    """Tau and rho on the valid scores, with intervals over architectures."""
    valid = np.isfinite(scores)
    a, b = scores[valid], accuracy[valid]
    record: dict[str, Any] = {"valid": int(valid.sum()), "archs": len(scores)}
    for name, statistic in (("tau", kendall), ("rho", spearman)):
        record[name] = statistic(a, b)
        record[f"{name}_interval"] = list(bootstrap(statistic, a, b, num=200))
    return record


def correlate(scorer: Scorer, tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One record for every table and proxy."""
    records = []
    for table in tables:
        codes = table["codes"]
        start = time.perf_counter()
        scores = {k: v.mean(1) for k, v in scorer.score(codes).scores.items()}
        seconds = time.perf_counter() - start
        for name, values in (scores | scorer.counts(codes)).items():
            record = measure(values, table["accuracy"])
            records.append({"table": table["name"], "proxy": name, **record})
            print(table["name"], name, *(f"{record[k]:.3f}" for k in ("tau", "rho")))
        records[-1]["seconds_of_table"] = seconds
    return records


def speed(scorer: Scorer, num: int, seed: int) -> dict[str, Any]:
    """Seconds to compile and to score random architectures."""
    codes = SPACE.sample(np.random.default_rng(seed), num + 1)
    start = time.perf_counter()
    scorer.score(codes[:1])
    compiled = time.perf_counter()
    scorer.score(codes[1:])
    return {
        "archs": num,
        "compile_s": compiled - start,
        "score_s": time.perf_counter() - compiled,
        "programs": scorer.num_traces,
    }


def graph(code: np.ndarray, fidelity: Fidelity) -> dict[str, Any]:
    """An architecture as the worker ``nasbench101_torch.py`` reads it."""
    widths = [fidelity.width << stack for stack in range(3)]
    rows, _, names = SPACE.to_str(code).partition(":")
    matrix = np.array([list(map(int, row)) for row in rows.split("/")])
    paths = np.linalg.matrix_power(matrix + np.eye(len(matrix), dtype=int), len(matrix))
    live = np.flatnonzero((paths[0] > 0) & (paths[:, -1] > 0))
    matrix = matrix[np.ix_(live, live)]
    return {
        "matrix": matrix.tolist(),
        "ops": [names.split("|")[vertex] for vertex in live],
        "channels": [channels(matrix, width) for width in widths],
        "widths": widths,
        "depth": fidelity.cells,
    }


def channels(matrix: np.ndarray, width: int) -> list[int]:
    """Of the vertices between input and output, as the benchmark's paper shares them.

    Those that feed the output share its channels, the first ones getting the rest;
    any other has as many as the widest that it feeds.
    """
    last = len(matrix) - 1
    feeding = [v for v in range(1, last) if matrix[v, last]]
    found = [0] * (last + 1)
    for place, vertex in enumerate(feeding):
        found[vertex] = width // len(feeding) + (place < width % len(feeding))
    for vertex in range(last - 1, 0, -1):
        fed = [found[v] for v in range(vertex + 1, last) if matrix[vertex, v]]
        found[vertex] = found[vertex] or max(fed)
    return found[1:-1]


def main() -> None:
    """Writes the correlations of all fidelities as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", nargs="+", default=[])
    parser.add_argument("--num", type=int, default=1000)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--proxies", nargs="+", default=["intrain", "naswot", "params"])
    parser.add_argument("--fidelities", nargs="+", required=True)
    parser.add_argument("--speed", type=int, default=0)
    parser.add_argument("--torch-python")
    parser.add_argument("--paired", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--images", type=Path, help="npz file of train_jpeg_x uint8[N, R, R, 3]"
    )
    parser.add_argument("--num-images", type=int, default=256)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    tables = [read_table(t, args.num, args.skip, args.seed) for t in args.table]
    images = None
    if args.images:
        pixels = np.load(args.images)["train_jpeg_x"][: args.num_images]
        pixels = pixels.astype(np.float32) / 255
        images = (pixels - pixels.mean((0, 1, 2))) / pixels.std((0, 1, 2))
    proxies = [parse_proxy(name) for name in args.proxies]
    results = []
    for spec in args.fidelities:
        fidelity = Fidelity(*map(int, spec.split(",")))
        print(fidelity)
        scorer = make_scorer(
            SPACE,
            proxies,
            fidelity=fidelity,
            devices=1,
            images=images,
            # Or the few that take turns would be padded to a longer block.
            block_size=args.paired if args.torch_python else None,
        )
        result: dict[str, Any] = {"scorer": scorer.describe()}
        if args.speed:
            result["speed"] = speed(scorer, args.speed, args.seed)
            print(result["speed"])
        if args.torch_python:
            codes = SPACE.sample(np.random.default_rng(args.seed), args.paired)
            scorer.score(codes[:1])
            result["paired"] = take_turns(
                args.torch_python,
                Path(__file__).parent / "torch" / "nasbench101_torch.py",
                [graph(code, fidelity) for code in codes],
                scorer,
                codes,
                rounds=args.rounds,
                seed=args.seed,
            )
            print(result["paired"])
        results.append({**result, "records": correlate(scorer, tables)})
    report = {
        **environment(),
        "tables": [{k: t[k] for k in ("name", "column", "rows")} for t in tables],
        "sample": {"seed": args.seed, "skip": args.skip, "num": args.num},
        "images": 0 if images is None else len(images),
        "published": PUBLISHED,
        "results": results,
    }
    write(args.out, report)


if __name__ == "__main__":
    main()
