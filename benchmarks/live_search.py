"""Searches on live scores at the preset ``fast``: seconds, best scores, budgets.

``python benchmarks/live_search.py --out RESULT.json [--budget 5000]
[--az-budget 1000] [--seeds 3] [--spaces nasbench201 nasbench101 450M 600M 1G]``

``random_search``, ``intrain_nas`` and ``zennas_evolution`` are told
``capacity(depth=sqrt)``; ``az_nas_evolution`` is told two scores of AZ-NAS, and random
search is scored by them as well, to compare with. ``450M``, ``600M`` and ``1G`` are the
MobileNetV2 space under as many multiply-adds, scored without skips, in which all but
random search mutate as ZenNAS does, and its two begin with its structure.

Seconds are those of the whole search, compilation of the search included. The scorer of
a space is compiled before, and its seconds are said for the space. Sixty-four are asked
for before they are told.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ranking import environment, write

from jaxproxy import Scorer, make_scorer, search_live, set_up_jax
from jaxproxy.analysis import log_rank_sum
from jaxproxy.search import (
    Genes,
    Search,
    az_nas_evolution,
    intrain_nas,
    make_genes,
    random_search,
    zennas_evolution,
)
from jaxproxy.spaces import (
    Space,
    mobilenetv2,
    mobilenetv2_mutation,
    nasbench101,
    nasbench201,
)

CAPACITY = "capacity(depth=sqrt)"
AZ = ("az_expressivity", "az_progressivity")
"""Two scores of AZ-NAS that all of the spaces have."""
LIMITS = {"450M": 450_000_000, "600M": 600_000_000, "1G": 1_000_000_000}
OTHERS = {"nasbench201": nasbench201, "nasbench101": nasbench101}
START = (
    "SuperConvK3BNRELU(3,8,2,1)SuperResIDWE6K3(8,32,2,8,1)SuperResIDWE6K3(32,48,2,32,1)"
    "SuperResIDWE6K3(48,96,2,48,1)SuperResIDWE6K3(96,128,2,96,1)"
    "SuperConvK1BNRELU(128,2048,1,1)"
)
"""With which ZenNAS, ZiCo and AZ-NAS begin."""


class Setting(NamedTuple):
    """A space, what may be asked for in it, and with what to begin."""

    space: Space
    genes: Genes
    start: tuple[int, ...] | None
    limit: int | None


def setting(name: str) -> Setting:
    """Returns what a name on the command line stands for."""
    if name in OTHERS:
        space = OTHERS[name]()
        return Setting(space, make_genes(space), None, None)
    space = mobilenetv2(max_macs=LIMITS[name], skips=False)
    genes = make_genes(space, mutation=mobilenetv2_mutation)
    start = tuple(space.from_str(START).tolist())
    return Setting(space, genes, start, LIMITS[name])


def scorer_of(space: Space, proxies: tuple[str, ...], together: int) -> Scorer:
    """Returns a scorer of a block's size."""
    return make_scorer(space, proxies, fidelity="fast", block_size=together)


def warmed(scorer: Scorer) -> float:
    """Returns seconds to compile a scorer and score a block."""
    codes = scorer.space.sample(np.random.default_rng(0), scorer.block_size)
    start = time.perf_counter()
    scorer.score_block(codes)
    return time.perf_counter() - start


def timed(
    search: Search, there: Setting, scorer: Scorer, numbers: Mapping[str, int]
) -> tuple[dict[str, Any], Any]:
    """Returns the record of what a search found, and the table of all it scored."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        found = search_live(
            search, there.genes, scorer, Path(folder) / "run", **numbers
        )
        seconds = time.perf_counter() - start
        table = found.run.table().to_pandas()
    codes = np.stack([there.space.from_str(arch) for arch in table["arch"]])
    macs = there.space.num_macs(codes)
    record = {
        "seconds": seconds,
        "scored": len(table),
        "distinct": int(table["arch"].nunique()),
        "refused": int(found.core.refused),
        "fitness": float(found.core.fitness),
        "arch": there.space.to_str(np.asarray(found.core.code)),
        "macs": int(there.space.num_macs(np.asarray(found.core.code))),
        "most_macs": int(macs.max()),
        "budget_held": there.limit is None or bool(macs.max() <= there.limit),
    }
    return record, table


def by_capacity(
    there: Setting, scorer: Scorer, numbers: Mapping[str, int]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields records of searches that are told the capacity; random search first."""
    genes, random_best = there.genes, -np.inf
    searches = {
        "random_search": random_search(genes),
        "intrain_nas": intrain_nas(genes),
        "zennas_evolution": zennas_evolution(genes, start=there.start),
    }
    for name, search in searches.items():
        record, table = timed(search, there, scorer, numbers)
        best = np.maximum.accumulate(table[CAPACITY].fillna(-np.inf).to_numpy())
        if name == "random_search":
            random_best = best[-1]
        better = np.flatnonzero(best >= random_best)
        record |= {
            "over_random": float(best[-1] - random_best),
            # Evaluations after which it was as good as all of random search.
            "as_good_as_random": int(better[0]) + 1 if len(better) else None,
        }
        yield name, record


def by_ranks(
    there: Setting, scorer: Scorer, numbers: Mapping[str, int]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields records of AZ-NAS' search and of random search by the same two scores."""
    genes, tables = there.genes, {}
    history = max(10_000, numbers["budget"])
    searches = {
        "random_search": random_search(genes),
        "az_nas_evolution": az_nas_evolution(
            genes, scores=len(AZ), history=history, start=there.start
        ),
    }
    for name, search in searches.items():
        record, table = timed(search, there, scorer, numbers)
        tables[name] = table
        if name != "random_search":
            winner = table[table["arch"] == record["arch"]].iloc[:1]
            among = np.concatenate(
                [t[list(AZ)] for t in (winner, tables["random_search"])]
            )
            merits = log_rank_sum(among)
            record |= {
                # Of random search's, ranked with the winner among them.
                "random_below": float((merits[1:] < merits[0]).mean()),
                **{score: float(winner[score].iloc[0]) for score in (*AZ, CAPACITY)},
            }
        yield f"{name} (AZ scores)", record


def main() -> None:
    """Prints a record for each search, and writes them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=int, default=5000)
    # AZ-NAS' scores took .3 to 1.2 s of a MobileNetV2 network, on two busy cores.
    parser.add_argument("--az-budget", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--together", type=int, default=64)
    names = [*OTHERS, *LIMITS]
    parser.add_argument("--spaces", nargs="+", default=names, choices=names)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    set_up_jax()
    numbers = {"budget": arguments.budget, "together": arguments.together}
    az_budget = min(arguments.az_budget, arguments.budget)
    result: dict[str, Any] = {**environment(), "preset": "fast", **numbers}
    result |= {"az_scores": AZ, "az_budget": az_budget}
    result["spaces"] = {}
    for name in arguments.spaces:
        there = setting(name)
        groups = [
            (by_capacity, scorer_of(there.space, (CAPACITY,), arguments.together)),
            (by_ranks, scorer_of(there.space, (*AZ, CAPACITY), arguments.together)),
        ]
        compiled = [warmed(scorer) for _, scorer in groups]
        records: dict[str, list[dict[str, Any]]] = {}
        for seed in range(arguments.seeds):
            for group, scorer in groups:
                here = {**numbers, "seed": seed}
                if group is by_ranks:
                    here["budget"] = az_budget
                for search, record in group(there, scorer, here):
                    records.setdefault(search, []).append({"seed": seed, **record})
                    print(name, seed, search, record, flush=True)
        result["spaces"][name] = {"scorers_compile_s": compiled, "searches": records}
        write(arguments.out, result)


if __name__ == "__main__":
    main()
