"""What every column of a run finds among 5,000 architectures, beside printed figures.

``python benchmarks/top.py RUN --table nb201_accuracy.csv.gz --out RESULT.json
[--n 5000] [--draws 200]``

RUN has scored the whole of NAS-Bench-201. For each column, ensemble and the number of
parameters: test accuracy of the first of N random architectures, mean and deviation
over draws without replacement, for the three data sets; exactly, and over so many draws
as a check. Beside it, what InTrain's supplement prints for five draws (table 1).
"""

import argparse
from pathlib import Path

import numpy as np
from finding import SETS, SPACE, read_scores, read_table
from ranking import environment, write

from jaxproxy import open_run
from jaxproxy.analysis import best_of
from jaxproxy.search import make_genes, table_rows

PRINTED = {
    "params": (93.58, 70.75, 42.15),
    "macs": (93.58, 70.75, 42.15),
    "grad_norm": (90.25, 63.18, 25.12),
    "snip": (89.65, 62.05, 27.65),
    "grasp": (90.48, 63.68, 29.15),
    "synflow": (93.22, 69.48, 40.85),
    "naswot": (92.82, 70.15, 44.68),
    "te_nas": (92.45, 68.12, 40.75),
    "zen": (90.45, 67.95, 39.80),
    "zico": (93.58, 70.78, 42.28),
    "az_nas": (93.65, 70.92, 45.68),
    "vkdnw_single": (93.63, 70.88, 45.41),
    "intrain": (93.72, 71.05, 45.85),
    "ceiling": (94.35, 73.17, 47.18),
}
"""InTrain, arXiv:2606.18676, supplement, table 1: CIFAR-10, CIFAR-100, ImageNet16."""


def main() -> None:
    """Prints a line for each column, best on ImageNet16-120 first, and writes all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--n", type=int, default=5000)
    parser.add_argument("--draws", type=int, default=200)
    arguments = parser.parse_args()
    run, table = open_run(arguments.run), read_table(arguments.table)
    codes, scores = read_scores(run)
    places = np.argsort(table_rows(make_genes(SPACE), codes))
    tests = {data: table[f"{data}_test"][places] for data in SETS}
    scores |= {"params": SPACE.num_params(codes).astype(float)}
    records = []
    for name in (*scores, "ceiling"):
        record = {"proxy": name, "printed": PRINTED.get(name)}
        for data, test in tests.items():
            values = test if name == "ceiling" else scores[name]
            exact = best_of(values, test, n=arguments.n)
            drawn = best_of(values, test, n=arguments.n, runs=arguments.draws)
            record[data] = {"exact": list(exact), "drawn": list(drawn)}
        records.append(record)
    records.sort(key=lambda record: -record["imagenet16"]["exact"][0])
    for record in records:
        found = (f"{record[data]['exact'][0]:.2f}" for data in SETS)
        print(f"{record['proxy']:32}", *found, record["printed"] or "")
    scorer = run.manifest["scorer"]
    scored = {key: scorer[key] for key in ("fidelity", "seeds")}
    options = {"n": arguments.n, "draws": arguments.draws}
    write(arguments.out, {**environment(), **options, **scored, "records": records})


if __name__ == "__main__":
    main()
