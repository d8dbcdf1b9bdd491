"""Whether architectures side by side get the scores of one after another, on CPU.

``python benchmarks/lanes.py --out RESULT.json`` scores 200 random architectures of each
space at its preset ``fast`` with 1, 4 and 32 lanes, and writes, after each proxy, the
largest relative difference from one lane and how many differ by more than 1e-5. Proxies
of a group share a program. Spaces that the file has already are left out.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from ranking import environment, write

from jaxproxy import make_scorer
from jaxproxy.spaces import SPACES

LANES, LIMIT, SEED, NUM = (1, 4, 32), 1e-5, 0, 200
PROXIES = ("capacity", "intrain", "snip", "grad_norm", "jacov", "naswot")
ORDER = (
    "nasbench201", "nasbench_macro", "transnasbench101_micro", "natsbench_sss",
    "nasbench101", "autoformer", "nasbench_nlp", "mobilenetv2", "nasbench201_supernet",
)  # fmt: skip
INAPPLICABLE = {
    "autoformer": {"naswot"},
    "nasbench_nlp": {"naswot", "capacity", "intrain"},
}


def compared(name: str, num: int) -> dict[str, Any]:
    """Returns what lanes change on a space, by proxy and lanes."""
    space = SPACES[name]()
    codes = space.sample(np.random.default_rng(SEED), num)
    proxies = [p for p in PROXIES if p not in INAPPLICABLE.get(name, set())]
    scores, seconds = {}, {}
    for lanes in LANES:
        clock = time.process_time()
        scorer = make_scorer(
            space, proxies, fidelity="fast", devices=1, block_size=96, lanes=lanes
        )
        scores[lanes] = scorer.score(codes).scores
        seconds[lanes] = round(time.process_time() - clock, 1)
        assert scorer.num_traces == 1
    records = {}
    for proxy in proxies:
        one = scores[1][proxy][:, 0]
        for lanes in LANES[1:]:
            relative = differences(one, scores[lanes][proxy][:, 0])
            records[f"{proxy}, {lanes} lanes"] = {
                "largest": float(relative.max()),
                "median": float(np.median(relative)),
                "above_limit": int((relative > LIMIT).sum()),
                "finite": int(np.isfinite(one).sum()),
            }
    return {
        "num_archs": num,
        "cpu_seconds_with_compilation": seconds,
        "records": records,
        "load_average": round(os.getloadavg()[0], 1),
    }


def differences(one: np.ndarray, many: np.ndarray) -> np.ndarray:
    """Relative differences; none where both are equal or no number, else infinite."""
    same = (one == many) | (np.isnan(one) & np.isnan(many))
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.abs(many - one) / np.abs(one)
    return np.where(same, 0, np.where(np.isnan(relative), np.inf, relative))


def main() -> None:
    """Compares spaces that are not compared yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--num", type=int, default=NUM)
    parser.add_argument("--spaces", nargs="*", choices=[*SPACES], default=ORDER)
    args = parser.parse_args()
    result: dict[str, Any] = {"spaces": {}}
    if args.out.exists():
        result = json.loads(args.out.read_text())
    for name in args.spaces:
        if name not in result["spaces"]:
            result["spaces"][name] = compared(name, args.num)
            result |= environment() | {"seed": SEED, "preset": "fast", "limit": LIMIT}
            write(args.out, result)
            print(name, json.dumps(result["spaces"][name]["records"]), flush=True)


if __name__ == "__main__":
    main()
