"""A proxy's declared variants from one stored run, without scoring again.

``python benchmarks/ablation.py RUN --truth FILE.csv:COLUMN ... --out RESULT.json`` is
``jaxproxy ablate`` on all architectures and on those without unreachable operations,
with what made the run beside the records.
"""

import argparse
import json
import time
from pathlib import Path

from jaxproxy import open_run
from jaxproxy.analysis import SETS, ablate, load_truth

KEPT = ("truth", "proxy", "set", "num_valid", "tau", "rho")


def main() -> None:
    """Writes the correlations as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--truth", nargs="+", required=True)
    parser.add_argument("--proxy", default="intrain")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    run, truths = open_run(args.run), [load_truth(spec) for spec in args.truth]
    start = time.perf_counter()
    found = [ablate(run, args.proxy, truths, subset=subset) for subset in SETS]
    seconds = time.perf_counter() - start
    records = [{key: r[key] for key in KEPT} for one in found for r in one.records]
    print(f"{len(records)} correlations in {seconds:.1f} s")
    environment = {k: v for k, v in run.manifest["environment"].items() if k != "host"}
    manifest = {"scorer": run.manifest["scorer"], "environment": environment}
    result = {"seconds": seconds, "run": manifest, "records": records}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
