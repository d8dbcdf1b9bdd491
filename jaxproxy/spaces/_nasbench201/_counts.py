"""Exact sizes of NAS-Bench-201's trained networks, and what a cell costs.

Functions take one code or any array of codes, genes last, and drop that axis.
"""

import numpy as np

from jaxproxy.spaces._nasbench201._codes import CONV1, CONV3, rank_of

# Relative seconds of an edge by operation, and of what every cell costs besides.
_OP_COST = np.array([0.0, 1.0, 2.0, 10.0, 1.5])
_CELL_COST = 8.0


def _count_convs(code: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of 1x1 and of 3x3 convolutions in a cell, int64[...] each."""
    rank_of(code)
    code = np.asarray(code)
    return (code == CONV1).sum(-1), (code == CONV3).sum(-1)


def num_params(
    code: np.ndarray, *, width: int = 16, cells: int = 5, num_classes: int = 10
) -> np.ndarray:
    """Trainable parameters ``int64[...]``, equal to the benchmark's.

    Convolutions have no bias, BatchNorms two parameters per channel. Convolutions
    that cannot influence the output count too.
    """
    conv1, conv3 = _count_convs(code)
    stages = [width, 2 * width, 4 * width]
    per_edge1 = sum(c * c + 2 * c for c in stages)
    per_edge3 = sum(9 * c * c + 2 * c for c in stages)
    # Reduction to c channels: 3x3 from c / 2, 3x3, their BatchNorms, 1x1 shortcut.
    reductions = sum(
        9 * c * c // 2 + 9 * c * c + 4 * c + c * c // 2 for c in stages[1:]
    )
    stem = 27 * width + 2 * width
    head = 2 * stages[-1] + (stages[-1] + 1) * num_classes
    return stem + cells * (conv1 * per_edge1 + conv3 * per_edge3) + reductions + head


def num_tensors(code: np.ndarray, *, cells: int = 5) -> np.ndarray:
    """Named parameter tensors ``int64[...]`` of the benchmark's network.

    Three for every convolution with its BatchNorm, one for each of the two shortcuts,
    and two each for the last BatchNorm and the classifier.
    """
    conv1, conv3 = _count_convs(code)
    return 3 * 3 * cells * (conv1 + conv3) + 3 * 5 + 2 + 2 + 2


def num_macs(
    code: np.ndarray,
    *,
    width: int = 16,
    cells: int = 5,
    resolution: int = 32,
    num_classes: int = 10,
) -> np.ndarray:
    """Multiply-adds of one image ``int64[...]``, equal to the benchmark's FLOPs.

    As there, convolutions and the linear layer (with its bias) count, and BatchNorm,
    ReLU, pooling and sums are free. The tables of the benchmark have 32 pixels, 16 for
    ImageNet16-120.

    Raises:
      ValueError: the resolution is not a positive multiple of 4.
    """
    if resolution < 4 or resolution % 4:
        raise ValueError(f"resolution must be a multiple of 4, got {resolution}")
    conv1, conv3 = _count_convs(code)
    # A stage has twice the channels on a quarter of the pixels: the same arithmetic.
    stage = (width * resolution) ** 2
    reduction = 9 * stage // 2 + 9 * stage + stage // 2
    stem = 27 * width * resolution**2
    head = (4 * width + 1) * num_classes
    return stem + 3 * cells * (conv1 + 9 * conv3) * stage + 2 * reduction + head


def cost(codes: np.ndarray) -> np.ndarray:
    """Relative time ``float64[...]`` of a cell, to balance devices; not a latency."""
    rank_of(codes)
    return _CELL_COST + _OP_COST[np.asarray(codes)].sum(-1)
