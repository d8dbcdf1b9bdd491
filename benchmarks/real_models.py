"""Scores published architectures in plain Flax by every proxy that applies.

``python benchmarks/real_models.py --out FILE.json``
"""

import argparse
import time
from pathlib import Path
from typing import Any

import flax
import jax
import numpy as np
from pairing import conditions, write
from real_images import Real, image_models
from real_sequences import sequence_models

import jaxproxy


def real_models() -> dict[str, Real]:
    """Returns all models by name."""
    return image_models() | sequence_models()


def record(name: str, real: Real, proxies: list[str]) -> dict[str, Any]:
    """Returns counts and scores of a model, and what was refused and why."""
    begin = time.perf_counter()
    whole = jaxproxy.inspect(real.model, real.x, **real.use)
    found = jaxproxy.population({name: real.model}, real.x, proxies, **real.use)
    scored = {}
    for proxy in found.scores:
        if name in found.refused[proxy]:
            continue
        score = float(found.scores[proxy][0])
        scored[proxy] = {"score": score if np.isfinite(score) else str(score)}
        if seen := found.coverage[proxy].get(name):
            scored[proxy]["matrices"] = seen.counted
        if doubt := found.doubts[proxy].get(name):
            scored[proxy]["invalid"] = doubt
    return {
        "params": {"counted": whole.num_params, "by_hand": real.num_params},
        "macs": {"counted": whole.num_macs, "by_hand": real.num_macs},
        "loss": whole.loss,
        "matrices": len(whole.matrices),
        "uncounted": list(whole.uncounted),
        "scored": scored,
        "refused": {
            proxy: reasons[name]
            for proxy, reasons in found.refused.items()
            if name in reasons
        },
        "notes": list(found.notes[name]),
        "seconds": time.perf_counter() - begin,
    }


def main() -> None:
    """Scores, and says what was refused and why."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(real_models()))
    parser.add_argument("--proxies", nargs="+", default=list(jaxproxy.PROXIES))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    models = real_models()
    versions = {"jax": jax.__version__, "flax": flax.__version__}
    records: dict[str, Any] = {}
    report = {**conditions(0), "versions": versions, "proxies": args.proxies}
    for name in args.models:
        records[name] = record(name, models[name], args.proxies)
        one = records[name]
        invalid = sum("invalid" in score for score in one["scored"].values())
        print(
            f"{name:14} params {one['params']}  macs {one['macs']}  "
            f"{len(one['scored'])} scored, {invalid} of them invalid, "
            f"{len(one['refused'])} refused  {one['seconds']:.0f} s",
            flush=True,
        )
        # After each, since all of them take a while.
        write({**report, "models": records}, args.out)


if __name__ == "__main__":
    main()
