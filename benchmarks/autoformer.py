"""Vision transformers of AutoFormer: scores beside trained accuracies, and the cost.

``python benchmarks/autoformer.py --table vit_autoprox.json --out RESULT.json`` scores
the 200 architectures of Auto-Prox (arXiv:2312.09059) and correlates
with accuracies on each data set: of 100 trained with and without distillation, of
100 others with it, and of all 200 by the weights of AutoFormer's supernet. It times
random architectures too.
"""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ranking import correlate, environment, timed, write

from jaxproxy import Fidelity, make_scorer
from jaxproxy.spaces import autoformer

PROXIES = (
    "intrain(layers=linear)",
    "capacity(layers=linear)",
    "capacity(layers=linear,depth=none)",
    "snip",
    "l2_norm",
    "dss",
)
COUNTS = ("params", "macs")


def read(path: Path) -> list[dict[str, Any]]:
    """Records of the table with their string and group."""
    records = []
    for group in ("gt_autoformer", "gt_autoformer_2"):
        for record in json.loads(path.read_text())[group]:
            arch = record["arch"]
            lists = ["-".join(map(str, arch[k])) for k in ("num_heads", "mlp_ratio")]
            text = "embed:{}|depth:{}|heads:{}|mlp:{}".format(
                arch["hidden_dim"], arch["depth"], *lists
            )
            records.append({**record, "group": group, "arch": text})
    return records


def truths(records: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Name -> accuracies float64[200], NaN where there is none."""
    found = {}
    names = [key for key in records[0] if key.endswith("_acc")]
    for name in names:
        column = np.array([r[name] for r in records], float)
        if name == "imagenet_super_acc":
            found[name] = column
            continue
        for group in ("gt_autoformer", "gt_autoformer_2"):
            mine = np.array([r["group"] == group for r in records])
            if np.isfinite(column[mine]).any():
                found[f"{name} {group}"] = np.where(mine, column, np.nan)
    return found


def main() -> None:
    """Prints a line for each proxy and accuracy, and writes all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--proxies", nargs="+", default=[*PROXIES])
    parser.add_argument("--num-timed", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    fidelity = Fidelity(args.width, 1, args.batch_size, args.resolution)
    space, records = autoformer(num_classes=100), read(args.table)
    codes = np.stack([space.from_str(record["arch"]) for record in records])
    scorer = make_scorer(
        space, [*args.proxies, *COUNTS], fidelity=fidelity, seeds=args.seeds,
        devices=1, block_size=50,
    )  # fmt: skip
    start = time.perf_counter()
    scorer(codes[:1])
    first = time.perf_counter() - start
    scores = {k: v.mean(1) for k, v in scorer.score(codes).scores.items()}
    scores |= scorer.counts(codes)
    rows = []
    for proxy, column in scores.items():
        for name, truth in truths(records).items():
            row = {"proxy": proxy, "accuracy": name, **correlate(column, truth)}
            rows.append(row)
            print(proxy, name, row["num"], f"{row['tau']:.3f} {row['rho']:.3f}")
    result = {
        "table": args.table.name,
        "scorer": scorer.describe(),
        "fidelity": asdict(fidelity),
        "correlations": rows,
        "first_call_seconds": first,
        "traces": scorer.num_traces,
        **environment(),
    }
    write(args.out, result)
    result["timed"] = timed(space, args.proxies[0], fidelity, args.num_timed)
    print(result["first_call_seconds"], result["timed"], result["traces"])
    write(args.out, result)


if __name__ == "__main__":
    main()
