"""Exact counts of the trained network of NAS-Bench-101."""

from collections.abc import Callable, Iterator

import numpy as np

from jaxproxy.spaces._nasbench101._codes import (
    INTERIOR,
    Modules,
    modules,
    vertex_channels,
)

_WIDTH, _STACKS, _CELLS = 128, 3, 3
_SIZES = np.array([9, 1, 0])  # weights of each pair of channels, by operation


def _shapes(code: np.ndarray) -> tuple[Modules, Iterator[tuple[int, int, np.ndarray]]]:
    """Graphs, and input channels, stack and vertex channels of each module."""
    graphs = modules(code)

    def each() -> Iterator[tuple[int, int, np.ndarray]]:
        inputs = _WIDTH
        for stack in range(_STACKS):
            channels = _WIDTH << stack
            widths = vertex_channels(graphs.matrix, channels)
            for _ in range(_CELLS):
                yield inputs, stack, widths
                inputs = channels

    return graphs, each()


def _total(
    code: np.ndarray, count: Callable[[np.ndarray, np.ndarray, int], np.ndarray]
) -> np.ndarray:
    """Sum over modules of ``count(pairs of channels, channels, stack)``.

    Pairs are those that weights connect, so there are as many weights; channels are
    those of all BatchNorms.
    """
    (matrix, ops, _), shapes = _shapes(code)
    projected = matrix[..., 0, 1:]
    total = np.zeros(matrix.shape[:-2], np.int64)
    for inputs, stack, widths in shapes:
        last = np.full((*widths.shape[:-1], 1), _WIDTH << stack)
        outputs = np.concatenate([widths, last], -1) * projected
        weights = inputs * outputs.sum(-1) + (_SIZES[ops] * widths**2).sum(-1)
        normed = outputs.sum(-1) + (widths * (_SIZES[ops] > 0)).sum(-1)
        total += count(weights, normed, stack)
    return total


def num_params(code: np.ndarray, *, num_classes: int = 10) -> np.ndarray:
    """Trainable parameters ``int64[...]``, equal to the benchmark's.

    Convolutions have no bias, BatchNorms two parameters per channel. Isomorphic
    codes can differ a little: which vertices get one channel more is a matter of order.
    """
    stem = 27 * _WIDTH + 2 * _WIDTH
    head = ((_WIDTH << _STACKS - 1) + 1) * num_classes
    body = _total(code, lambda weights, normed, _: weights + 2 * normed)
    return stem + body + head


def num_macs(
    code: np.ndarray, *, resolution: int = 32, num_classes: int = 10
) -> np.ndarray:
    """Multiply-adds of one image ``int64[...]``, in convolutions and the linear layer.

    Raises:
      ValueError: the resolution is not a positive multiple of 4.
    """
    if resolution < 4 or resolution % 4:
        raise ValueError(f"resolution must be a multiple of 4, got {resolution}")
    stem = 27 * _WIDTH * resolution**2
    head = (_WIDTH << _STACKS - 1) * num_classes
    body = _total(code, lambda weights, _, s: weights * (resolution >> s) ** 2)
    return stem + body + head


def num_tensors(code: np.ndarray) -> np.ndarray:
    """Named parameter tensors ``int64[...]``.

    Three for every convolution with its BatchNorm, two for the linear layer.
    """
    matrix, ops, live = modules(code)
    convs = (live[..., 1:-1] & (_SIZES[ops] > 0)).sum(-1) + matrix[..., 0, 1:].sum(-1)
    return 3 + _STACKS * _CELLS * 3 * convs + 2


def cost(codes: np.ndarray) -> np.ndarray:
    """Relative time ``float64[...]``, to balance devices; not a latency."""
    graphs = modules(codes)
    vertices = graphs.live[..., 1:-1].sum(-1) / INTERIOR
    return 1 + vertices + num_macs(codes) / 1e9
