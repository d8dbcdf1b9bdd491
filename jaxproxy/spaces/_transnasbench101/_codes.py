"""TransNAS-Bench-101's micro space on the host: strings, tasks, exact counts.

A code holds the operations of a cell's six edges, ``int32[6]`` with values that index
:data:`OPS`, in the order of the official string ``64-41414-a_bc_def``: edge 01, edges
02 and 12, edges 03, 13 and 23. A node is the sum of its edges; node 3 is the output.

The network: 3x3 convolutions with stride 2 to 32 and 64 channels; five modules of two
cells, of which the first, third and fifth halve the resolution and double the channels
in their first cell, up to 512; a head. There, an edge out of a cell's input has stride
2, and a skip is the official factorised reduction, two 1x1 convolutions on pixels one
apart. The shapes are those of the published training code.

The head is that of the task. Classes and room layouts have a linear layer on the mean
over pixels. A jigsaw shows the network nine tiles of an image, 64 pixels wide, one by
one, and has a linear layer on the means of all: which of 1,000 permutations it is.
Autoencoding, surface normals and segmentation have decoders of 3x3 convolutions with
biases, BatchNorm and leaky rectifiers, five of them transposed, which double the
resolution; behind the last convolution there is no BatchNorm.

Except for the string functions, functions take one code or any array of codes, genes
last, and drop that axis.

References:
  Duan et al., "TransNAS-Bench-101", CVPR 2021, arXiv:2105.11871.
"""

import functools
import itertools
from typing import NamedTuple

import numpy as np

from jaxproxy.options import quoted
from jaxproxy.spaces._codes import all_codes, all_on_paths, check_one, checked
from jaxproxy.spaces._records import Graph

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
NUM_GENES = len(EDGES)
TASKS = {
    "class_object": 75,
    "class_scene": 47,
    "room_layout": 9,
    "jigsaw": 1000,
    "autoencoder": 3,
    "normal": 3,
    "segmentsemantic": 17,
}
"""Outputs of each task: of an image, or of a pixel where there is a decoder."""
TILES = 9
"""Of a jigsaw."""
MODULES, WIDTH = "41414", 64

_PREFIX = f"{WIDTH}-{MODULES}-"
_IMAGES = (
    (1024, 1024, 512, 512, 256, 128, 64, 64, 32, 32, 16, 32, 16),
    (4, 6, 8, 10, 12),
)
_DECODERS = {
    "autoencoder": _IMAGES,
    "normal": _IMAGES,
    "segmentsemantic": ((1024, 512, 256, 128, 64, 32, 32), (2, 3, 4, 5, 6)),
}
"""Channels behind each layer but the last, and which layers are transposed."""
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
    arch = arch.strip()
    if not arch.startswith(_PREFIX):
        # NASLib looks accuracies up by other edges than those it builds networks by.
        tuples = "; NASLib's tuples have two readings" if arch[:1] in "([" else ""
        raise ValueError(
            f"{quoted(arch)} is not of the micro space: {_PREFIX}a_bc_def{tuples}"
        )
    nodes = arch.removeprefix(_PREFIX).split("_")
    if [len(node) for node in nodes] != [1, 2, 3]:
        raise ValueError(f"the cell of {quoted(arch)} is not of the form a_bc_def")
    choices = ", ".join(f"{i} ({name})" for i, name in enumerate(OPS))
    for digit in "".join(nodes):
        if digit not in "0123":
            raise ValueError(
                f"unknown operation {quoted(digit)} in {quoted(arch)}; choose from "
                f"{choices}"
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


class Layer(NamedTuple):
    """A 3x3 convolution of a decoder."""

    inputs: int
    outputs: int
    up: bool
    """Whether it is transposed, of stride 2."""


def decoder(task: str, width: int = WIDTH) -> tuple[Layer, ...]:
    """Layers of a task's decoder; none if its head is linear.

    Raises:
      ValueError: a width of which some layer has a fraction that is no integer.
    """
    if task not in _DECODERS:
        return ()
    channels, ups = _DECODERS[task]
    part = WIDTH // min(channels)
    if width % part:
        raise ValueError(
            f"the decoder of {task} has layers of width / {part} channels, so width "
            f"must be a multiple of {part}, not {width}"
        )
    behind = [8 * width, *(width * c // WIDTH for c in channels), TASKS[task]]
    pairs = enumerate(itertools.pairwise(behind))
    return tuple(Layer(a, b, i in ups) for i, (a, b) in pairs)


def num_params(code: np.ndarray, *, task: str = "class_object") -> np.ndarray:
    """Trainable parameters ``int64[...]`` with the head of a task."""
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
    if layers := decoder(task):
        convs = sum((9 * inputs + 1) * outputs for inputs, outputs, _ in layers)
        return total + convs + sum(2 * layer.outputs for layer in layers[:-1])
    return total + _linear(task)


def num_tensors(code: np.ndarray, *, task: str = "class_object") -> np.ndarray:
    """Named parameter tensors ``int64[...]``: a reduction has two kernels."""
    code = _checked(code)
    convs = np.array([0, 0, 3, 3])[code].sum(-1) * len(_cells())
    strided = sum(stride == 2 for _, _, stride in _cells())
    skips = 4 * strided * ((code == 1) & _FROM_INPUT).sum(-1)
    # A layer of a decoder has a BatchNorm too, except the last.
    head = 4 * len(decoder(task)) - 2 if decoder(task) else 2
    return 3 * 2 + convs + skips + head


def num_macs(
    code: np.ndarray, *, task: str = "class_object", resolution: int | None = None
) -> np.ndarray:
    """Multiply-adds of one image ``int64[...]``: convolutions and the linear layer.

    A bias counts one for each output. A transposed convolution counts its kernel once
    for each pixel of its input, and a jigsaw all nine tiles.

    Args:
      code: integer[..., 6].
      task: name in :data:`TASKS`.
      resolution: of images or of a jigsaw's tiles; 256, or 64 for those, by default.

    Raises:
      ValueError: the resolution is not a positive multiple of 32.
    """
    tiles = TILES if task == "jigsaw" else 1
    if resolution is None:
        resolution = 256 if tiles == 1 else 64
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
    head = _decoder_macs(task, side) if decoder(task) else _linear(task)
    return tiles * total + head


def _linear(task: str) -> int:
    """Parameters, and multiply-adds, of a linear head."""
    inputs = _cells()[-1][1] * (TILES if task == "jigsaw" else 1)
    return (inputs + 1) * TASKS[task]


def _decoder_macs(task: str, side: int) -> int:
    """Multiply-adds of a decoder of maps of a side."""
    total = 0
    for inputs, outputs, up in decoder(task):
        total += 9 * inputs * outputs * side**2
        side *= 2 if up else 1
        total += outputs * side**2
    return total


def cost(codes: np.ndarray, *, task: str = "class_object") -> np.ndarray:
    """Relative time ``float64[...]``, to balance devices; not a latency."""
    none = np.zeros(NUM_GENES, int)
    return 1.0 + num_macs(codes, task=task) / num_macs(none, task=task)


def graph(code: np.ndarray) -> Graph:
    """The cell: its nodes, and the operations between them."""
    pairs = zip(EDGES, _checked(code), strict=True)
    edges = tuple((s, t, OPS[op]) for (s, t), op in pairs if op)
    return Graph(("input", "1", "2", "output"), edges)
