"""Writes ``tests/golden/proxies.json``: values of every proxy, computed with PyTorch.

Weights and inputs are not in the file; ``meta`` says how they are drawn with NumPy.
Everything drawn is rounded to float32 and then used in float64.
"""

import argparse
import json
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import torch_kernels as kernels
import torch_saliency as saliency
import torch_spectra as spectra
from peer_torch import TinyNetwork
from torch import Tensor
from torch_tools import Batch

FILE = Path(__file__).parents[2] / "tests" / "golden" / "proxies.json"
WIDTH, BATCH, RESOLUTION, CLASSES = 4, 8, 16, 10
CV_DRAWS = 8
NUM_BATCHES = 4
LINE = 32
DOCUMENT = {
    "C": WIDTH,
    "B": BATCH,
    "R": RESOLUTION,
    "num_classes": CLASSES,
    "rounding": "weights and inputs are cast to float32, then to float64",
    "weights": "architecture i: rng = default_rng(1000 + i); for every tensor of "
    "param_order in order: convolution OIHW and linear (out, in) weights "
    "standard_normal(shape) * sqrt(2 / prod(shape[1:])), BatchNorm 1 / 0, bias 0 "
    "(no draw); if perturbed, + 0.1 * standard_normal(shape) on BatchNorm and bias",
    "normal_weights": "the same draws without the factor: N(0, 1)",
    "cv_weights": f"as weights, from default_rng(10000 + 100 * i + k), k < {CV_DRAWS}",
    "inputs": "rng = default_rng(777); for b of 1 to 4: x_b = standard_normal((8, 3, "
    "16, 16)), y_b = integers(0, 10, 8); then eps = standard_normal((8, 3, 16, 16)); "
    "NCHW",
    "images": "x_1 and y_1; zico: b of 1, 2; xi_gsnr: 1 to 4; swap: x_1 and x_2 as one "
    "batch; weight_agnostic: all four as one; linear_regions_line: x_1[0] + n / 8192 * "
    "eps[0], n < 32; meco: x_1[0]",
    "other_weights": "normal_weights: zen, swap, syncflow_normal; absolute: synflow, "
    "synflow_bn, syncflow (of weights) and syncflow_normal",
    "signs": "of feature i from 1, NCHW: sign(default_rng(5000 + i)"
    ".standard_normal(shape))",
}
"""The settings, and how to draw what is not in the file."""

_C3, _SKIP = "nor_conv_3x3", "skip_connect"
CASES = {
    "all conv": (_C3,) * 6,
    "all none": ("none",) * 6,
    "all skip": (_SKIP,) * 6,
    "all pool": ("avg_pool_3x3",) * 6,
    "identity": ("none", "none", "none", _SKIP, "none", "none"),
    "single path": (_C3, "none", _C3, "none", "none", _C3),
    "disconnected stem": ("none", "none", _C3, "none", "nor_conv_1x1", _C3),
    "disconnected output": (_C3, _C3, "nor_conv_1x1", "none", "none", "none"),
    "dead inputs": ("none", _SKIP, "nor_conv_1x1", "avg_pool_3x3", _C3, _C3),
    "dead outputs": (_C3, "nor_conv_1x1", _C3, _SKIP, "avg_pool_3x3", "none"),
    "mixed": (_C3, "avg_pool_3x3", _SKIP, "nor_conv_1x1", _C3, "nor_conv_1x1"),
    "mixed without skip": ("nor_conv_1x1", _C3, _C3, "none", "avg_pool_3x3", _C3),
}
"""Operations of the edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3."""

MORE: dict[str, tuple[str, dict[str, Any]]] = {
    "perturbed": ("mixed", {"perturbed": True}),
    "deep": ("all conv", {"cells": 3}),  # more than VKDNW's 128 tensors
}
"""Cases with other settings of :class:`Case`."""


def official(ops: tuple[str, ...]) -> str:
    """NAS-Bench-201's string of six operations."""
    a, b, c, d, e, f = ops
    return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"


def tensor(values: np.ndarray) -> Tensor:
    """float64, rounded to float32."""
    return torch.from_numpy(values.astype(np.float32).astype(np.float64))


@torch.no_grad()
def load_weights(
    net: TinyNetwork, seed: int, *, scaled: bool = True, perturbed: bool = False
) -> None:
    """Draws all weights as ``meta`` of the file says."""
    rng = np.random.default_rng(seed)
    for name, parameter in net.named_parameters():
        shape = tuple(parameter.shape)
        if len(shape) > 1:
            scale = math.sqrt(2 / math.prod(shape[1:])) if scaled else 1.0
            values = rng.standard_normal(shape) * scale
        else:
            values = np.full(shape, float(name.endswith("weight")))
            if perturbed:
                values = values + 0.1 * rng.standard_normal(shape)
        parameter.copy_(tensor(values))


def draw_inputs() -> tuple[list[Batch], Tensor]:
    """Batches and the perturbation of the Zen-score."""
    rng = np.random.default_rng(777)
    shape = (BATCH, 3, RESOLUTION, RESOLUTION)
    batches = []
    for _ in range(NUM_BATCHES):
        x = tensor(rng.standard_normal(shape))
        batches.append((x, torch.from_numpy(rng.integers(0, CLASSES, BATCH))))
    return batches, tensor(rng.standard_normal(shape))


def draw_signs(index: int, feature: Tensor) -> Tensor:
    """Random signs of a feature's shape."""
    rng = np.random.default_rng(5000 + index)
    return torch.from_numpy(np.sign(rng.standard_normal(tuple(feature.shape))))


class Case:
    """One architecture, whose network is built anew for every value."""

    def __init__(
        self, index: int, arch: str, *, cells: int = 1, perturbed: bool = False
    ) -> None:
        """Inputs are the same for all."""
        self.index, self.arch = index, arch
        self.cells, self.perturbed = cells, perturbed
        self.batches, self.eps = draw_inputs()
        self.batch = self.batches[0]
        self.x, self.y = self.batch
        steps = torch.arange(LINE, dtype=torch.float64)[:, None, None, None]
        self.line = self.x[0] + steps / 8192 * self.eps[0]
        x, y = zip(*self.batches, strict=True)
        self.all_batches = torch.cat(x), torch.cat(y)

    def net(self, *, scaled: bool = True) -> TinyNetwork:
        """He-normal weights, or N(0, 1)."""
        net = TinyNetwork(self.arch, WIDTH, self.cells, CLASSES).double()
        self.load(net, 1000 + self.index, scaled=scaled)
        return net

    def load(self, net: TinyNetwork, seed: int, *, scaled: bool = True) -> None:
        """Draws weights for the network in its place."""
        load_weights(net, seed, scaled=scaled, perturbed=self.perturbed)


def saliency_values(case: Case) -> Iterator[tuple[str, Any]]:
    """Proxies of ``torch_saliency``."""
    net, batch = case.net(), case.batch
    yield "l2_norm", saliency.l2_norm(net)
    for name in ("grad_norm", "grad_norm_global", "snip", "plain", "grasp", "fisher"):
        yield name, getattr(saliency, name)(net, batch)
    yield "fisher_layers", dict(saliency.fisher_layers(net, batch))
    for name in ("synflow", "synflow_bn", "syncflow"):
        yield name, getattr(saliency, name)(case.net(), case.x)
    yield "syncflow_normal", saliency.syncflow(case.net(scaled=False), case.x)
    yield "zico", saliency.zico(net, case.batches[:2])
    names = [n for n, p in net.named_parameters() if p.ndim > 1]
    logs = saliency.zico_layers(net, case.batches[:2])
    yield "zico_layers", dict(zip(names, logs, strict=True))
    yield "xi_gsnr", saliency.xi_gsnr(net, case.batches, accumulate=False)
    yield "xi_gsnr_accumulated", saliency.xi_gsnr(net, case.batches, accumulate=True)
    yield "grad_sign", saliency.grad_sign(net, batch)


def kernel_values(case: Case) -> Iterator[tuple[str, Any]]:
    """Proxies of ``torch_kernels``."""
    net, x = case.net(), case.x
    yield "jacov", kernels.jacov(net, x)
    yield "jacov_eigenvalues", kernels.jacov_eigenvalues(net, x).tolist()
    yield "epe_nas", kernels.epe_nas(net, x, case.y, CLASSES)
    yield "naswot", kernels.naswot(net, x)
    yield "naswot_live", kernels.naswot(net, x, live_only=True)
    yield "ntk", kernels.ntk(net, x)
    yield "ntk_eigenvalues", kernels.ntk_eigenvalues(net, x).tolist()
    yield "linear_regions", kernels.linear_regions(net, x)
    yield "linear_regions_line", kernels.linear_regions(net, case.line)
    images = torch.cat([x, case.batches[1][0]])
    yield "swap", kernels.swap(case.net(scaled=False), images)
    kinds = kernels.meco_kinds(net, x)
    yield "meco", sum(total for _, total in kinds.values())
    yield "meco_kinds", kinds


def spectral_values(case: Case) -> Iterator[tuple[str, Any]]:
    """Proxies of ``torch_spectra``."""
    net, x = case.net(), case.x
    parts = spectra.zen(case.net(scaled=False), x, case.eps)
    yield "zen", parts.score
    yield "zen_delta", parts.delta
    yield "zen_log_stds", parts.log_stds
    components = spectra.az_nas(net, x, draw_signs)
    yield from ((f"az_{name}", v) for name, v in components._asdict().items())
    for fisher in ("reference", "exact"):
        values = spectra.vkdnw_eigenvalues(net, x, fisher=fisher)
        yield f"vkdnw_{fisher}", spectra.decile_entropy(values)
        levels = np.linspace(0.1, 0.9, 9)
        yield f"vkdnw_{fisher}_deciles", np.quantile(values.numpy(), levels).tolist()
    yield "num_tensors", spectra.num_tensors(net)
    seeds = [10000 + 100 * case.index + k for k in range(CV_DRAWS)]
    draws = [partial(case.load, net, seed) for seed in seeds]
    yield "cv", spectra.cv(net, case.batch, draws)
    yield "cv_accuracies", [spectra.accuracy(net, case.batch) for d in draws if not d()]
    case.load(net, 1000 + case.index)
    yield "weight_agnostic", spectra.weight_agnostic(net, case.all_batches)


def encode(value: Any) -> Any:
    """Numbers as they are, non-finite ones as nan, inf and -inf in quotes."""
    if isinstance(value, dict):
        return {key: encode(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [encode(v) for v in value]
    return value + 0 if math.isfinite(value) else str(float(value))  # no -0.0


def entry(name: str, case: Case) -> dict[str, Any]:
    """All that the file says of one architecture."""
    net = case.net()
    logits = net(case.x).detach()
    values = dict(saliency_values(case))
    values |= dict(kernel_values(case)) | dict(spectral_values(case))
    return {
        "index": case.index,
        "name": name,
        "arch": case.arch,
        "N": case.cells,
        "perturbed": case.perturbed,
        "param_order": [(n, list(p.shape)) for n, p in net.named_parameters()],
        "n_params": sum(p.numel() for p in net.parameters()),
        "loss": float(F.cross_entropy(logits, case.y)),
        "logits": logits.tolist(),
        "values": encode(values),
    }


def main() -> None:
    """Writes the file and prints the scores, one row for each proxy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", type=Path, default=FILE)
    file = parser.parse_args().file
    settings = {name: (name, {}) for name in CASES} | MORE
    archs = []
    for i, (name, (cell, options)) in enumerate(settings.items()):
        archs.append(entry(name, Case(i, official(CASES[cell]), **options)))
    meta = DOCUMENT | {"torch": torch.__version__}
    lines = ",\n".join(json.dumps(arch, allow_nan=False) for arch in archs)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'{{"meta": {json.dumps(meta)},\n"archs": [\n{lines}\n]}}\n')
    for name, value in archs[0]["values"].items():
        if isinstance(value, list | dict):
            continue
        row = (float(arch["values"][name]) for arch in archs)
        print(f"{name:20}" + "".join(f"{value:11.4g}" for value in row))


if __name__ == "__main__":
    main()
