"""Which readings find the best architectures: chosen on few labels, tested on others.

``python benchmarks/choose.py --table nb201_accuracy.csv.gz --out RESULT.json`` scores
the whole of NAS-Bench-201 at the preset ``fast`` with eight seeds, by every variant of
``participation`` and ``variance``, ``swap`` and the counts. On a seeded sample of 1,000
architectures, their validation accuracies of three data sets and the first four seeds,
``jaxproxy.analysis.choose`` takes four. What is reported is of test accuracies of the
architectures that are not in the sample: tau, and what is found among 100, 1,000 and
5,000 random ones and among all, with single seeds and the means of four, within budgets
as well, beside other ensembles and counts. ``--repeats`` further samples show how much
the choice depends on the sample.
"""

import argparse
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from finding import SETS, read_table
from ranking import environment, write

from jaxproxy import PRESETS, make_scorer, set_up_jax
from jaxproxy.analysis import (
    ENSEMBLES,
    Labelled,
    best_of,
    bootstrap,
    choose,
    kendall,
    score_chosen,
)
from jaxproxy.proxies import STATISTICS
from jaxproxy.search import make_genes, table_rows
from jaxproxy.spaces import nasbench201

SPACE = nasbench201()
LAYERS = ("conv", "bn", "relu")
READINGS = (
    "swap",
    "capacity(depth=sqrt)",
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
)
SEEDS, SAMPLE, NUM, FIRST_OF = 8, 1000, 4, 50
SHARES = (1.0, 0.75, 0.5, 0.25)
"""Of the largest number of parameters: budgets."""


def measured(codes: np.ndarray, cache: Path | None) -> dict[str, np.ndarray]:
    """Scores float64[S, N] of all readings, higher is better."""
    if cache and cache.exists():
        stored = np.load(cache)
        return dict(zip(stored["names"].tolist(), stored["values"], strict=True))
    scorer = make_scorer(SPACE, READINGS, fidelity=PRESETS["fast"], seeds=SEEDS)
    scored = {name: v.T for name, v in scorer.score(codes).scores.items()}
    if cache:
        names, values = [*scored], np.stack([*scored.values()])
        np.savez(cache, names=np.array(names), values=values)
    return scored


def found(
    score: np.ndarray, tests: Mapping[str, np.ndarray], counts: np.ndarray
) -> dict[str, Any]:
    """Tau and what is found, by data set; under budgets, among 1,000."""
    records: dict[str, Any] = {}
    for data, test in tests.items():
        sizes = {str(n): n for n in (100, 1000, 5000)} | {"all": len(test)}
        record: dict[str, Any] = {
            "tau": kendall(score, test),
            "best_of": {k: [*best_of(score, test, n=n)] for k, n in sizes.items()},
        }
        for share in SHARES[1:]:
            inside = counts <= share * counts.max()
            record[f"best_of_1000_within_{share}"] = [
                *best_of(score[inside], test[inside], n=1000)
            ]
        records[data] = record
    return records


def main() -> None:
    """Scores, chooses, tests and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="scores are kept here, .npz")
    parser.add_argument("--repeats", type=int, default=4)
    args = parser.parse_args()
    set_up_jax()
    codes = SPACE.enumerate()
    table = read_table(args.table)
    places = np.argsort(table_rows(make_genes(SPACE), codes))
    truth = {name: column[places] for name, column in table.items()}
    scores = measured(codes, args.cache)
    params = SPACE.num_params(codes).astype(float)
    counts = {"params": params, "macs": SPACE.num_macs(codes).astype(float)}
    scores |= {name: np.tile(v, (SEEDS, 1)) for name, v in counts.items()}
    valid = np.stack([truth[f"{data}_valid"] for data in SETS])
    result: dict[str, Any] = {
        **environment(), "sample": SAMPLE, "first_of": FIRST_OF, "choices": {},
    }  # fmt: skip
    for repeat in range(args.repeats + 1):
        sample = np.random.default_rng(repeat).choice(len(codes), SAMPLE, replace=False)
        given = {name: v[:4, sample] for name, v in scores.items()}
        chosen = choose([Labelled(given, valid[:, sample])], NUM, n=FIRST_OF)
        others = np.setdiff1d(np.arange(len(codes)), sample)
        tests = {data: truth[f"{data}_test"][others] for data in SETS}
        rows: dict[str, Any] = {}
        for name, seeds in parts().items():
            means = {c: scores[c][seeds][:, others].mean(0) for c in chosen.components}
            score = score_chosen(chosen.components, means)
            rows[name] = found(score, tests, params[others])
        result["choices"][str(repeat)] = {**chosen._asdict(), "tests": rows}
        print(repeat, *chosen.components, line(rows["seeds 4 to 7"]), flush=True)
        if not repeat:
            result["beside"] = beside(scores, counts, others, tests)
            taus = {d: result_interval(chosen, scores, others, tests[d]) for d in SETS}
            result["tau_intervals"] = taus
        write(args.out, result)


def parts() -> dict[str, slice]:
    """Seeds by name: each, the four that the choice saw, the four that it did not."""
    each = {f"seed {seed}": slice(seed, seed + 1) for seed in range(SEEDS)}
    return each | {"seeds 0 to 3": slice(0, 4), "seeds 4 to 7": slice(4, 8)}


def beside(
    scores: dict[str, np.ndarray],
    counts: dict[str, np.ndarray],
    others: np.ndarray,
    tests: dict[str, np.ndarray],
) -> dict[str, Any]:
    """What spread, capacity, swap and the counts find, of the same architectures."""
    means = {name: values[4:].mean(0)[others] for name, values in scores.items()}
    spread = ENSEMBLES["spread"]
    columns = {name: _reading(name, means) for name in spread.components}
    table = {"spread": spread.score(columns)}
    table |= {name: means[name] for name in ("capacity(depth=sqrt)", "swap", *counts)}
    params = counts["params"][others]
    rows = {name: found(score, tests, params) for name, score in table.items()}
    for name, row in rows.items():
        print(name, line(row), flush=True)
    best = {d: found(test, {d: test}, params)[d] for d, test in tests.items()}
    return rows | {"ceiling": best}


def _reading(name: str, means: dict[str, np.ndarray]) -> np.ndarray:
    """A component of spread, higher is better, among what is measured here."""
    source = name.replace(",prefer=less", "")
    sign = 1 if source == name else -1
    return sign * means[source if source in means else f"{source[:-1]},relative=False)"]


def result_interval(
    chosen: Any, scores: dict[str, np.ndarray], others: np.ndarray, test: np.ndarray
) -> list[float]:
    """95 % of tau of seeds 4 to 7 over resamples of the architectures."""
    means = {c: scores[c][4:][:, others].mean(0) for c in chosen.components}
    return [*bootstrap(kendall, score_chosen(chosen.components, means), test)]


def line(row: dict[str, Any]) -> str:
    """Best of 5,000 and tau of the three data sets."""
    return " ".join(
        f"{r['best_of']['5000'][0]:.2f}({r['tau']:.3f})" for r in row.values()
    )


if __name__ == "__main__":
    main()
