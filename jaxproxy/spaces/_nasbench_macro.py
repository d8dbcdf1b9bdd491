"""NAS-Bench-Macro on the host: strings, order, exact counts.

A code holds the blocks of eight layers, ``int32[8]`` with values that index
:data:`BLOCKS`. The network, for CIFAR-10: a 3x3 convolution to 32 channels with
BatchNorm and ReLU; stages of 2, 3 and 3 layers, whose first layer has stride 2 and
doubles the channels; a 1x1 convolution to 1,280 channels with BatchNorm and ReLU;
global average pooling and a linear layer. An identity whose layer changes the shape is
a 1x1 convolution with BatchNorm.

Except for the string functions, functions take one code or any array of codes, genes
last, and drop that axis.

References:
  Su et al., "Prioritized architecture sampling with Monte-Carlo tree search", CVPR
  2021, arXiv:2103.11922; shapes are those of its published training code.
"""

import functools
from typing import NamedTuple

import numpy as np

from jaxproxy.spaces._codes import all_codes, check_one, checked
from jaxproxy.spaces._space import Graph

BLOCKS = ("identity", "MB3_K3", "MB6_K5")
KINDS = ((0, 0), (3, 3), (6, 5))
"""Expansion and kernel size of each block; none for the identity."""
STAGES = (2, 3, 3)
NUM_LAYERS = sum(STAGES)
STEM_WIDTH, HEAD_WIDTH = 32, 1280


class _Layer(NamedTuple):
    """Shape of a layer."""

    inputs: int
    outputs: int
    stride: int
    scale: int
    """Pixels of an image's side over those of the layer's output."""


def _layers() -> list[_Layer]:
    layers, width, scale = [], STEM_WIDTH, 1
    for num in STAGES:
        scale *= 2
        layers.append(_Layer(width, 2 * width, 2, scale))
        width *= 2
        layers += [_Layer(width, width, 1, scale)] * (num - 1)
    return layers


def _checked(code: np.ndarray) -> np.ndarray:
    """Codes [..., 8]; ValueError if wrong."""
    return checked(code, NUM_LAYERS, BLOCKS, "nasbench_macro", "blocks")


def to_str(code: np.ndarray) -> str:
    """Official string of one code ``[8]``, as ``"01201201"``."""
    check_one(code, NUM_LAYERS)
    return "".join(map(str, _checked(code)))


def from_str(arch: str) -> np.ndarray:
    """Code ``int32[8]`` of an official string.

    Raises:
      ValueError: not eight digits, or one that is not 0, 1 or 2.
    """
    if len(arch) != NUM_LAYERS:
        raise ValueError(
            f"{arch!r} has {len(arch)} digits, not {NUM_LAYERS} as in '01201201'"
        )
    digits = "".join(map(str, range(len(BLOCKS))))
    for digit in arch:
        if digit not in digits:
            choices = ", ".join(f"{i} ({name})" for i, name in enumerate(BLOCKS))
            raise ValueError(
                f"unknown block {digit!r} in {arch!r}; choose from {choices}"
            )
    return np.array([digits.index(digit) for digit in arch], np.int32)


@functools.cache
def enumerate_codes() -> np.ndarray:
    """All codes ``int32[6561, 8]``, read-only, in the order of their strings."""
    return all_codes(len(BLOCKS), NUM_LAYERS)


def _summed(code: np.ndarray, table: list[list[int]]) -> np.ndarray:
    """Sum over layers int64[...] of table[layer][block]."""
    layers = np.arange(NUM_LAYERS)
    return np.array(table)[layers, _checked(code)].sum(-1)


def _block_params(layer: _Layer, expansion: int, size: int) -> int:
    if not expansion:
        same = layer.stride == 1
        return 0 if same else layer.inputs * layer.outputs + 2 * layer.outputs
    hidden = expansion * layer.inputs
    ends = hidden * (layer.inputs + layer.outputs)
    return ends + size**2 * hidden + 4 * hidden + 2 * layer.outputs


def num_params(code: np.ndarray, *, num_classes: int = 10) -> np.ndarray:
    """Trainable parameters ``int64[...]`` of the benchmark's network."""
    layers = _layers()
    table = [[_block_params(layer, *kind) for kind in KINDS] for layer in layers]
    stem = 27 * STEM_WIDTH + 2 * STEM_WIDTH
    head = HEAD_WIDTH * (layers[-1].outputs + 2) + (HEAD_WIDTH + 1) * num_classes
    return stem + _summed(code, table) + head


def num_tensors(code: np.ndarray) -> np.ndarray:
    """Named parameter tensors ``int64[...]``: three for a convolution and BatchNorm."""
    table = [[3 * (layer.stride > 1), 9, 9] for layer in _layers()]
    return 3 + _summed(code, table) + 3 + 2


def num_macs(
    code: np.ndarray, *, resolution: int = 32, num_classes: int = 10
) -> np.ndarray:
    """Multiply-adds of one image ``int64[...]``: convolutions and the linear layer.

    Raises:
      ValueError: the resolution is not a positive multiple of 8.
    """
    if resolution < 8 or resolution % 8:
        raise ValueError(f"resolution must be a multiple of 8, got {resolution}")

    def block(layer: _Layer, expansion: int, size: int) -> int:
        after = (resolution // layer.scale) ** 2
        before, hidden = after * layer.stride**2, expansion * layer.inputs
        if not expansion:
            return (layer.stride > 1) * after * layer.inputs * layer.outputs
        depthwise = after * hidden * size**2
        return (
            before * layer.inputs * hidden + depthwise + after * hidden * layer.outputs
        )

    layers = _layers()
    table = [[block(layer, *kind) for kind in KINDS] for layer in layers]
    stem = 27 * STEM_WIDTH * resolution**2
    last = (resolution // layers[-1].scale) ** 2 * layers[-1].outputs * HEAD_WIDTH
    return stem + _summed(code, table) + last + (HEAD_WIDTH + 1) * num_classes


def cost(codes: np.ndarray) -> np.ndarray:
    """Relative time ``float64[...]``, to balance devices; not a latency."""
    return num_macs(codes).astype(float)


def graph(code: np.ndarray) -> Graph:
    """A chain of blocks, with their channels."""
    pairs = zip(_checked(code), _layers(), strict=True)
    blocks = (f"{BLOCKS[gene]} {layer.outputs}" for gene, layer in pairs)
    nodes = ("input", f"conv {STEM_WIDTH}", *blocks, f"conv {HEAD_WIDTH}", "output")
    return Graph(nodes, tuple((i, i + 1, "") for i in range(len(nodes) - 1)))
