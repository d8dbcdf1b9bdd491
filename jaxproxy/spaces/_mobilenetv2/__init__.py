"""The MobileNetV2 space put together: encoding, network, counts and budgets."""

from collections.abc import Callable
from functools import partial

import numpy as np

from jaxproxy.spaces._mobilenetv2 import _codes as host
from jaxproxy.spaces._mobilenetv2 import _strings as strings
from jaxproxy.spaces._mobilenetv2._network import network
from jaxproxy.spaces._space import Space
from jaxproxy.types import Fidelity

__all__ = ["mobilenetv2"]

_PRESETS = {
    "paper": Fidelity(width=16, cells=5, batch_size=64, resolution=224),
    "fast": Fidelity(width=4, cells=5, batch_size=8, resolution=32),
}
_SWEEPS = 16
"""Proposals for each gene, after which a random architecture forgot its start."""


def mobilenetv2(
    *,
    num_classes: int = 1000,
    resolution: int = 224,
    max_macs: int | None = None,
    max_params: int | None = None,
    skips: bool = True,
) -> Space:
    """The ImageNet space of ZenNAS: widths, kernels, expansions, depths of six stages.

    Parameters and multiply-adds are those of the network without the projections that
    ZenNAS puts, for training, beside blocks that change the shape. Architectures above
    a budget are none.

    Args:
      num_classes: outputs.
      resolution: of the images, for multiply-adds; a multiple of 32.
      max_macs: most multiply-adds of an image.
      max_params: most parameters.
      skips: whether a block adds its input to an output of the same shape. ZenNAS
        scores architectures without.

    Raises:
      ValueError: a wrong number, or a budget that no architecture keeps.

    References:
      Lin et al., "Zen-NAS", ICCV 2021, arXiv:2102.01063; Li et al., "ZiCo", ICLR 2023,
      arXiv:2301.11300; Lee and Ham, "AZ-NAS", CVPR 2024, arXiv:2403.19232.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes must be positive, not {num_classes}")
    counts = {
        "max_macs": partial(
            host.num_macs, resolution=resolution, num_classes=num_classes
        ),
        "max_params": partial(host.num_params, num_classes=num_classes),
    }
    given = {"max_macs": max_macs, "max_params": max_params}
    budgets = {name: most for name, most in given.items() if most is not None}
    smallest = np.zeros(len(host.CHOICES), np.int32)
    for name, most in budgets.items():
        least = int(counts[name](smallest))
        if most < least:
            raise ValueError(
                f"{name} must be at least {least:,}, of the smallest architecture, "
                f"not {most:,}"
            )

    def valid(codes: np.ndarray) -> np.ndarray:
        kept = np.ones(np.shape(codes)[:-1], bool)
        for name, most in budgets.items():
            kept &= counts[name](codes) <= most
        return kept

    def explain(code: np.ndarray) -> str:
        excess = {n: int(counts[n](code)) - most for n, most in budgets.items()}
        return " and ".join(
            f"it exceeds {name}={budgets[name]:,} by {more:,}"
            for name, more in excess.items()
            if more > 0
        )

    def sampler(rng: np.random.Generator, n: int) -> np.ndarray:
        return _walk(rng, np.tile(smallest, (n, 1)), valid)

    return Space(
        name="mobilenetv2",
        choices=host.CHOICES,
        num_classes=num_classes,
        to_str=strings.to_str,
        from_str=strings.from_str,
        num_params=counts["max_params"],
        num_macs=counts["max_macs"],
        num_tensors=host.num_tensors,
        canonical=host.canonical,
        network=partial(network, num_classes=num_classes, skips=skips),
        cost=host.cost,
        settings={"macs_resolution": resolution, "skips": skips, **budgets},
        presets=_PRESETS,
        valid=valid,
        explain=explain,
        graph=host.graph,
        sampler=sampler if budgets else None,
    )


def _walk(
    rng: np.random.Generator,
    codes: np.ndarray,
    valid: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Uniformly random architectures int32[n, G] by as many random walks.

    A step proposes another value of one gene, and is taken if that is an architecture:
    proposals are as likely one way as the other, so the walk forgets where it began.
    Rejecting independent codes would take for ever under a tight budget.
    """
    rows, choices = np.arange(len(codes)), np.array(host.CHOICES)
    for _ in range(_SWEEPS * len(choices)):
        genes = rng.integers(len(choices), size=len(codes))
        proposed = codes.copy()
        proposed[rows, genes] = rng.integers(choices[genes])
        codes = np.where(valid(proposed)[:, None], proposed, codes)
    return codes.astype(np.int32)
