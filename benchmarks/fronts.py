"""Fronts of accuracy and measured latency that NSGA-II finds on NAS-Bench-201.

``python benchmarks/fronts.py RUN --table nb201_accuracy.csv.gz
--latency nb201_hwnasbench.csv.gz --out RESULT.json [--runs 20] [--budget 1000]``

RUN has scored the whole space. A search is told a latency of HW-NAS-Bench and either
the validation accuracy after 200 epochs, as if all had been trained, or a proxy.
What counts is the volume, by test accuracy, of all that was told: accuracy and latency
go from 0 to 1 over the space, and the reference is the worst of both. Beside it, that
of the true front, and of as many random architectures.
"""

import argparse
import csv
import gzip
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from finding import SPACE, read_scores, read_table
from jax import Array
from ranking import environment, write

from jaxproxy import open_run, set_up_jax
from jaxproxy.search import (
    Search,
    hypervolume,
    make_genes,
    nsga2,
    pareto_front,
    random_search,
    run,
    table_rows,
)

DEVICES = ("edgegpu_latency", "raspi4_latency", "pixel3_latency", "eyeriss_latency")
SETS = {
    "cifar10": "cifar10",
    "cifar100": "cifar100",
    "imagenet16": "ImageNet16-120",
}
PROXIES = ("capacity(depth=sqrt)", "spread", "naswot", "params")
GENES = make_genes(SPACE)


def read_latency(path: Path) -> dict[tuple[str, str], np.ndarray]:
    """(Data set, device) -> milliseconds by the rank of a code, NaN if unknown."""
    codes = SPACE.enumerate()
    order = table_rows(GENES, codes)
    found: dict[tuple[str, str], np.ndarray] = {}
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    for data, name in SETS.items():
        for device in DEVICES:
            values = np.full(len(codes), np.nan)
            for row in rows:
                if row["dataset"].lower() == name.lower() and row[device]:
                    values[int(row["index"])] = float(row[device])
            found[data, device] = values[order]
    return found


def scaled(values: np.ndarray) -> np.ndarray:
    """From 0 to 1 over the space."""
    low, high = np.nanmin(values), np.nanmax(values)
    return (values - low) / (high - low)


def finder(
    search: Search, runs: int, budget: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns told float[N] or [N, 2] -> ranks int32[runs, budget] of what is asked."""
    keys = jax.random.split(jax.random.key(0), runs)

    @jax.jit
    def asked(table: Array) -> Array:
        def ranks(key: Array) -> Array:
            trace = run(search, lambda code: table[GENES.rank(code)], budget, key)
            return GENES.rank(trace.codes)

        # One after the other: under vmap, every step would sort both generations.
        return jax.lax.map(ranks, keys)

    return lambda told: np.asarray(asked(jnp.asarray(told, jnp.float32)))


def main() -> None:
    """Prints the volumes of each device and data set, and writes them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--latency", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--budget", type=int, default=1000)
    parser.add_argument("--pool", type=int, default=64)
    arguments = parser.parse_args()
    set_up_jax()
    table, latency = read_table(arguments.table), read_latency(arguments.latency)
    codes, scores = read_scores(open_run(arguments.run))
    order = table_rows(GENES, codes)
    size = arguments.runs, arguments.budget
    find = finder(nsga2(GENES, pool=arguments.pool), *size)
    drawn = finder(random_search(GENES), *size)(np.zeros(len(codes)))
    records: list[dict[str, Any]] = []
    for (data, device), cost in latency.items():
        worth = scaled(table[f"{data}_test"])
        points = np.stack([worth, 1.0 - scaled(cost)], 1)
        volume = partial(_volumes, points)
        full = hypervolume(points, np.zeros(2))
        told = {"valid": table[f"{data}_valid"]}
        told |= {name: scores[name][order] for name in PROXIES if name in scores}
        found = {
            name: volume(find(np.stack([values, -cost], 1)))
            for name, values in told.items()
        }
        records.append(
            {
                "data": data,
                "device": device,
                "front": int(pareto_front(np.unique(points, axis=0)).sum()),
                "volume": full,
                "random": volume(drawn),
                "nsga2": found,
            }
        )
        print(data, device, records[-1]["front"], f"{full:.4f}", end=" ")
        print("random", *(f"{v:.4f}" for v in records[-1]["random"]), end=" ")
        print(*(f"{name} {v[0]:.4f}" for name, v in found.items()), flush=True)
    options = {k: getattr(arguments, k) for k in ("runs", "budget", "pool")}
    write(arguments.out, {**environment(), **options, "records": records})


def _volumes(points: np.ndarray, ranks: np.ndarray) -> list[float]:
    """Mean and deviation over runs."""
    volumes = [hypervolume(points[row], np.zeros(2)) for row in ranks]
    return [float(np.mean(volumes)), float(np.std(volumes))]


if __name__ == "__main__":
    main()
