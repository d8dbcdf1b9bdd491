"""Times hundreds of searches of NAS-Bench-201 on a stored score, in one program.

``python benchmarks/searches.py --out FILE.json``

For each search: seconds to trace and compile, and to run, with the disk cache of
compiled programs off. The score is the number of multiply-adds, which is the same
everywhere; what is timed does not depend on it.
"""

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from pairing import conditions, write

from jaxproxy.search import (
    Genes,
    Search,
    intrain_nas,
    local_search,
    make_genes,
    random_search,
    regularized_evolution,
    reinforce,
    run,
    table_rows,
)
from jaxproxy.spaces import nasbench201

SPACE = nasbench201()


def timed(
    search: Search, genes: Genes, seen: np.ndarray, budget: int, runs: int, rounds: int
) -> dict[str, Any]:
    """Returns seconds to compile, and of each run."""

    def best(key: jax.Array, seen: jax.Array) -> jax.Array:
        trace = run(search, lambda code: seen[genes.rank(code)], budget, key)
        return trace.state.core.fitness

    keys = jax.random.split(jax.random.key(0), runs)
    start = time.perf_counter()
    program = jax.jit(jax.vmap(best, in_axes=(0, None))).lower(keys, seen).compile()
    compiled, seconds = time.perf_counter() - start, []
    for _ in range(rounds):
        start = time.perf_counter()
        found = program(keys, seen).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return {
        "budget": budget,
        "runs": runs,
        "compile_s": compiled,
        "run_s": {
            "min": min(seconds),
            "median": float(np.median(seconds)),
            "max": max(seconds),
        },
        "mean_best": float(found.mean()),
    }


def main() -> None:
    """Prints a record for each search, and writes them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)
    genes = make_genes(SPACE)
    codes = SPACE.enumerate()
    order = table_rows(genes, codes)
    seen = (SPACE.num_macs(codes)[order] / 1e6).astype(np.float32)
    pool = {"pool": 10, "sample": 3, "replacement": True}
    searches = {
        "random_search": (random_search(genes), 300),
        "regularized_evolution": (regularized_evolution(genes, **pool), 300),
        "reinforce": (reinforce(genes), 300),
        "local_search": (local_search(genes), 300),
        "intrain_nas": (intrain_nas(genes), 5000),
    }
    records = {}
    for name, (search, budget) in searches.items():
        records[name] = timed(
            search, genes, seen, budget, arguments.runs, arguments.rounds
        )
        print(name, json.dumps(records[name]), flush=True)
    versions = {package: version(package) for package in ("jax", "jaxlib", "numpy")}
    report = {**conditions(0), "versions": versions, "searches": records}
    write(report, arguments.out)


if __name__ == "__main__":
    main()
