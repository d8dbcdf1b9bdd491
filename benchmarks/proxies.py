"""Times every proxy of jaxproxy against the same definition in eager PyTorch.

``python benchmarks/proxies.py --torch-python PY --out FILE.json``; with ``--shared``,
many proxies together against the dearest of them alone. The protocol is that of
``pairing.py``; PyTorch is as it comes, and tuned: images and weights in its "channels
last" layout, and glibc told to keep freed memory. Each proxy has processes of its own,
which read no disk cache, so that its compile time is one.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from pairing import Side, benchmark, conditions, halves, random_archs, spread, write

#: The network that is trained, of which counts tell.
TRAINED = {"width": 16, "cells": 5, "batch_size": 1, "resolution": 32}


class Row(NamedTuple):
    """What jaxproxy computes for one row of ``proxies_torch.PROXIES``."""

    texts: tuple[str, ...]
    """Proxies, together all that PyTorch computes; PyTorch's score is the first's."""
    share: int = 1
    """A round has this part of the architectures, because each costs as much more."""
    size: Mapping[str, int] = {}
    """Where the size is not the one that was asked for."""


#: PyTorch's name -> the equal definition. Numbers of batches, draws and images are
#: equal; weights are Kaiming-normal on both sides unless the proxy prescribes others.
#: (``cv`` draws them He-uniform here, He-normal there.)
ROWS: dict[str, Row] = {
    "az_nas": Row(("az_expressivity", "az_progressivity", "az_trainability")),
    "capacity": Row(("capacity",)),
    "cv": Row(("cv(draws=100)",), share=8),
    "epe_nas": Row(("epe_nas",)),
    "epsinas": Row(("epsinas",)),
    "fisher": Row(("fisher",)),
    "grad_norm": Row(("grad_norm",)),
    "grad_norm_global": Row(("grad_norm(norm=global)",)),
    "grad_sign": Row(("grad_sign(weights=kaiming)",), share=4),
    "grasp": Row(("grasp",), share=2),
    "intrain": Row(("intrain",)),
    "jacov": Row(("jacov",)),
    "l2_norm": Row(("l2_norm",)),
    "linear_regions": Row(("linear_regions",)),
    "macs": Row(("macs",), size=TRAINED),
    "meco_leaves": Row(("meco",)),
    "naswot": Row(("naswot",)),
    "ntk": Row(("ntk(weights=kaiming)",), share=4),
    "num_tensors": Row(("num_tensors",), size=TRAINED),
    "params": Row(("params",), size=TRAINED),
    "plain": Row(("plain",)),
    "snip": Row(("snip",)),
    "swap": Row(("swap(images=16)",), size={"batch_size": 16}),
    "synflow": Row(("synflow",)),
    "synflow_bn": Row(("synflow(norm=batch)",)),
    "vkdnw": Row(("vkdnw_entropy(fisher=reference)",), share=4),
    "weight_agnostic": Row(("weight_agnostic",)),
    "xi_gsnr": Row(("xi_gsnr(batches=2,accumulate=True,weights=kaiming)",), share=2),
    "zen": Row(("zen",)),
    "zico": Row(("zico(batches=2,weights=kaiming)",)),
}
#: What is not timed, and why.
LEFT_OUT = {
    "dss": "of vision transformers alone",
    "participation": "jaxproxy's own: capacity of layers that the output depends on",
    "variance": "jaxproxy's own: of layers that the output depends on",
    "meco": "PyTorch's counts containers too, jaxproxy's activations once: meco_leaves",
    "syncflow": "in PyTorch alone: synflow_bn with another mean",
}

ONE_PASS = (
    "grad_norm", "snip", "plain", "l2_norm", "fisher", "naswot", "linear_regions",
    "intrain", "capacity",
)  # fmt: skip
#: Cost class "forward and backward" of docs/proxies.md, as they are by default.
FIRST_ORDER = (
    "intrain", "grad_norm", "snip", "plain", "fisher", "synflow", "jacov", "epe_nas",
    "zico", "xi_gsnr", "az_trainability",
)  # fmt: skip
#: And what runs forward alone, or image by image.
BELOW_SECOND_ORDER = (
    *ONE_PASS, *(name for name in FIRST_ORDER if name not in ONE_PASS), "grad_sign",
    "swap", "zen", "meco", "az_expressivity", "az_progressivity", "participation",
    "variance",
)  # fmt: skip
#: Name -> proxies, of which ``LIMIT`` says whether they share enough.
SETS: dict[str, tuple[str, ...]] = {
    "one_pass": ONE_PASS,
    "first_batch_shared": (*ONE_PASS, "jacov", "epe_nas", "zico(weights=kaiming)"),
    "first_order": FIRST_ORDER,
    "below_second_order": BELOW_SECOND_ORDER,
}
#: What all together should take at most, over the dearest alone.
LIMIT = 1.5
PEERS = ("torch", "torch_tuned")
CANDIDATES = 3  # for the dearest proxy, to be timed again


def compare(row: str, args: argparse.Namespace, archs: Sequence[str]) -> dict:
    """Rounds of both sides on one proxy, and their summary."""
    texts, share, own = ROWS[row]
    size = sizes(args) | own
    archs = archs[: max(4, len(archs) // share)]
    job = {**size, "proxy": row, "texts": texts, "seed": args.seed, "archs": archs}
    job["block_size"] = len(archs)  # or a short block would be padded to a long one
    with ExitStack() as stack:
        sides = {}
        for name in args.peers:
            torch = Side(name, args.torch_python, job, halves(archs))
            sides[name] = stack.enter_context(closing(torch))
        sides["jax"] = stack.enter_context(closing(ours(job)))
        result = benchmark(sides, args.rounds)
    return {"jaxproxy": texts, "size": size, "num_archs": len(archs), **result}


def sizes(args: argparse.Namespace) -> dict[str, int]:
    """The size that was asked for."""
    return {key: getattr(args, key) for key in TRAINED}


def ours(job: dict, environment: dict[str, str] | None = None) -> Side:
    """Jaxproxy's side of a job."""
    everything = [list(range(len(job["archs"])))]
    return Side("jax", sys.executable, job, everything, environment)


def together(
    texts: Sequence[str],
    args: argparse.Namespace,
    archs: Sequence[str],
    cached: dict[str, str],
) -> dict:
    """Time of many proxies in one call over that of the dearest of them alone.

    Args:
      texts: the proxies.
      args: size, seed and rounds.
      archs: what is scored.
      cached: environment with a new cache, so that a program is compiled only once.
    """
    job = {**sizes(args), "proxy": "", "seed": args.seed, "archs": archs}
    job["block_size"] = len(archs)
    once = {}
    for text in texts:
        with closing(ours({**job, "texts": [text]}, cached)) as side:
            once[text] = side.about[0]["second_pass_s"]
    dearest = sorted(texts, key=once.__getitem__)[-CANDIDATES:]
    with ExitStack() as stack:
        sides = {
            name: stack.enter_context(closing(ours({**job, "texts": chosen}, cached)))
            for name, chosen in {"together": texts, **{t: [t] for t in dearest}}.items()
        }
        passes = [
            {name: side.go(number)[0] for name, side in sides.items()}
            for number in range(args.rounds)
        ]
        workers = {name: side.about for name, side in sides.items()}
    medians = {n: statistics.median(p[n]["seconds"] for p in passes) for n in sides}
    one = max(dearest, key=medians.__getitem__)
    ratio = spread([p["together"]["seconds"] / p[one]["seconds"] for p in passes])
    holds = ratio["median"] <= LIMIT
    result = {"proxies": texts, "dearest": one, "ratio_to_dearest": ratio}
    result |= {"limit": LIMIT, "holds": holds}
    about = workers["together"][0]
    result["compile_s"] = about["first_pass_s"] - about["second_pass_s"]
    result["alone_once_s"] = once
    result["one_by_one_over_together"] = sum(once.values()) / medians["together"]
    return {**result, "rounds": passes, "workers": workers}


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--proxies", nargs="+", choices=ROWS, default=[*ROWS])
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument("--shared", action="store_true", help="jaxproxy alone")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=[*SETS])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--archs", type=int, default=16, help="dear proxies get fewer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--cells", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--resolution", type=int, default=32)
    args = parser.parse_args()
    if args.archs < 4 or args.rounds < 1:
        parser.error("give at least 4 architectures and 1 round")
    return args


def main() -> None:
    """Runs the comparisons; the result is written after each, lest it be lost."""
    args = parse_args()
    chosen = random_archs(args.archs, args.seed)
    archs = list(chosen.values())
    report = {**conditions(args.seed), "size": sizes(args), "archs": chosen}
    if args.shared:
        report["shared"] = {}
        with tempfile.TemporaryDirectory() as folder:
            cached = {"JAX_COMPILATION_CACHE_DIR": folder}
            for name in args.sets:
                result = together(SETS[name], args, archs, cached)
                report["shared"][name] = result
                write(report, args.out)
                print(name, result["dearest"], result["ratio_to_dearest"], flush=True)
        return
    report |= {"left_out": LEFT_OUT, "proxies": {}}
    for row in args.proxies:
        print(row, flush=True)
        report["proxies"][row] = compare(row, args, archs)
        write(report, args.out)
    print(f"{'proxy':16} {'peer':12} {'min':>8} {'median':>8} {'max':>8}  compile s")
    for row, result in report["proxies"].items():
        summary = result["summary"]
        for peer in args.peers:
            ratios = " ".join(
                f"{v:8.2f}" for v in _ordered(summary[f"ratio_to_{peer}"])
            )
            print(f"{row:16} {peer:12} {ratios} {summary['jax_compile_s']:10.1f}")


def _ordered(values: dict[str, float]) -> list[float]:
    return [values[key] for key in ("min", "median", "max")]


if __name__ == "__main__":
    main()
