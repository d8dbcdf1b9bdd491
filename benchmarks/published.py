"""Scores of stored runs beside published ones: rank correlations and Kendall's tau.

``python benchmarks/published.py RUN ... --truth FILE.csv:COLUMN ... --scores FILE.csv
--out RESULT.json`` takes runs over one list of architectures, such as
``benchmarks/archs/reachable_1500.txt``. It correlates every proxy with the scores of
NAS-Bench-Suite-Zero (a table with ``index``, ``dataset`` and a column for each proxy)
and with trained accuracies, and puts the published tau beside the latter. Ensembles
whose components are in several runs are ranked on what all of these scored.
"""

import argparse
import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

from jaxproxy import Run, open_run
from jaxproxy.analysis import (
    ENSEMBLES,
    Truth,
    archs_of,
    bootstrap,
    kendall,
    load_truth,
    score_columns,
    spearman,
)
from jaxproxy.spaces import SPACES

# Kendall's tau on the 9,445 architectures without unreachable operations, CIFAR-10,
# CIFAR-100, ImageNet16-120: VKDNW (CVPR 2025), table 1, one harness for all; those of
# xi_gsnr are its authors' logs on the whole space.
PUBLISHED = {
    "macs": (0.623, 0.586, 0.545),
    "grad_norm(norm=global)": (0.328, 0.341, 0.310),
    "grasp": (0.352, 0.349, 0.359),
    "snip": (0.431, 0.440, 0.389),
    "synflow": (0.561, 0.553, 0.531),
    "jacov": (0.616, 0.639, 0.602),
    "naswot": (0.571, 0.607, 0.605),
    "zen": (0.102, 0.079, 0.091),
    "zico": (0.607, 0.614, 0.587),
    "te_nas": (0.536, 0.537, 0.523),
    "az_nas": (0.712, 0.696, 0.673),
    "num_tensors": (0.626, 0.646, 0.623),
    "vkdnw_single": (0.618, 0.634, 0.622),
    "vkdnw": (0.750, 0.753, 0.743),
    "xi_gsnr": (0.661, 0.658, 0.608),
}
# With tens of images all architectures have as many linear regions: TE-NAS then ranks
# by its kernel alone.
PUBLISHED["ntk(inputs=images)"] = PUBLISHED["te_nas"]
# Proxy -> column of NAS-Bench-Suite-Zero.
SUITE_ZERO = {
    "params": "params",
    "macs": "flops",
    "synflow": "synflow",
    "naswot": "nwot",
    "l2_norm": "l2_norm",
    "snip": "snip",
    "grad_norm": "grad_norm",
    "jacov": "jacov",
    "fisher": "fisher",
    "plain": "plain",
    "epe_nas": "epe_nas",
    "grasp": "grasp",
    "zen": "zen",
}


def read_scores(path: Path, dataset: str = "cifar10") -> dict[str, dict[str, float]]:
    """Architecture string -> column -> score, of one data set."""
    space = SPACES["nasbench201"]()
    assert space.enumerate is not None
    names = [space.to_str(code) for code in space.enumerate()]
    with gzip.open(path, "rt") as file:
        rows = [r for r in csv.DictReader(file) if r["dataset"].lower() == dataset]
    skipped = ("index", "dataset")
    return {
        names[int(row["index"])]: {
            k: float(v) if v else float("nan")
            for k, v in row.items()
            if k not in skipped
        }
        for row in rows
    }


def measure(
    run: Run, truths: list[Truth], scores: dict[str, dict[str, float]]
) -> list[dict[str, Any]]:
    """One record for every proxy and ensemble of a run."""
    archs = archs_of(run)
    records = []
    for column in score_columns(run):
        record: dict[str, Any] = {
            "proxy": column.name,
            "fidelity": run.manifest["scorer"]["fidelity"],
            "num_archs": len(archs),
            "num_valid": int(column.valid.sum()),
        }
        theirs = SUITE_ZERO.get(column.name.partition("(")[0])
        if theirs is not None:
            # Theirs are of architectures without unreachable operations.
            other = np.array(
                [scores.get(arch, {}).get(theirs, np.nan) for arch in archs]
            )
            both = np.isfinite(column.oriented) & np.isfinite(other)
            record["suite_zero_rho"] = spearman(column.oriented[both], other[both])
        records.append(record | ranked(column.name, column.oriented, archs, truths))
    return records


def measure_across(runs: list[Run], truths: list[Truth]) -> list[dict[str, Any]]:
    """Records of ensembles no run has all components of, on what all runs scored."""
    tables = [{arch: i for i, arch in enumerate(archs_of(run))} for run in runs]
    archs = [arch for arch in tables[0] if all(arch in table for table in tables)]
    columns, complete = {}, set()
    for run, table in zip(runs, tables, strict=True):
        rows = [table[arch] for arch in archs]
        here = {column.name: column.oriented[rows] for column in score_columns(run)}
        columns = here | columns
        complete |= here.keys() & ENSEMBLES.keys()
    return [
        {"proxy": name, "num_archs": len(archs), "num_valid": len(archs)}
        | ranked(name, ensemble.score(columns), archs, truths)
        for name, ensemble in ENSEMBLES.items()
        if name not in complete and columns.keys() >= {*ensemble.components}
    ]


def ranked(
    name: str, values: np.ndarray, archs: list[str], truths: list[Truth]
) -> dict[str, Any]:
    """Kendall's tau of oriented scores, and the published one."""
    record: dict[str, Any] = {}
    # Invalid scores rank last, as in the published tables.
    values = np.where(np.isnan(values), np.nanmin(values) - 1, values)
    for truth in truths:
        accuracy = np.array([truth.accuracy[arch] for arch in archs])
        record[f"tau {truth.name}"] = kendall(values, accuracy)
        interval = bootstrap(kendall, values, accuracy, num=200)
        record[f"interval {truth.name}"] = list(interval)
    for known in (name, name.partition("(")[0]):
        if known in PUBLISHED:
            record["published"] = {"of": known, "tau": PUBLISHED[known]}
            break
    return record


def show(records: list[dict[str, Any]], truths: list[Truth]) -> None:
    """Prints a line for every record."""
    for record in records:
        taus = [f"{record[f'tau {truth.name}']:.3f}" for truth in truths]
        rho = record.get("suite_zero_rho")
        shown = "" if rho is None else f"{rho:.3f}"
        print(record["proxy"], record["num_valid"], shown, *taus,
              record.get("published", {}).get("tau", ""))  # fmt: skip


def main() -> None:
    """Prints a line for every proxy, and writes all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--truth", nargs="+", required=True)
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    truths = [load_truth(spec) for spec in args.truth]
    scores = read_scores(args.scores)
    result = []
    runs = [open_run(path) for path in args.runs]
    for run in runs:
        records = measure(run, truths, scores)
        environment = run.manifest["environment"]
        kept = {k: v for k, v in environment.items() if k != "host"}
        manifest = {"scorer": run.manifest["scorer"], "environment": kept}
        result.append({"run": manifest, "records": records})
        show(records, truths)
    if across := measure_across(runs, truths):
        result.append({"runs": [path.name for path in args.runs], "records": across})
        show(across, truths)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
