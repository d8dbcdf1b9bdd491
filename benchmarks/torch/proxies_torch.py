"""Every zero-cost proxy in eager PyTorch, as a table of functions to be timed.

One function of a new network and of batches per proxy, written as a careful user would:
gradients of the wanted weights only, no eigenvectors, no second pass that the result
does not need. Random arrays are drawn inside, as the authors' codes do; some functions
overwrite the weights, so a network is good for one score. Usage:
``python benchmarks/proxies_torch.py --help``.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from peer_torch import TinyNetwork, capacity, epsinas, intrain
from torch import Tensor
from torch_kernels import (
    LEAVES,
    epe_nas,
    jacov,
    linear_regions,
    meco,
    naswot,
    ntk,
    swap,
)
from torch_saliency import (
    fisher,
    grad_norm,
    grad_norm_global,
    grad_sign,
    grasp,
    l2_norm,
    plain,
    snip,
    syncflow,
    synflow,
    synflow_bn,
    xi_gsnr,
    zico,
)
from torch_spectra import az_nas, cv, num_tensors, vkdnw, weight_agnostic, zen
from torch_tools import Batch, macs, normal_weights

CV_DRAWS = 100
SWAP_IMAGES = 16


def _zen(net: TinyNetwork, batches: Sequence[Batch]) -> float:
    normal_weights(net, scaled=False)
    x = batches[0][0]
    return zen(net, x, torch.randn_like(x)).score


def _swap(net: TinyNetwork, batches: Sequence[Batch]) -> float:
    normal_weights(net, scaled=False)
    return swap(net, batches[0][0][:SWAP_IMAGES])


def _syncflow(net: TinyNetwork, batches: Sequence[Batch]) -> float:
    normal_weights(net, scaled=False)
    return -syncflow(net, batches[0][0])


def _cv(net: TinyNetwork, batches: Sequence[Batch]) -> float:
    return cv(net, batches[0], [partial(normal_weights, net, scaled=True)] * CV_DRAWS)


def _random_signs(index: int, feature: Tensor) -> Tensor:
    return torch.randint_like(feature, 2) * 2 - 1


def _az_nas(net: TinyNetwork, batches: Sequence[Batch]) -> float:
    return az_nas(net, batches[0][0], _random_signs).expressivity


PROXIES: dict[str, Callable[[TinyNetwork, Sequence[Batch]], float]] = {
    "az_nas": _az_nas,  # all three components are computed
    "capacity": lambda net, batches: capacity(net, batches[0][0]),
    "cv": _cv,
    "epe_nas": lambda net, batches: epe_nas(net, *batches[0]),
    "epsinas": lambda net, batches: epsinas(net, batches[0][0]),
    "fisher": lambda net, batches: fisher(net, batches[0]),
    "grad_norm": lambda net, batches: grad_norm(net, batches[0]),
    "grad_norm_global": lambda net, batches: grad_norm_global(net, batches[0]),
    "grad_sign": lambda net, batches: grad_sign(net, batches[0]),
    "grasp": lambda net, batches: grasp(net, batches[0]),
    "intrain": lambda net, batches: intrain(net, *batches[0]),
    "jacov": lambda net, batches: jacov(net, batches[0][0]),
    "l2_norm": lambda net, batches: l2_norm(net),
    "linear_regions": lambda net, batches: linear_regions(net, batches[0][0]),
    "macs": lambda net, batches: macs(net, batches[0][0]),
    "meco": lambda net, batches: meco(net, batches[0][0]),
    "meco_leaves": lambda net, batches: meco(net, batches[0][0], LEAVES),
    "naswot": lambda net, batches: naswot(net, batches[0][0]),
    "ntk": lambda net, batches: ntk(net, batches[0][0]),
    "num_tensors": lambda net, batches: float(num_tensors(net)),
    "params": lambda net, batches: sum(p.numel() for p in net.parameters()),
    "plain": lambda net, batches: plain(net, batches[0]),
    "snip": lambda net, batches: snip(net, batches[0]),
    "swap": _swap,
    "syncflow": _syncflow,
    # In float64, as the authors' code has it: float32 overflows.
    "synflow": lambda net, batches: synflow(net.double(), batches[0][0].double()),
    "synflow_bn": lambda net, batches: synflow_bn(net.double(), batches[0][0].double()),
    "vkdnw": lambda net, batches: vkdnw(net, batches[0][0]),
    "weight_agnostic": lambda net, batches: weight_agnostic(net, batches[0]),
    "xi_gsnr": lambda net, batches: xi_gsnr(net, batches[:2], accumulate=True),
    "zen": _zen,
    "zico": lambda net, batches: zico(net, batches[:2]),
}
"""Proxy name -> score of a new network and at least two batches."""


def make_scorer(
    proxy: str,
    *,
    width: int,
    cells: int,
    batch_size: int,
    resolution: int,
    channels_last: bool,
    seed: int = 0,
) -> Callable[[str], float]:
    """A function from an official architecture string to its score.

    Two batches are drawn once; weights are drawn anew, from the same seed, for every
    architecture, because every architecture is a new module tree.

    Args:
      proxy: a name in :data:`PROXIES`.
      width: channels of the stem.
      cells: cells per stage.
      batch_size: images, standard normal, of ``resolution`` pixels a side.
      resolution: a multiple of 4.
      channels_last: memory layout of images and weights; measured about 1.7 times as
        fast as the default at batch size 16, and 0.9 to 1.2 times for tiny networks.
      seed: of inputs, labels and weights.
    """
    if proxy not in PROXIES:
        raise ValueError(f"unknown proxy {proxy!r}; choose from {sorted(PROXIES)}")
    layout = torch.channels_last if channels_last else torch.contiguous_format

    def batch() -> Batch:
        x = torch.randn(batch_size, 3, resolution, resolution)
        y = torch.randint(0, 10, (batch_size,))
        return x.contiguous(memory_format=layout), y

    torch.manual_seed(seed)
    batches = [batch(), batch()]

    def score(arch: str) -> float:
        torch.manual_seed(seed)
        net = TinyNetwork(arch, width, cells)
        return PROXIES[proxy](net.to(memory_format=layout), batches)

    return score


def main() -> None:
    """Prints milliseconds per architecture, building it included, and mean scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archs", nargs="+", help="official strings")
    parser.add_argument("--proxies", nargs="+", choices=PROXIES, default=[*PROXIES])
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--cells", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--resolution", type=int, default=32)
    args = vars(parser.parse_args())
    torch.set_num_threads(1)
    archs, names = args.pop("archs"), args.pop("proxies")
    for name in names:
        score = make_scorer(name, **args, channels_last=True)
        score(archs[0])
        start = time.perf_counter()
        scores = [score(arch) for arch in archs]
        mean = 1e3 * (time.perf_counter() - start) / len(archs)
        print(f"{name:16} {mean:9.1f} ms {sum(scores) / len(scores):12.5g}", flush=True)


if __name__ == "__main__":
    main()
