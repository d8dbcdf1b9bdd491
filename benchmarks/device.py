"""What an accelerator does: rates by lanes, memory, and scores against the CPU's.

``python benchmarks/device.py --out FILE.json`` takes the first device that JAX finds
and ends within ``--minutes`` (8 by default): sizes, proxies and lanes come in the order
of their worth, and what would not fit into the time left is named and left out. The
file is written after each. ``--sizes tiny`` tries the script without an accelerator.

For each it writes architectures per second (least, median and most of some warm calls,
transfers included), seconds to compile, bytes at the device's peak, and the largest
relative difference of scores from those of the host's CPU. With ``--torch``, eager
PyTorch does the same definitions on the same device, turn by turn. InTrain's paper says
37.3 ms an architecture at 64 images of 64x64, on an RTX 4090.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ranking import environment, write

from jaxproxy import Fidelity, make_scorer
from jaxproxy.scoring import Scorer
from jaxproxy.spaces import nasbench201

SIZES = {
    "tiny": Fidelity(width=4, cells=1, batch_size=2, resolution=8),
    "fast": nasbench201().presets["fast"],
    "b16": Fidelity(width=16, cells=5, batch_size=16, resolution=32),
    "paper": Fidelity(width=16, cells=5, batch_size=64, resolution=64),
}
LANES = (64, 1, 256, 16, 1024, 4)
PROXIES = ("capacity", "intrain")
SEED, CALLS, CHECKED = 0, 5, 16


class Clock:
    """Time that is left."""

    def __init__(self, minutes: float) -> None:
        """Starts to run."""
        self.end = time.monotonic() + 60 * minutes

    @property
    def left(self) -> float:
        """Seconds."""
        return self.end - time.monotonic()


def rates(scorer: Scorer, codes: np.ndarray, clock: Clock) -> dict[str, Any]:
    """Architectures per second of warm calls, and what the compiled program needs."""
    start = time.perf_counter()
    scorer.score_block(codes)
    first = time.perf_counter() - start
    seconds = []
    while len(seconds) < CALLS and clock.left > 2 * (seconds or [first])[-1]:
        start = time.perf_counter()
        scorer.score_block(codes)
        seconds.append(time.perf_counter() - start)
    per_second = [len(codes) / s for s in seconds]
    stats = jax.devices()[0].memory_stats() or {}
    return {
        "first_call_seconds": round(first, 2),
        "archs_per_second": [
            round(of(per_second), 1)
            for of in (min, statistics.median, max)
            if per_second
        ],
        "calls": len(seconds),
        "traces": scorer.num_traces,
        "peak_bytes_of_device": stats.get("peak_bytes_in_use"),
    }


def difference(scorer: Scorer, proxy: str, codes: np.ndarray, fidelity: Any) -> dict:
    """Scores of few architectures against those of the CPU of this host."""
    host = make_scorer(
        scorer.space,
        [proxy],
        fidelity=fidelity,
        devices=jax.local_devices(backend="cpu")[:1],
        block_size=len(codes),
    )
    ours = scorer.score_block(codes).scores[proxy]
    theirs = host.score_block(codes).scores[proxy]
    relative = np.abs(ours - theirs) / np.abs(theirs)
    return {"largest": float(relative.max()), "median": float(np.median(relative))}


def torch_rate(proxy: str, fidelity: Fidelity, archs: list[str], clock: Clock) -> dict:
    """Architectures per second of eager PyTorch on the same device."""
    import sys

    sys.path.insert(0, str(Path(__file__).parent / "torch"))
    import peer_torch
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    shape = (fidelity.batch_size, 3, fidelity.resolution, fidelity.resolution)
    x = torch.randn(shape, device=device)
    y = torch.randint(10, (fidelity.batch_size,), device=device)
    seconds = []
    for arch in archs:
        if clock.left < 10:
            break
        start = time.perf_counter()
        net = peer_torch.TinyNetwork(arch, fidelity.width, fidelity.cells).to(device)
        inputs = (x, y) if proxy == "intrain" else (x,)
        getattr(peer_torch, proxy)(net, *inputs)  # its result is a float: it waits
        seconds.append(time.perf_counter() - start)
    warm = seconds[2:] or seconds
    return {
        "torch": torch.__version__,
        "device": device,
        "milliseconds_per_arch": round(1e3 * statistics.median(warm), 2),
        "archs": len(warm),
    }


def main() -> None:
    """Measures until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=[*SIZES][1:])
    parser.add_argument("--proxies", nargs="+", default=PROXIES)
    parser.add_argument("--lanes", nargs="+", type=int, default=LANES)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--torch", action="store_true")
    args = parser.parse_args()
    clock, space = Clock(args.minutes), nasbench201()
    result: dict[str, Any] = {
        **environment(), "seed": SEED, "measured": {}, "left_out": {}, "torch": {},
    }  # fmt: skip
    for size in args.sizes:
        for proxy in args.proxies:
            for lanes in args.lanes:
                name = f"{size}, {proxy}, {lanes} lanes"
                measured = one(space, proxy, SIZES[size], lanes, clock)
                kind = "left_out" if isinstance(measured, str) else "measured"
                result[kind][name] = measured
                print(name, measured, flush=True)
                write(args.out, result)
            if args.torch and clock.left > 20:
                codes = space.sample(np.random.default_rng(SEED), 12)
                archs = [space.to_str(code) for code in codes]
                peer = torch_rate(proxy, SIZES[size], archs, clock)
                result["torch"][f"{size}, {proxy}"] = peer
                write(args.out, result)


def one(space: Any, proxy: str, fidelity: Fidelity, lanes: int, clock: Clock) -> Any:
    """What is measured, or why it is not."""
    if clock.left < 15:
        return "no time left"
    codes = space.sample(np.random.default_rng(SEED), max(lanes, 4 * CHECKED))
    try:
        scorer = make_scorer(
            space, [proxy], fidelity=fidelity, devices=1, block_size=len(codes),
            lanes=lanes,
        )  # fmt: skip
        measured = rates(scorer, codes, clock)
    except jax.errors.JaxRuntimeError as error:  # memory, most likely
        return str(error).partition("\n")[0]
    if clock.left > 10:
        measured["from_cpu"] = difference(scorer, proxy, codes[:CHECKED], fidelity)
    return measured


if __name__ == "__main__":
    main()
