"""Prunes NAS-Bench-201's supernet with many seeds, and looks up the cells it finds.

``python benchmarks/pruning.py --truth FILE.csv:COLUMN ... --out FILE.json``

``te_nas`` has the two scores of TE-NAS, linear regions at the size of its paper and
tangent kernels of fewer and smaller images by default (``--images 72 --resolution 32``
is the paper's; the arithmetic of a kernel grows with the square of the number). Images
are noise. The other rows put other proxies in their place. Each search has seeds of its
own, as many as repeats.
"""

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from pairing import conditions, write

from jaxproxy import PRESETS, Fidelity, Scorer, make_scorer, prune_live, set_up_jax
from jaxproxy.analysis import load_truth
from jaxproxy.spaces import nasbench201, nasbench201_supernet

SPACE, SUPERNET = nasbench201(), nasbench201_supernet()
CHOICES = (4,) * 6
BARE = nasbench201_supernet(bare=True)
REGIONS = "linear_regions(hashed=True)", Fidelity(1, 1, 3000, 3)
PUBLISHED = {
    "cifar10_test": "93.9 ± .47",
    "cifar100_test": "71.24 ± .56",
    "imagenet16_test": "42.38 ± .46",
}
"""Of TE-NAS, arXiv:2102.11535."""


def make_methods(kernel: Fidelity) -> dict[str, list[tuple[Any, str, Fidelity]]]:
    """Returns name -> (space, proxy, fidelity) of all that is ranked."""
    ntk = SUPERNET, "ntk(weights=kaiming_out)", kernel
    regions = BARE, *REGIONS
    small = Fidelity(width=4, cells=1, batch_size=16, resolution=16)
    return {
        "te_nas": [ntk, regions],
        "ntk": [ntk],
        "linear_regions": [regions],
        "naswot": [(SUPERNET, "naswot", small)],
        "intrain": [(SUPERNET, "intrain", PRESETS["fast"])],
    }


def searched(scorers: list[Scorer], runs: int) -> dict[str, Any]:
    """Returns the architectures that prunings find, and their seconds."""
    archs, seconds, repeats = [], [], len(scorers[0].seeds)
    for run in range(runs):
        start = time.perf_counter()
        seeds = range(run * repeats, (run + 1) * repeats)
        trace = prune_live([s.reseeded(seeds) for s in scorers], CHOICES)
        # Values are operations but for ``none``, which is the first of the space's.
        archs.append(SPACE.to_str(trace.code + 1))
        seconds.append(time.perf_counter() - start)
        print(run, archs[-1], f"{seconds[-1]:.1f} s", flush=True)
    return {
        "archs": archs,
        "scores": trace.num_scored * repeats * len(scorers),
        "first_search_s": seconds[0],
        "search_s": {
            "min": min(seconds[1:]),
            "median": float(np.median(seconds[1:])),
            "max": max(seconds[1:]),
        },
    }


def accuracies(archs: list[str], truths: dict[str, Any]) -> dict[str, Any]:
    """Returns name of a truth -> mean and deviation over architectures, in percent."""
    found = {}
    for name, accuracy in truths.items():
        values = np.array([accuracy[arch] for arch in archs])
        spread = {"mean": values.mean(), "std": values.std(ddof=1)}
        more = {"median": np.median(values), "min": values.min(), "max": values.max()}
        found[name] = {key: float(value) for key, value in (spread | more).items()}
    return found


def controls() -> dict[str, list[str]]:
    """Returns all architectures, and those that pruning chooses from."""
    codes = SPACE.enumerate()
    pruned = codes[(codes > 0).all(1)]
    kinds = {"all": codes, "without none": pruned}
    return {name: [SPACE.to_str(code) for code in kind] for name, kind in kinds.items()}


def main() -> None:
    """Prints a line for each method, and writes all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--truth", nargs="+", required=True)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--resolution", type=int, default=8)
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    set_up_jax(1)
    truths = {t.name: t.accuracy for t in map(load_truth, args.truth)}
    kernel = Fidelity(3, 1, args.images, args.resolution)
    methods, records = make_methods(kernel), {}
    for name in args.methods or methods:
        scorers = [
            make_scorer(space, [proxy], fidelity=size, seeds=args.repeats, block_size=5)
            for space, proxy, size in methods[name]
        ]
        found = searched(scorers, args.runs)
        scorer = [scorer.describe() for scorer in scorers]
        test = accuracies(found["archs"], truths)
        records[name] = {"scorers": scorer, **found, "accuracy": test}
        print(name, json.dumps(test), flush=True)
    versions = {package: version(package) for package in ("jax", "jaxlib", "numpy")}
    report = {
        **conditions(0),
        "versions": versions,
        "runs": args.runs,
        "repeats": args.repeats,
        "published": PUBLISHED,
        "control": {k: accuracies(v, truths) for k, v in controls().items()},
        "methods": records,
    }
    write(report, args.out)


if __name__ == "__main__":
    main()
