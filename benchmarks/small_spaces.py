"""Compilations and seconds of the small spaces, and rankings of the size space.

``python benchmarks/small_spaces.py --out RESULT.json [--sss natsbench_sss.csv.gz]``
scores random architectures of each space with InTrain at its ``fast`` preset. With the
table of the size space, proxies are correlated with trained accuracies, and exact
parameters on all architectures.
"""

import argparse
import csv
import gzip
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from ranking import environment, write

from jaxproxy import Fidelity, make_scorer
from jaxproxy.analysis import bootstrap, kendall, spearman
from jaxproxy.spaces import SPACES

NAMES = ("natsbench_sss", "transnasbench101_micro", "nasbench_macro")
DATA = ("cifar10", "cifar100", "imagenet16")
# NASWOT's published Kendall tau on the size space, by data set.
PUBLISHED = {"naswot": dict(zip(DATA, (0.43, 0.18, 0.40), strict=True))}
RANKED = Fidelity(width=4, cells=1, batch_size=16, resolution=16)


def timed(name: str, num: int, seed: int) -> dict[str, Any]:
    """Compilation and throughput of InTrain on random architectures of a space."""
    space = SPACES[name]()
    codes = space.sample(np.random.default_rng(seed), num)
    scorer = make_scorer(space, ["intrain"], fidelity="fast", devices=1, block_size=100)
    clock, cpu = time.perf_counter(), time.process_time()
    scorer.score(codes[:1])
    first, first_cpu = time.perf_counter() - clock, time.process_time() - cpu
    clock, cpu = time.perf_counter(), time.process_time()
    scores = scorer.score(codes).scores["intrain"]
    return {
        "space": name,
        "fidelity": scorer.describe()["fidelity"],
        "num_archs": num,
        "seed": seed,
        "compilations": scorer.num_traces,
        "first_block_seconds": round(first, 2),
        "first_block_cpu_seconds": round(first_cpu, 2),
        "seconds": round(time.perf_counter() - clock, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "finite": int(np.isfinite(scores).sum()),
        "load_average": round(os.getloadavg()[0], 1),
    }


def ranked(path: Path, proxies: list[str], num: int, seed: int) -> list[dict[str, Any]]:
    """Rank correlations with accuracies of the size space."""
    space = SPACES["natsbench_sss"]()
    with gzip.open(path, "rt", newline="") as file:
        rows = {row["arch"]: row for row in csv.DictReader(file)}
    sample = space.sample(np.random.default_rng(seed), num)
    scorer = make_scorer(space, proxies, fidelity=RANKED, devices=1, block_size=100)
    measured = {k: v[:, 0] for k, v in scorer.score(sample).scores.items()}
    assert space.enumerate is not None
    columns = [(k, v, sample) for k, v in measured.items()]
    columns += [("params", space.num_params(sample), sample)]
    every = space.enumerate()
    columns += [("params", space.num_params(every), every)]
    records = []
    for proxy, scores, codes in columns:
        table = [rows[space.to_str(code)] for code in codes]
        for data in DATA:
            accuracy = np.array([float(row[f"{data}_test"]) for row in table])
            interval = bootstrap(kendall, np.asarray(scores, float), accuracy, num=200)
            records.append(
                {
                    "proxy": proxy,
                    "data": data,
                    "num_archs": len(codes),
                    "tau": kendall(scores, accuracy),
                    "interval": list(interval),
                    "rho": spearman(scores, accuracy),
                    "published_tau": PUBLISHED.get(proxy, {}).get(data),
                }
            )
    return records


def main() -> None:
    """Prints the records, and writes them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sss", type=Path)
    parser.add_argument("--spaces", nargs="*", choices=NAMES, default=NAMES)
    parser.add_argument(
        "--proxies", nargs="+", default=["intrain", "capacity", "naswot"]
    )
    parser.add_argument("--num", type=int, default=1000)
    parser.add_argument("--ranked", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    result: dict[str, Any] = {
        **environment(),
        "speed": [timed(name, args.num, args.seed) for name in args.spaces],
    }
    if args.sss:
        result["natsbench_sss"] = {
            "fidelity": vars(RANKED),
            "weights_seed": 0,
            "sample_seed": args.seed,
            "accuracy": "test accuracy after 90 epochs, one training seed",
            "records": ranked(args.sss, args.proxies, args.ranked, args.seed),
        }
    write(args.out, result)
    print(args.out.read_text())


if __name__ == "__main__":
    main()
