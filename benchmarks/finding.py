"""What searches find on NAS-Bench-201 with few trainings, hundreds of runs of each.

``python benchmarks/finding.py RUN --table nb201_accuracy.csv.gz --out RESULT.json
[--runs 100] [--rerank-runs 200]``

RUN has scored the whole space. As in zero-cost-nas and epsinas' figure 5, a search sees
the validation accuracy after 200 epochs of each data set; what is reported is the test
accuracy: of the best by what was seen (honest), and the best of anything trained
(oracle), which the papers plot. Random search and aging evolution (pool 64, samples of
10) run alone, with 3,000 random architectures sorted by a proxy to begin with, and with
both kinds of moves. ``rerank`` fits all columns of the run, alone and after the ten
best of 3,000 by their mean normal score.
"""

import argparse
import csv
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ranking import environment, write

from jaxproxy import Run, open_run, set_up_jax
from jaxproxy.analysis import archs_of, score_columns
from jaxproxy.search import (
    Curves,
    Genes,
    Search,
    curves,
    look_up,
    make_genes,
    normal_scores,
    random_search,
    regularized_evolution,
    rerank,
    simulate,
    table_rows,
    warm_up,
)
from jaxproxy.spaces import nasbench201

SETS = ("cifar10", "cifar100", "imagenet16")
PROXIES = ("epsinas", "synflow", "params", "naswot", "capacity(depth=sqrt)", "spread")
MARKS = (10, 20, 50, 100, 200, 300)
SPACE = nasbench201()


def read_table(path: Path) -> dict[str, np.ndarray]:
    """Column -> values by the rank of the code, float64[15625]."""
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    codes = np.stack([SPACE.from_str(row["arch_str"]) for row in rows])
    order = table_rows(make_genes(SPACE), codes)
    names = [f"{data}_{part}" for data in SETS for part in ("valid", "test")]
    return {n: np.array([float(row[n]) for row in rows])[order] for n in names}


def read_scores(run: Run) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Codes int32[N, G], and column -> scores float64[N], higher is better."""
    codes = np.stack([SPACE.from_str(arch) for arch in archs_of(run)])
    return codes, {column.name: column.oriented for column in score_columns(run)}


def evolutions(
    genes: Genes, codes: np.ndarray, scores: dict[str, np.ndarray]
) -> Iterator[tuple[str, Search]]:
    """The searches of figure 5, by name, with warm-up and moves of each proxy."""
    aging = regularized_evolution(genes)
    yield "random_search", random_search(genes)
    yield "regularized_evolution", aging
    for name in PROXIES:
        if name not in scores:
            continue
        values = scores[name]
        # epsinas' code takes NaN for 0; ours are below all, as nothing is known.
        proxy = look_up(genes, codes, np.where(np.isnan(values), -np.inf, values))
        sorted_first = warm_up(random_search(genes), genes, proxy, first=300)
        yield f"warm-up({name})+random_search", sorted_first
        yield f"warm-up({name})+regularized_evolution", warm_up(aging, genes, proxy)
        for move in ("parent", "neighbour"):
            search = regularized_evolution(genes, move=move, proxy=proxy)
            yield f"regularized_evolution(move={move},{name})", search


def fits(
    genes: Genes, codes: np.ndarray, scores: dict[str, np.ndarray], budget: int
) -> Iterator[tuple[str, Search]]:
    """Searches by a fit of all columns of a run, and of the genes alone."""
    table = np.stack(list(scores.values()), 1)
    proxy = look_up(genes, codes, normal_scores(table).mean(1))
    search = rerank(genes, features=table, candidates=codes, most=budget)
    yield "rerank", search
    yield "warm-up(mean)+rerank", warm_up(search, genes, proxy, first=10)
    for name in ("epsinas", "synflow"):
        best = look_up(genes, codes, scores[name])
        yield f"warm-up({name})+rerank", warm_up(search, genes, best, first=10)
    yield "rerank of genes", rerank(genes, most=budget)


def summary(found: Curves) -> list[dict[str, Any]]:
    """Means and quartiles after some evaluations."""
    budget = found.honest.shape[1]
    records = []
    for mark in (m for m in MARKS if m <= budget):
        honest, oracle = found.honest[:, mark - 1], found.oracle[:, mark - 1]
        records.append(
            {
                "evaluations": mark,
                "honest": [float(honest.mean()), float(honest.std())],
                "honest_quartiles": np.quantile(honest, (0.25, 0.5, 0.75)).tolist(),
                "oracle_quartiles": np.quantile(oracle, (0.25, 0.5, 0.75)).tolist(),
            }
        )
    return records


def main() -> None:
    """Prints a line for each search and data set, and writes them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--rerank-runs", type=int, default=200)
    parser.add_argument("--rerank-budget", type=int, default=100)
    parser.add_argument("--only", default="", help="searches with this in their names")
    arguments = parser.parse_args()
    set_up_jax()
    run = open_run(arguments.run)
    genes, table = make_genes(SPACE), read_table(arguments.table)
    codes, scores = read_scores(run)
    budget = arguments.rerank_budget
    plan = [
        *((*s, 300, arguments.runs, None) for s in evolutions(genes, codes, scores)),
        *(
            (*s, budget, arguments.rerank_runs, 1)
            for s in fits(genes, codes, scores, budget)
        ),
    ]
    seen = np.stack([table[f"{data}_valid"] for data in SETS])
    records = []
    chosen = [entry for entry in plan if arguments.only in entry[0]]
    for name, search, evaluations, runs, together in chosen:
        options = {"budget": evaluations, "runs": runs, "together": together}
        ranks = simulate(search, genes, seen, key=jax.random.key(0), **options)
        for data, rows, valid in zip(SETS, ranks, seen, strict=True):
            found = summary(curves(rows, valid, table[f"{data}_test"]))
            records.append({"method": name, "data": data, "runs": runs, "found": found})
            means = [f"{r['evaluations']}: {r['honest'][0]:.2f}" for r in found]
            print(name, data, *means, flush=True)
    scorer = run.manifest["scorer"]
    scored = {key: scorer[key] for key in ("fidelity", "seeds", "proxies")}
    write(arguments.out, {**environment(), "run": scored, "records": records})


if __name__ == "__main__":
    main()
