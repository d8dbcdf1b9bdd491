"""Checks the PyTorch peer against a folder of oracle values, and exits 1 on a mismatch.

Usage: ``python benchmarks/check_peer.py FOLDER``, where the folder holds
``oracle.json`` and ``oracle.npz``: architectures with their inputs, weights and the
expected gamma, o, InTrain, epsinas and other proxies in float32 and float64.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
from peer_torch import TinyNetwork, epsinas, intrain, intrain_parts
from torch_kernels import naswot
from torch_saliency import grad_norm, snip, synflow, zico

# Relative. Gradients carry about 1e-4 of rounding in float32.
TOLERANCES = {torch.float64: 1e-4, torch.float32: 1e-3}


def relative_error(value: float, expected: float | None) -> float:
    """|value - expected| / |expected|; ``None`` stands for NaN and wants a NaN."""
    if expected is None or math.isnan(value):
        return 0.0 if expected is None and math.isnan(value) else math.inf
    return abs(value - expected) / max(abs(expected), 1e-12)


def measure(
    entry: dict, meta: dict, arrays: dict[str, np.ndarray], dtype: torch.dtype
) -> dict[str, float]:
    """The peer's values for one architecture with the oracle's weights."""
    net = TinyNetwork(entry["arch"], meta["C"], meta["N"], meta["num_classes"])
    if sum(p.numel() for p in net.parameters()) != entry["n_params"]:
        raise ValueError(
            f"{entry['arch']}: the oracle counts {entry['n_params']} params"
        )
    prefix = f"a{entry['index']:02d}/"
    state = {k.removeprefix(prefix): v for k, v in arrays.items() if prefix in k}
    net.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})
    net = net.to(dtype=dtype, memory_format=torch.channels_last)
    batches = []
    for name in ("x", "x2"):
        x = torch.from_numpy(arrays[name]).to(dtype)
        x = x.contiguous(memory_format=torch.channels_last)
        batches.append((x, torch.from_numpy(arrays[name.replace("x", "y")]).long()))
    x, y = batches[0]
    gamma, health, _ = intrain_parts(net, x, y)
    values = {"gamma_conv": gamma, "o_w": health, "I_conv_w": intrain(net, x, y)}
    values |= {"grad_norm": grad_norm(net, (x, y)), "snip": snip(net, (x, y))}
    values |= {"zico": zico(net, batches), "naswot": naswot(net, x)}
    values["synflow"] = synflow(net, x)  # overwrites the weights, as does the next
    return values | {"epsinas": epsinas(net, x)}


def main() -> int:
    """Prints the worst relative error of every value and precision."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    oracle = json.loads((folder / "oracle.json").read_text())
    with np.load(folder / "oracle.npz") as file:
        arrays = dict(file)
    bad = 0
    for dtype, block in ((torch.float64, "f64"), (torch.float32, "f32")):
        errors: dict[str, list[float]] = {}
        for entry in oracle["archs"]:
            expected = entry[block]["variants"] | entry[block]
            for name, value in measure(entry, oracle["meta"], arrays, dtype).items():
                error = relative_error(value, expected[name])
                errors.setdefault(name, []).append(error)
        for name, values in errors.items():
            failed = [i for i, e in enumerate(values) if not e <= TOLERANCES[dtype]]
            bad += len(failed)
            print(f"{block} {name:10} worst {max(values):.1e} failed {failed}")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
