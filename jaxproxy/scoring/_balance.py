"""Deals architectures into groups that cost alike, and gathers the results (NumPy)."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Tables = TypeVar("Tables", bound=tuple[dict[str, np.ndarray], ...])


def deal(num: int, size: int) -> list[np.ndarray]:
    """Deals ``range(num)``, in order of cost, into groups of like mean cost.

    Groups have ``size`` members, ascending; the last may have fewer. Each group is
    spread evenly over the whole range; neighbours go to the groups in snake order.
    """
    group, place = np.divmod(np.arange(num), size)
    share = (place + 0.5) / np.minimum(size, num - group * size)
    snake = np.where(place % 2, -group, group)
    group_of_rank = group[np.lexsort((snake, share))]
    return np.split(np.argsort(group_of_rank, kind="stable"), range(size, num, size))


def blocks(num: int, size: int) -> list[np.ndarray]:
    """Cuts ``range(num)``, in order of cost, into groups whose members cost alike.

    The cheapest group may have fewer than ``size`` members. Groups come in shuffled
    order, always the same one, so that progress is even.
    """
    short = num % size
    groups = np.split(np.arange(num), range(short or size, num, size))
    return [groups[i] for i in np.random.default_rng(0).permutation(len(groups))]


def merge_blocks(scored: Sequence[Tables], order: np.ndarray) -> Tables:
    """Joins named tuples of tables with a row per architecture; reorders the rows."""
    fields = (
        {name: np.concatenate([d[name] for d in dicts])[order] for name in dicts[0]}
        for dicts in zip(*scored, strict=True)
    )
    return scored[0]._make(fields)  # type: ignore[attr-defined]
