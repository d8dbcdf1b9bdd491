"""Tests the ensemble spread on what its choice never saw.

``python benchmarks/spread.py --truth FILE.csv:COLUMN ... --out RESULT.json`` scores the
whole of NAS-Bench-201 at the preset ``fast`` with eight seeds. ``select_readings.py``
chose the readings with the first four, on the 500 architectures of its first sample;
tau is that of the others, for each seed and for the means of the first and last four.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from pairing import write
from select_readings import measure

from jaxproxy import PRESETS, make_scorer, set_up_jax
from jaxproxy.analysis import ENSEMBLES, bootstrap, kendall, load_truth, log_rank_sum
from jaxproxy.spaces import nasbench201

SPREAD = ENSEMBLES["spread"]
SEEDS = 8
NOISE = 1e-6  # as versions of this code that sum in another order differ by, or less


def agreement(table: np.ndarray, truths: dict[str, np.ndarray]) -> dict[str, Any]:
    """Tau of a table [N, K] with each truth, and that of its scores with noise."""
    noisy = table * (1 + NOISE * np.random.default_rng(0).standard_normal(table.shape))
    score, others = SPREAD.rule(table), {
        "tau_with_noise": SPREAD.rule(noisy),
        "tau_not_rounded": log_rank_sum(table),
        "tau_not_rounded_with_noise": log_rank_sum(noisy),
    }  # fmt: skip
    return {
        name: {
            "tau": kendall(score, accuracy),
            "interval": bootstrap(kendall, score, accuracy),
            **{key: kendall(other, accuracy) for key, other in others.items()},
        }
        for name, accuracy in truths.items()
    }


def main() -> None:
    """Prints tau, and writes all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--truth", nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    set_up_jax(2)
    space = nasbench201()
    codes = space.enumerate()
    archs = np.array([space.to_str(code) for code in codes])
    drawn = space.sample(np.random.default_rng(0), 500)
    unseen = ~np.isin(archs, [space.to_str(code) for code in drawn])
    truths = {}
    for truth in map(load_truth, args.truth):
        truths[truth.name] = np.array([truth.accuracy[a] for a in archs[unseen]])
    names = SPREAD.components
    scorer = make_scorer(space, names, fidelity=PRESETS["fast"], seeds=SEEDS)
    scores, result = measure(scorer, codes)
    signs = {p.name: 1 if p.higher_is_better else -1 for p in scorer.proxies}
    # [S, N, K]
    tables = np.stack([signs[n] * scores[n][:, unseen] for n in names], axis=-1)
    parts = {f"seed {s}": table for s, table in enumerate(tables)}
    parts |= {"seeds 0 to 3": tables[:4].mean(0), "seeds 4 to 7": tables[4:].mean(0)}
    result |= {
        "unseen": int(unseen.sum()),
        "noise": NOISE,
        "tau": {name: agreement(part, truths) for name, part in parts.items()},
    }
    write(result, args.out)
    for name, found in result["tau"].items():
        print(name, *(f"{row['tau']:.3f}" for row in found.values()))


if __name__ == "__main__":
    main()
