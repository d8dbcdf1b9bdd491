"""What a loop costs the operations, and how near they come to the machine's products.

``python benchmarks/operations.py --out RESULT.json`` times each convolution and its
gradient on one CPU core three ways: alone (a jitted call), in a ``lax.map``, and in a
``lax.map`` with XLA's own convolution and JAX's own gradient. Time in the loop over
time alone should be about 1. Rates count a multiply-add as two; the whole network's are
compared with a 1024 x 1024 x 1024 matrix product in the same run.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxproxy import Fidelity, make_scorer, ops
from jaxproxy.spaces import nasbench201

REPEATS = 4
#: name -> shape of x, channels out, kernel size, stride, dilation, groups
CASES = {
    "3x3, 16 channels, 16 of 32x32": ((16, 32, 32, 16), 16, 3, 1, 1, 1),
    "3x3, 32 channels, 16 of 16x16": ((16, 16, 16, 32), 32, 3, 1, 1, 1),
    "3x3, 64 channels, 16 of 8x8": ((16, 8, 8, 64), 64, 3, 1, 1, 1),
    "3x3, 64 channels, 64 of 16x16": ((64, 16, 16, 64), 64, 3, 1, 1, 1),
    "1x1, 32 channels, 16 of 16x16": ((16, 16, 16, 32), 32, 1, 1, 1, 1),
    "3x3, stride 2, 16 channels, 16 of 32x32": ((16, 32, 32, 16), 32, 3, 2, 1, 1),
    "3x3, dilation 2, 32 channels, 16 of 16x16": ((16, 16, 16, 32), 32, 3, 1, 2, 1),
    "3x3, depthwise, 32 channels, 16 of 16x16": ((16, 16, 16, 32), 32, 3, 1, 1, 32),
}


def xla_conv(
    x: jax.Array, kernel: jax.Array, *, stride: int, dilation: int, groups: int
) -> jax.Array:
    """As ``ops.conv``, but XLA's, with the gradient that JAX derives."""
    pad = dilation * (kernel.shape[0] - 1) // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((pad, pad), (pad, pad)),
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def best_seconds(call: Callable[[], Any], rounds: int = 3) -> float:
    """Least wall-clock time of a call that returns arrays; the first is left out."""
    jax.block_until_ready(call())
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return min(times)


def time_case(
    shape: tuple[int, ...], out: int, size: int, stride: int, dilation: int, groups: int
) -> dict[str, dict[str, float]]:
    """Milliseconds of the forward pass and of forward and both gradients."""
    keys = jax.random.split(jax.random.key(0), 2)
    xs = jax.random.normal(keys[0], (REPEATS, *shape))
    kernel = jax.random.normal(keys[1], (size, size, shape[3] // groups, out)) / 10
    options = {"stride": stride, "dilation": dilation, "groups": groups}
    pixels = shape[0] * (shape[1] // stride) * (shape[2] // stride)
    flops = 2 * pixels * out * size**2 * shape[3] // groups

    def forward(conv: Callable, x: jax.Array, kernel: jax.Array) -> jax.Array:
        return conv(x, kernel, **options)

    def gradient(conv: Callable, x: jax.Array, kernel: jax.Array) -> Any:
        y, pull = jax.vjp(partial(forward, conv), x, kernel)
        return pull(y)

    timed = {}
    for name, function, work in (("forward", forward, 1), ("gradient", gradient, 3)):
        alone = jax.jit(partial(function, ops.conv))
        one = best_seconds(lambda f=alone: f(xs[0], kernel), 8)

        def looped(conv: Callable, function: Callable = function) -> float:
            @jax.jit
            def run(xs: jax.Array, kernel: jax.Array) -> Any:
                # A sum of each result: it is computed, but not kept.
                return lax.map(
                    lambda x: jax.tree.map(jnp.sum, function(conv, x, kernel)), xs
                )

            return best_seconds(lambda: run(xs, kernel)) / REPEATS

        loop, naive = looped(ops.conv), looped(xla_conv)
        timed[name] = {
            "alone_ms": 1e3 * one,
            "loop_ms": 1e3 * loop,
            "xla_loop_ms": 1e3 * naive,
            "loop_over_alone": loop / one,
            "xla_loop_over_loop": naive / loop,
            "gflops": work * flops / loop / 1e9,
        }
    return timed


def product_gflops(size: int = 1024) -> float:
    """Rate of a square float32 matrix product."""
    a = jax.random.normal(jax.random.key(0), (size, size))
    return 2 * size**3 / best_seconds(lambda: product(a, a), 10) / 1e9


@jax.jit
def product(a: jax.Array, b: jax.Array) -> jax.Array:
    """A matrix product."""
    return a @ b


def network_gflops(proxy: str, num: int) -> dict[str, float]:
    """Rate of whole networks, counted as convolutions and the classifier only."""
    # The official size, of which the counts are.
    fidelity = Fidelity(width=16, cells=5, batch_size=16, resolution=32)
    space = nasbench201()
    codes = space.sample(np.random.default_rng(0), num)
    scorer = make_scorer(space, [proxy], fidelity=fidelity, block_size=num, devices=1)
    seconds = best_seconds(lambda: scorer(codes).scores, 3) / num
    passes = 3 if proxy == "intrain" else 1
    work = 2 * passes * fidelity.batch_size * space.num_macs(codes).mean()
    return {"ms": 1e3 * seconds, "gflops": float(work) / seconds / 1e9}


def main() -> None:
    """Times everything and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rate = product_gflops()
    result: dict[str, Any] = {
        "date": date.today().isoformat(),
        "versions": {p: version(p) for p in ("jax", "jaxlib")},
        "device": "one CPU core",
        "product_gflops": rate,
        "operations": {name: time_case(*case) for name, case in CASES.items()},
        "network": {
            proxy: network_gflops(proxy, 24) for proxy in ("capacity", "intrain")
        },
    }
    for proxy, measured in result["network"].items():
        measured["of_product"] = measured["gflops"] / rate
        print(proxy, {k: round(v, 2) for k, v in measured.items()})
    print(f"product: {rate:.0f} GFLOP/s")
    for name, timed in result["operations"].items():
        for half, values in timed.items():
            print(name, half, {k: round(v, 2) for k, v in values.items()})
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
