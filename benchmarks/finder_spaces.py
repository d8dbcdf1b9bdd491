"""What ``finder``, chosen on NAS-Bench-201 alone, does in spaces it never saw.

``python benchmarks/finder_spaces.py --out RESULT.json [--sss natsbench_sss.csv.gz]
[--nb101 nb101_7v_10k_108ep.csv.gz] [--num 3000]`` scores a seeded sample of each table
at the preset ``fast`` and writes, for each column, tau and the accuracy of the first of
1,000 random architectures, for all and within half of the most parameters. Spaces that
the file has already are left out.
"""

import argparse
import csv
import gzip
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from ranking import environment, write

from jaxproxy import make_scorer, set_up_jax
from jaxproxy.analysis import best_of, expand, kendall, score_columns
from jaxproxy.scoring import sweep
from jaxproxy.spaces import SPACES

NAMES = (
    *("finder", "spread", "capacity(depth=sqrt)", "naswot", "jacov", "az_nas"),
    *("params", "macs"),
)
TABLES = {
    "natsbench_sss": ("cifar10_test", "cifar100_test", "imagenet16_test"),
    "nasbench101": ("val_acc_one_run",),
}
INAPPLICABLE = {"natsbench_sss": {"az_nas"}, "nasbench101": {"az_nas"}}  # no blocks
SEED = 0


def read(name: str, path: Path, num: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Codes and accuracies of a random part of a table."""
    space = SPACES[name]()
    with gzip.open(path, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = np.random.default_rng(SEED).permutation(len(rows))[:num]
    rows = [rows[i] for i in chosen]
    texts = [row.get("arch") or f"{row['adjacency']}:{row['ops']}" for row in rows]
    truths = {c: np.array([float(row[c]) for row in rows]) for c in TABLES[name]}
    return np.stack([space.from_str(text) for text in texts]), truths


def found(score: np.ndarray, truth: np.ndarray, inside: np.ndarray) -> dict[str, Any]:
    """Tau and what is found, of all and of some."""
    valid = np.isfinite(score)
    score = np.where(valid, score, score[valid].min() - 1)
    return {
        "valid": int(valid.sum()),
        "tau": kendall(score, truth),
        "best_of_1000": [*best_of(score, truth, n=1000)],
        "best_of_300_within_half": [*best_of(score[inside], truth[inside], n=300)],
    }


def compared(name: str, path: Path, num: int) -> dict[str, Any]:
    """Scores a sample of a table, and compares."""
    codes, truths = read(name, path, num)
    space, begin = SPACES[name](), time.perf_counter()
    names = [n for n in NAMES if n not in INAPPLICABLE.get(name, set())]
    scorer = make_scorer(space, expand(names), fidelity="fast")
    with tempfile.TemporaryDirectory() as folder:
        run = sweep(scorer, codes, folder, deduplicate=False)
        scores = {c.name: c.oriented for c in score_columns(run)}
    params = scores["params"]
    inside = params <= params.max() / 2
    records: dict[str, Any] = {}
    for column, truth in truths.items():
        rows = {n: found(scores[n], truth, inside) for n in names}
        rows["ceiling"] = found(truth, truth, inside)
        records[column] = rows
        for row, values in rows.items():
            best, half = values["best_of_1000"][0], values["best_of_300_within_half"][0]
            print(name, column, f"{row} {values['tau']:.3f} {best:.4g} {half:.4g}")
    return {
        "num_archs": len(codes),
        "within_half": int(inside.sum()),
        "fidelity": scorer.describe()["fidelity"],
        "seconds_with_compilation": round(time.perf_counter() - begin, 1),
        "records": records,
    }


def main() -> None:
    """Compares the spaces whose tables are given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sss", dest="natsbench_sss", type=Path)
    parser.add_argument("--nb101", dest="nasbench101", type=Path)
    parser.add_argument("--num", type=int, default=3000)
    args = parser.parse_args()
    set_up_jax()
    result: dict[str, Any] = {"spaces": {}}
    if args.out.exists():
        result = json.loads(args.out.read_text())
    for name in TABLES:
        path = getattr(args, name)
        if path is not None and name not in result["spaces"]:
            result["spaces"][name] = compared(name, path, args.num)
            result |= environment() | {"seed": SEED, "preset": "fast"}
            write(args.out, result)


if __name__ == "__main__":
    main()
