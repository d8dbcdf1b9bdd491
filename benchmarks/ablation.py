"""InTrain's declared variants from one stored run, without scoring again.

``python benchmarks/ablation.py RUN --truth FILE.csv:COLUMN ... --out RESULT.json``
evaluates couplings, dead-layer readings and depth corrections from the readings that
the run kept, on all its architectures and on those without unreachable operations.
"""

import argparse
import itertools
import json
import time
from pathlib import Path

import numpy as np

from jaxproxy.bank import rescore
from jaxproxy.rank import kendall, spearman
from jaxproxy.spaces import SPACES
from jaxproxy.store import Run
from jaxproxy.truth import load_truth

VARIANTS = [
    f"intrain(dead={dead},coupling={coupling},depth={depth})"
    for dead, coupling, depth in itertools.product(
        ("paper", "live"),
        ("gamma", "o", "sum", "product"),
        ("none", "log", "sqrt", "linear"),
    )
]


def main() -> None:
    """Prints a table and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--truth", nargs="+", required=True)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    run = Run.open(args.run)
    start = time.perf_counter()
    table = rescore(run, VARIANTS)
    seconds = time.perf_counter() - start
    archs = table["arch"].to_pylist()
    space = SPACES[run.manifest["scorer"]["space"]]()
    reachable = np.array([space.reachable(space.from_str(a)) for a in archs], bool)
    sets = {"all": np.ones(len(archs), bool), "reachable": reachable}
    records = []
    for truth in map(load_truth, args.truth):
        accuracy = np.array([truth.accuracy[a] for a in archs])
        for variant, (name, members) in itertools.product(VARIANTS, sets.items()):
            scores = table[variant].to_numpy()
            used = members & np.isfinite(scores)
            record = {
                "truth": truth.name,
                "variant": variant,
                "set": name,
                "n": int(used.sum()),
                "tau": kendall(scores[used], accuracy[used]),
                "rho": spearman(scores[used], accuracy[used]),
            }
            records.append(record)
            print(*record.values())
    print(f"{len(VARIANTS)} variants of {len(archs)} archs in {seconds:.1f} s")
    if args.out:
        environment = run.manifest["environment"]
        environment = {k: v for k, v in environment.items() if k != "host"}
        manifest = {"scorer": run.manifest["scorer"], "environment": environment}
        result = {"seconds": seconds, "run": manifest, "records": records}
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
