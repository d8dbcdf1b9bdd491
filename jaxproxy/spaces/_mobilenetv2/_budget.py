"""Budgets of the MobileNetV2 space: which architectures keep them, and random ones."""

from collections.abc import Callable, Mapping

import numpy as np

from jaxproxy.spaces._mobilenetv2 import _codes as host
from jaxproxy.spaces._mobilenetv2._device import SWEEPS
from jaxproxy.spaces._records import Constraint

Count = Callable[[np.ndarray], np.ndarray]


def make_constraint(
    budgets: Mapping[str, int], sizes: Mapping[str, Count]
) -> Constraint:
    """Returns the constraint to keep all budgets.

    Args:
      budgets: name, such as ``"max_macs"`` -> most that is allowed.
      sizes: name -> the count that it limits.

    Raises:
      ValueError: a budget that no architecture keeps.
    """
    smallest = np.zeros(len(host.CHOICES), np.int32)
    for name, most in budgets.items():
        least = int(sizes[name](smallest))
        if most < least:
            raise ValueError(
                f"{name} must be at least {least:,}, of the smallest architecture, "
                f"not {most:,}"
            )

    def valid(codes: np.ndarray) -> np.ndarray:
        kept = np.ones(np.shape(codes)[:-1], bool)
        for name, most in budgets.items():
            kept &= sizes[name](codes) <= most
        return kept

    def explain(code: np.ndarray) -> str:
        excess = {name: int(sizes[name](code)) - most for name, most in budgets.items()}
        return " and ".join(
            f"it exceeds {name}={budgets[name]:,} by {more:,}"
            for name, more in excess.items()
            if more > 0
        )

    def sampler(rng: np.random.Generator, n: int) -> np.ndarray:
        return _walk(rng, np.tile(smallest, (n, 1)), valid)

    return Constraint(valid, explain, sampler)


def _walk(
    rng: np.random.Generator,
    codes: np.ndarray,
    valid: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Returns uniformly random architectures int32[n, G] by as many random walks.

    A step proposes another value of one gene, and is taken if that is an architecture:
    proposals are as likely one way as the other, so the walk forgets where it began.
    Rejecting independent codes would take for ever under a tight budget.
    """
    rows, choices = np.arange(len(codes)), np.array(host.CHOICES)
    for _ in range(SWEEPS * len(choices)):
        genes = rng.integers(len(choices), size=len(codes))
        proposed = codes.copy()
        proposed[rows, genes] = rng.integers(choices[genes])
        codes = np.where(valid(proposed)[:, None], proposed, codes)
    return codes.astype(np.int32)
