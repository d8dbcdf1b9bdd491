"""Recurrent cells of NAS-Bench-NLP: epsinas beside trained losses, and the cost.

``python benchmarks/nasbench_nlp.py --table nasbench_nlp_recipes_340.json.gz --out
RESULT.json`` scores the cells of the table and correlates with their test losses. The
published rho of epsinas with perplexity on Penn Treebank is -.34, on 14,322 cells and
the text itself; here the text is random words. Then it times random cells.
"""

import argparse
import gzip
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ranking import correlate, environment, timed, write

from jaxproxy import Fidelity, make_scorer
from jaxproxy.spaces import Space, nasbench_nlp

EPSINAS = tuple(f"epsinas(mode={m},weights=1e-5:1e-3)" for m in ("paper", "stable"))
GRADIENTS = ("intrain(layers=linear)", "snip", "grad_norm")
LOSSES = ("ptb_final_test_loss", "wt2_final_test_loss")


def correlations(scores: np.ndarray, losses: np.ndarray) -> dict[str, Any]:
    """A score of 0 does not count, as in the authors' evaluation."""
    return correlate(np.where(scores == 0, np.nan, scores), losses, 1000)


def measure(
    space: Space, proxies: tuple[str, ...], fidelity: Fidelity, records: list[Any]
) -> list[dict[str, Any]]:
    """One row for each proxy and loss."""
    codes = np.stack([space.from_str(json.dumps(r["recipe"])) for r in records])
    scorer = make_scorer(
        space, [*proxies, "params"], fidelity=fidelity, devices=1, block_size=68
    )
    scores = {k: v.mean(1) for k, v in scorer.score(codes).scores.items()}
    rows = []
    for proxy, column in (scores | scorer.counts(codes)).items():
        for name in LOSSES:
            losses = np.array([r[name] for r in records], float)
            row = {"proxy": proxy, "loss": name, "fidelity": asdict(fidelity)}
            rows.append(row | correlations(column, losses))
            print(proxy, name, rows[-1]["num"], f"{rows[-1]['rho']:.3f}")
    return rows


def main() -> None:
    """Prints a line for each proxy and loss, and writes all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--num-timed", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    space = nasbench_nlp()
    records = json.loads(gzip.decompress(args.table.read_bytes()))
    # The authors' text is 256 rows of 70 words; a resolution is a multiple of 4.
    text, fast = Fidelity(600, 3, 256, 72), space.presets["fast"]
    result = {
        "table": args.table.name,
        "correlations": [
            *measure(space, EPSINAS, text, records),
            *measure(space, GRADIENTS, fast, records),
        ],
        **environment(),
    }
    write(args.out, result)
    result["timed"] = [
        timed(space, GRADIENTS[0], fast, args.num_timed),
        timed(space, EPSINAS[0], text, args.num_timed),
    ]
    print(result["timed"])
    write(args.out, result)


if __name__ == "__main__":
    main()
