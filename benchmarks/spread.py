"""Tests the ensemble spread on what its choice never saw.

``python benchmarks/spread.py --truth FILE.csv:COLUMN ... --out RESULT.json`` scores the
whole of NAS-Bench-201 at the preset ``fast`` with eight seeds. ``select_readings.py``
chose the readings with the first four, on the 500 architectures of its first sample;
tau is that of the others, for each seed and for the means of the first and last four.
"""

import argparse
import json
import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from jaxproxy import make_scorer, set_up_jax
from jaxproxy.ensembles import ENSEMBLES, log_rank_sum
from jaxproxy.rank import bootstrap, kendall
from jaxproxy.spaces import nasbench201
from jaxproxy.spaces._nasbench201 import enumerate_codes
from jaxproxy.truth import load_truth
from jaxproxy.types import PRESETS

SEEDS = 8
NOISE = 1e-6  # as much as scores differ by from one kind of processor to another


def measure(table: np.ndarray, truths: dict[str, np.ndarray]) -> dict[str, Any]:
    """Tau of a table [N, K] with each truth, and that of its scores with noise."""
    noisy = table * (1 + NOISE * np.random.default_rng(0).standard_normal(table.shape))
    found = {}
    for name, accuracy in truths.items():
        score = ENSEMBLES["spread"].rule(table)
        found[name] = {
            "tau": kendall(score, accuracy),
            "interval": bootstrap(kendall, score, accuracy),
            "tau_with_noise": kendall(ENSEMBLES["spread"].rule(noisy), accuracy),
            "tau_not_rounded": kendall(log_rank_sum(table), accuracy),
            "tau_not_rounded_with_noise": kendall(log_rank_sum(noisy), accuracy),
        }
    return found


def main() -> None:
    """Prints tau, and writes all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--truth", nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    set_up_jax(2)
    space, codes = nasbench201(), enumerate_codes()
    archs = np.array([space.to_str(code) for code in codes])
    drawn = space.sample(np.random.default_rng(0), 500)
    unseen = ~np.isin(archs, [space.to_str(code) for code in drawn])
    truths = {}
    for truth in map(load_truth, args.truth):
        truths[truth.name] = np.array([truth.accuracy[a] for a in archs[unseen]])
    names = ENSEMBLES["spread"].components
    scorer = make_scorer(space, names, fidelity=PRESETS["fast"], seeds=SEEDS)
    scores = scorer.score(codes).scores
    signs = {p.name: 1 if p.higher_is_better else -1 for p in scorer.proxies}
    # [N, K, S]
    table = np.stack([signs[name] * scores[name][unseen] for name in names], axis=1)
    parts = {f"seed {s}": table[..., s] for s in range(SEEDS)}
    parts |= {
        "seeds 0 to 3": table[..., :4].mean(2), "seeds 4 to 7": table[..., 4:].mean(2)
    }  # fmt: skip
    result = {
        "date": date.today().isoformat(),
        "device": platform.processor() or platform.machine(),
        "versions": {p: version(p) for p in ("jax", "jaxlib", "flax", "numpy")},
        "scorer": scorer.describe(),
        "archs": int(unseen.sum()),
        "noise": NOISE,
        "tau": {name: measure(part, truths) for name, part in parts.items()},
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    for name, found in result["tau"].items():
        print(name, *(f"{row['tau']:.3f}" for row in found.values()))


if __name__ == "__main__":
    main()
