"""Scores twelve unlike Flax models by every proxy that applies, in one call.

``python benchmarks/models.py --out FILE.json``
"""

import argparse
import time
from pathlib import Path

import flax
import jax
import jax.numpy as jnp
import numpy as np
from pairing import conditions, write
from zoo import zoo

import jaxproxy


def main() -> None:
    """Scores, and says what was refused and why."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--resolution", type=int, default=16)
    parser.add_argument("--proxies", nargs="+", default=list(jaxproxy.PROXIES))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    x = jnp.zeros((args.batch_size, args.resolution, args.resolution, 3))
    rng = np.random.default_rng(0)
    count = 64 * args.batch_size
    images = rng.standard_normal((count, *x.shape[1:]), np.float32)
    models = zoo(args.resolution)
    begin = time.perf_counter()
    found = jaxproxy.population(
        models, x, args.proxies, images=images, labels=rng.integers(0, 10, count)
    )
    seconds = time.perf_counter() - begin
    scored = {
        proxy: {
            name: {
                "score": float(score) if np.isfinite(score) else str(score),
                "valid": bool(valid),
            }
            for name, score, valid in zip(
                found.names, found.scores[proxy], found.valid[proxy], strict=True
            )
            if name not in found.refused[proxy]
        }
        for proxy in found.scores
    }
    report = {
        "input": list(x.shape),
        "images": "Gaussian, seed 0",
        **conditions(0),
        "versions": {"jax": jax.__version__, "flax": flax.__version__},
        "seconds": seconds,
        "num_structures": found.num_structures,
        "scored": scored,
        "refused": found.refused,
    }
    write(report, args.out)


if __name__ == "__main__":
    main()
