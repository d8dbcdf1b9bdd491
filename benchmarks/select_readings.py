"""Which readings to rank together: chosen on few architectures, tested on the others.

``python benchmarks/select_readings.py --truth FILE.csv:COLUMN ... --out RESULT.json``
scores the whole of NAS-Bench-201 by every variant of ``participation`` and
``variance``. On a seeded sample, and with the first truth alone, it chooses the signed
readings whose fused ranks agree best with it: from several random starts, readings are
exchanged one at a time while that raises Kendall's tau, averaged over the single seeds
of weights and inputs. All truths are then compared on the architectures left, and with
``--repeats`` further samples show how much the choice depends on the sample.
"""

import argparse
import itertools
import json
import platform
import time
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy import stats

from jaxproxy import PRESETS, Fidelity, Scorer, make_scorer, set_up_jax
from jaxproxy.analysis import (
    bootstrap,
    kendall,
    load_truth,
    ndcg,
    top_hits,
    top_overlap,
)
from jaxproxy.proxies import STATISTICS
from jaxproxy.spaces import nasbench201

LAYERS = ("conv", "bn", "relu", "cell")
READINGS = [
    *(
        f"participation(layers={layers},over={over},relative={relative})"
        for layers, over, relative in itertools.product(
            LAYERS, STATISTICS, (False, True)
        )
    ),
    *(
        f"variance(layers={layers},over={over})"
        for layers, over in itertools.product(LAYERS, STATISTICS)
    ),
]
BASELINES = (
    "capacity(depth=sqrt)",
    "participation(layers=conv,over=sqrt,relative=False)",
)
RULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ranks": lambda share: share,
    "log ranks": np.log,
}
Signed = tuple[int, str]
"""+1 or -1, and a reading."""


def fused(scores: dict[str, np.ndarray], chosen: Sequence[Signed], rule: str) -> Any:
    """Sum over readings of the rule of rank / N, for scores float[..., N]."""
    share = (
        stats.rankdata(sign * scores[name], axis=-1) / scores[name].shape[-1]
        for sign, name in chosen
    )
    return sum(RULES[rule](s) for s in share)


def choose(
    scores: dict[str, np.ndarray],
    accuracy: np.ndarray,
    rule: str,
    *,
    num: int,
    starts: int,
    seed: int,
) -> tuple[list[Signed], float]:
    """Best signed readings of scores float[S, n], and their mean tau over seeds."""
    signed = [(sign, name) for name in scores for sign in (1, -1)]
    parts = {s: fused(scores, [s], rule) for s in signed if np.ptp(scores[s[1]])}

    def tau(total: np.ndarray) -> float:
        taus = [stats.kendalltau(row, accuracy).statistic for row in total]
        return float(np.nan_to_num(np.mean(taus), nan=-1))

    rng = np.random.default_rng(seed)
    best: tuple[list[Signed], float] = ([], -1.0)
    for _ in range(starts):
        names = rng.choice(sorted({name for _, name in parts}), num, replace=False)
        given = [(1, str(name)) for name in names]
        best = max(best, _exchange(parts, given, tau), key=lambda found: found[1])
    return best


def _exchange(
    parts: dict[Signed, np.ndarray],
    chosen: list[Signed],
    tau: Callable[[np.ndarray], float],
) -> tuple[list[Signed], float]:
    """Replaces one reading after the other by the best for its place."""
    best, changed = -1.0, True
    while changed:
        changed = False
        for _ in chosen:
            rest = chosen[1:]
            taken = {name for _, name in rest}
            total = sum(parts[s] for s in rest)
            free = [s for s in parts if s[1] not in taken]
            found = max(free, key=lambda s: tau(total + parts[s]))
            value = tau(total + parts[found])
            if value > best + 1e-6:
                best, changed = value, True
                chosen = [*rest, found]
            else:
                chosen = [*rest, chosen[0]]
    return chosen, best


def report(
    scores: dict[str, np.ndarray],
    chosen: Sequence[Signed],
    rule: str,
    truths: dict[str, np.ndarray],
    sets: dict[str, np.ndarray],
    *,
    intervals: bool,
) -> dict[str, Any]:
    """Agreement on each set of each truth, with the mean over seeds and each alone."""
    scores = {name: scores[name] for _, name in chosen}
    seeds = next(iter(scores.values())).shape[0]
    ensembles = {
        f"seed {s}": {k: v[s] for k, v in scores.items()} for s in range(seeds)
    }
    ensembles[f"{seeds} seeds"] = {k: v.mean(0) for k, v in scores.items()}
    records: dict[str, Any] = {}
    for (name, table), (part, members) in itertools.product(
        ensembles.items(), sets.items()
    ):
        # Ranks among the architectures of the set, as a user of the set would have.
        score = fused({k: v[members] for k, v in table.items()}, chosen, rule)
        for truth, accuracy in truths.items():
            a = accuracy[members]
            record: dict[str, Any] = {"n": len(a), "tau": kendall(score, a)}
            if intervals and name in ("seed 0", f"{seeds} seeds"):
                record |= {
                    "interval": bootstrap(kendall, score, a),
                    "ndcg_1000": ndcg(score, a),
                    "top_64_in_5_percent": top_hits(score, a),
                    "top_10_percent_overlap": top_overlap(score, a),
                }
            records.setdefault(name, {}).setdefault(part, {})[truth] = record
    return records


def measure(
    scorer: Scorer, codes: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Scores float64[S, N] by reading, and what defines and describes them."""
    scorer(codes[: scorer.block_size])  # compiles
    start = time.perf_counter()
    scored = scorer.score(codes).scores
    seconds = time.perf_counter() - start
    scores = {name: values.T for name, values in scored.items()}
    described = scorer.describe()
    return scores, {
        "date": date.today().isoformat(),
        "device": platform.processor() or platform.machine(),
        "devices": jax.device_count(),
        "versions": {
            p: version(p) for p in ("jax", "jaxlib", "flax", "numpy", "scipy")
        },
        "scorer": {k: v for k, v in described.items() if k != "proxies"},
        "archs": len(codes),
        "invalid": int((~_finite(scores)).sum()),
        "ms_per_arch_and_seed": 1e3 * seconds / len(codes) / len(scorer.seeds),
    }


def _finite(scores: dict[str, np.ndarray]) -> np.ndarray:
    """bool[N], architectures that every reading has a score for with every seed."""
    return np.all([np.isfinite(v).all(0) for v in scores.values()], axis=0)


def main() -> None:
    """Scores, chooses, tests, and writes JSON after every choice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--truth", nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fidelity", type=int, nargs=4, metavar="N")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--sample", type=int, default=500)
    parser.add_argument("--readings", type=int, default=6)
    parser.add_argument("--starts", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    set_up_jax(2)
    fidelity = Fidelity(*args.fidelity) if args.fidelity else PRESETS["fast"]
    space = nasbench201()
    codes = nasbench201().enumerate()
    archs = [space.to_str(code) for code in codes]
    truths = {}
    for truth in map(load_truth, args.truth):
        truths[truth.name] = np.array([truth.accuracy[arch] for arch in archs])
    proxies = [*READINGS, BASELINES[0]]
    scores, result = measure(
        make_scorer(space, proxies, fidelity=fidelity, seeds=args.seeds), codes
    )
    finite = _finite(scores)
    given = {k: v for k, v in vars(args).items() if k not in ("out", "truth")}
    result |= {"settings": given, "chosen_by": next(iter(truths)), "choices": []}
    for sample, rule in itertools.product(range(args.repeats), RULES):
        drawn = space.sample(np.random.default_rng(sample), args.sample)
        sampled = np.isin(archs, [space.to_str(code) for code in drawn])
        chosen, tau = choose(
            {name: scores[name][:, sampled & finite] for name in READINGS},
            truths[result["chosen_by"]][sampled & finite],
            rule,
            num=args.readings,
            starts=args.starts,
            seed=sample,
        )
        unseen = ~sampled & finite
        sets = {"all": unseen, "reachable": unseen & space.reachable(codes)}
        compare = partial(report, scores, truths=truths, sets=sets)
        if "alone" not in result:
            result["alone"] = {
                name: compare([(1, name)], "ranks", intervals=True)
                for name in BASELINES
            }
        choice = {
            "sample": sample,
            "rule": rule,
            "readings": [f"{'+' if sign > 0 else '-'} {name}" for sign, name in chosen],
            "tau_chosen_on": tau,
            "test": compare(chosen, rule, intervals=sample == 0),
        }
        result["choices"].append(choice)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")
        taus = {
            seeds: [round(r["tau"], 4) for r in parts["all"].values()]
            for seeds, parts in choice["test"].items()
        }
        print(sample, rule, round(tau, 4), *choice["readings"], taus, sep="\n  ")


if __name__ == "__main__":
    main()
