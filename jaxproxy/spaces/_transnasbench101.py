"""TransNAS-Bench-101's micro space on the host: strings, tasks, exact counts.

A code holds the operations of a cell's six edges, ``int32[6]`` with values that index
:data:`OPS`, in the order of the official string ``64-41414-a_bc_def``: edge 01, edges
02 and 12, edges 03, 13 and 23. A node is the sum of its edges; node 3 is the output.

The network: 3x3 convolutions with stride 2 to 32 and 64 channels; five modules of two
cells, of which the first, third and fifth halve the resolution and double the channels
in their first cell, up to 512; a head. There, an edge out of a cell's input has stride
2, and a skip is the official factorised reduction, two 1x1 convolutions on pixels one
apart. The shapes are those of the published training code; the head is that of the
task, and only the heads of classifications and regressions of vectors are here:
autoencoding, surface normals and segmentation have convolutional decoders, and a jigsaw
shows nine tiles at once.

Except for the string functions, functions take one code or any array of codes, genes
last, and drop that axis.

References:
  Duan et al., "TransNAS-Bench-101", CVPR 2021, arXiv:2105.11871.
"""

import functools

import numpy as np

from jaxproxy.spaces._genes import all_codes, all_on_paths, check_one, checked
from jaxproxy.spaces._space import Graph

__all__ = [
    "EDGES",
    "MODULES",
    "NUM_GENES",
    "OPS",
    "TASKS",
    "WIDTH",
    "cost",
    "enumerate_codes",
    "from_str",
    "graph",
    "num_macs",
    "num_params",
    "num_tensors",
    "reachable",
    "to_str",
]

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
NUM_GENES = len(EDGES)
TASKS = {"class_object": 75, "class_scene": 47, "room_layout": 9}
"""Outputs of each task."""
MODULES, WIDTH = "41414", 64

_PREFIX = f"{WIDTH}-{MODULES}-"
_FROM_INPUT = np.array([source == 0 for source, _ in EDGES])


def _checked(code: np.ndarray) -> np.ndarray:
    """Codes [..., 6]; ValueError if wrong."""
    return checked(code, NUM_GENES, OPS, "transnasbench101_micro", "operations")


def to_str(code: np.ndarray) -> str:
    """Official string of one code ``[6]``, as ``"64-41414-3_12_103"``."""
    check_one(code, NUM_GENES)
    digits = "".join(map(str, _checked(code)))
    return f"{_PREFIX}{digits[0]}_{digits[1:3]}_{digits[3:]}"


def from_str(arch: str) -> np.ndarray:
    """Code ``int32[6]`` of an official string.

    Raises:
      ValueError: another backbone, nodes of other sizes, or an unknown operation.
    """
    if not arch.startswith(_PREFIX):
        raise ValueError(f"{arch!r} is not of the micro space: {_PREFIX}a_bc_def")
    nodes = arch.removeprefix(_PREFIX).split("_")
    if [len(node) for node in nodes] != [1, 2, 3]:
        raise ValueError(f"the cell of {arch!r} is not of the form a_bc_def")
    choices = ", ".join(f"{i} ({name})" for i, name in enumerate(OPS))
    for digit in "".join(nodes):
        if digit not in "0123":
            raise ValueError(
                f"unknown operation {digit!r} in {arch!r}; choose from {choices}"
            )
    return np.array([int(digit) for digit in "".join(nodes)], np.int32)


@functools.cache
def enumerate_codes() -> np.ndarray:
    """All codes ``int32[4096, 6]``, read-only, in the order of their strings."""
    return all_codes(len(OPS), NUM_GENES)


def reachable(code: np.ndarray) -> np.ndarray:
    """Whether every operation can influence the output, bool[...]."""
    return all_on_paths(EDGES, _checked(code) != 0)


def _cells() -> list[tuple[int, int, int]]:
    """Channels in and out and stride of the ten cells."""
    cells, width = [], WIDTH
    for digit in map(int, MODULES):
        outputs = 2 * width if digit % 2 == 0 else width
        cells += [(width, outputs, 2 if digit > 2 else 1), (outputs, outputs, 1)]
        width = outputs
    return cells


def num_params(code: np.ndarray, *, outputs: int = 75) -> np.ndarray:
    """Trainable parameters ``int64[...]`` with a linear head of some outputs."""
    code = _checked(code)
    stem = 27 * WIDTH // 2 + WIDTH + 9 * WIDTH**2 // 2 + 2 * WIDTH
    total = np.full(code.shape[:-1], stem)
    for before, after, stride in _cells():
        for edge, from_input in enumerate(_FROM_INPUT):
            inputs = before if from_input else after
            one = inputs * after + 2 * after
            skip = one if from_input and stride == 2 else 0
            table = np.array([0, skip, one, one + 8 * inputs * after])
            total = total + table[code[..., edge]]
    return total + (_cells()[-1][1] + 1) * outputs


def num_tensors(code: np.ndarray) -> np.ndarray:
    """Named parameter tensors ``int64[...]``: a reduction has two kernels."""
    code = _checked(code)
    convs = np.array([0, 0, 3, 3])[code].sum(-1) * len(_cells())
    strided = sum(stride == 2 for _, _, stride in _cells())
    skips = 4 * strided * ((code == 1) & _FROM_INPUT).sum(-1)
    return 3 * 2 + convs + skips + 2


def num_macs(
    code: np.ndarray, *, outputs: int = 75, resolution: int = 256
) -> np.ndarray:
    """Multiply-adds of one image ``int64[...]``: convolutions and the linear layer.

    Raises:
      ValueError: the resolution is not a positive multiple of 32.
    """
    if resolution < 32 or resolution % 32:
        raise ValueError(f"resolution must be a multiple of 32, got {resolution}")
    code, side = _checked(code), resolution // 4
    stem = (27 * WIDTH // 2) * (2 * side) ** 2 + 9 * WIDTH**2 // 2 * side**2
    total = np.full(code.shape[:-1], stem)
    for before, after, stride in _cells():
        side //= stride
        for edge, from_input in enumerate(_FROM_INPUT):
            one = (before if from_input else after) * after * side**2
            skip = one if from_input and stride == 2 else 0
            total = total + np.array([0, skip, one, 9 * one])[code[..., edge]]
    return total + (_cells()[-1][1] + 1) * outputs


def cost(codes: np.ndarray) -> np.ndarray:
    """Relative time ``float64[...]``, to balance devices; not a latency."""
    return 1.0 + num_macs(codes) / num_macs(np.zeros(NUM_GENES, int))


def graph(code: np.ndarray) -> Graph:
    """The cell: its nodes, and the operations between them."""
    pairs = zip(EDGES, _checked(code), strict=True)
    edges = tuple((s, t, OPS[op]) for (s, t), op in pairs if op)
    return Graph(("input", "1", "2", "output"), edges)
