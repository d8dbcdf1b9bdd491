"""Which readings find the best architectures: chosen on few labels, tested on others.

``python benchmarks/choose.py RUN --table nb201_accuracy.csv.gz --out RESULT.json``

RUN has scored the whole of NAS-Bench-201 at the preset ``fast`` with seed 0, by
``spread`` and ``swap`` at least, and keeps readings. On a seeded sample of 1,000
architectures and the mean of their validation accuracies on three data sets,
``jaxproxy.analysis.choose`` takes five of every variant of ``participation`` and
``variance``, of ``swap``, ``capacity`` and the counts. What is reported is of test
accuracies of the architectures that are not in the sample: tau, and what is found among
100, 1,000 and 5,000 random ones and among all, within budgets of parameters too, beside
other columns of the run. Then weights of other seeds, which the choice never saw, are
drawn for the readings that were chosen. ``--repeats`` further samples show how much the
choice depends on the sample.
"""

import argparse
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from finding import SETS, read_scores, read_table
from ranking import environment, write

from jaxproxy import PRESETS, Run, make_scorer, open_run, rescore, set_up_jax
from jaxproxy.analysis import (
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
STORED = ("swap", "capacity(depth=sqrt)", "params", "macs")
BESIDE = (
    *("spread", "capacity(depth=sqrt)", "intrain", "naswot", "jacov", "az_nas"),
    *("vkdnw", "synflow", "swap", "params", "macs"),
)
SAMPLE, NUM, FIRST_OF, SEEDS = 1000, 5, 50, (1, 2, 3, 4)
SHARES = (0.75, 0.5, 0.25)
"""Of the largest number of parameters: budgets."""


def candidates(run: Run, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Scores float64[N] that are chosen from, higher is better."""
    table = rescore(run, READINGS)
    scores = {name: np.array(table[name].to_pylist(), float) for name in READINGS}
    return {name: columns[name] for name in STORED} | scores


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
        for share in SHARES:
            inside = counts <= share * counts.max()
            record[f"best_of_1000_within_{share}"] = [
                *best_of(score[inside], test[inside], n=1000)
            ]
        records[data] = record
    return records


def main() -> None:
    """Chooses, tests and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=4)
    args = parser.parse_args()
    set_up_jax()
    run = open_run(args.run)
    codes, columns = read_scores(run)
    places = np.argsort(table_rows(make_genes(SPACE), codes))
    table = read_table(args.table)
    truth = {name: column[places] for name, column in table.items()}
    scores, params = candidates(run, columns), columns["params"]
    valid = np.stack([truth[f"{data}_valid"] for data in SETS])
    result: dict[str, Any] = {
        **environment(), "sample": SAMPLE, "first_of": FIRST_OF, "choices": {},
    }  # fmt: skip
    for repeat in range(args.repeats + 1):
        sample = np.random.default_rng(repeat).choice(len(codes), SAMPLE, replace=False)
        others = np.setdiff1d(np.arange(len(codes)), sample)
        tests = {data: truth[f"{data}_test"][others] for data in SETS}
        given = {name: values[sample] for name, values in scores.items()}
        chosen = choose([Labelled(given, valid[:, sample])], NUM, n=FIRST_OF)
        total = score_chosen(
            chosen.components, {c: scores[c][others] for c in chosen.components}
        )
        row = found(total, tests, params[others])
        result["choices"][str(repeat)] = {**chosen._asdict(), "seed 0": row}
        print(repeat, *chosen.components, line(row), flush=True)
        if not repeat:
            first = chosen.components, others, tests
            result["without_twins"] = without_twins(
                chosen.components, codes, scores, sample, truth
            )
            for data, test in tests.items():
                row[data]["tau_interval"] = [*bootstrap(kendall, total, test)]
        write(args.out, result)
    names, others, tests = first
    result["beside"] = beside(columns, others, tests)
    result["other_seeds"] = other_seeds(names, codes, params, others, tests)
    write(args.out, result)


def without_twins(
    names: tuple[str, ...],
    codes: np.ndarray,
    scores: dict[str, np.ndarray],
    sample: np.ndarray,
    truth: dict[str, np.ndarray],
) -> dict[str, Any]:
    """The same of architectures that are isomorphic to none of the sample."""
    canonical = np.stack([SPACE.canonical(code) for code in codes])
    _, classes = np.unique(canonical, axis=0, return_inverse=True)
    classes = classes.reshape(-1)
    apart = np.flatnonzero(~np.isin(classes, classes[sample]))
    total = score_chosen(names, {name: scores[name][apart] for name in names})
    params = SPACE.num_params(codes[apart]).astype(float)
    tests = {data: truth[f"{data}_test"][apart] for data in SETS}
    row = found(total, tests, params)
    print("without twins", len(apart), line(row), flush=True)
    return {"num": len(apart), "finder": row, "params": found(params, tests, params)}


def beside(
    columns: dict[str, np.ndarray], others: np.ndarray, tests: dict[str, np.ndarray]
) -> dict[str, Any]:
    """What other columns of the run find, of the same architectures."""
    params = columns["params"][others]
    rows = {}
    for name in BESIDE:
        score = columns[name][others]
        last = score[np.isfinite(score)].min() - 1
        rows[name] = found(np.where(np.isfinite(score), score, last), tests, params)
        print(name, line(rows[name]), flush=True)
    rows["ceiling"] = {d: found(t, {d: t}, params)[d] for d, t in tests.items()}
    return rows


def other_seeds(
    names: tuple[str, ...],
    codes: np.ndarray,
    params: np.ndarray,
    others: np.ndarray,
    tests: dict[str, np.ndarray],
) -> dict[str, Any]:
    """The same readings of weights that were not drawn for the choice."""
    scorer = make_scorer(SPACE, names, fidelity=PRESETS["fast"], seeds=SEEDS)
    scored = scorer.score(codes[others]).scores
    parts = {f"seed {s}": slice(i, i + 1) for i, s in enumerate(SEEDS)}
    parts[f"mean of seeds {SEEDS[0]} to {SEEDS[-1]}"] = slice(None)
    rows = {}
    for part, seeds in parts.items():
        means = {name: scored[name][:, seeds].mean(1) for name in names}
        rows[part] = found(score_chosen(names, means), tests, params[others])
        print(part, line(rows[part]), flush=True)
    return rows


def line(row: dict[str, Any]) -> str:
    """Best of 5,000 and tau of the three data sets."""
    return " ".join(
        f"{r['best_of']['5000'][0]:.2f}({r['tau']:.3f})" for r in row.values()
    )


if __name__ == "__main__":
    main()
