"""The MobileNetV2 space of ZenNAS on the host: codes and exact counts.

The network: a 3x3 convolution of stride 2, six stages of strides 2, 2, 2, 1, 2, 1, a
1x1 convolution, global average pooling and a linear layer. A stage is a number of
*sub-layers*, each of which is a pair of inverted residual blocks, the first with
``bottleneck`` outputs and the second with ``out``; a block is a 1x1 convolution to
``expansion`` times its own outputs, a depthwise convolution and a 1x1 convolution, all
with BatchNorm. ReLU follows the first two and the block. This is what
``SuperResIDWE{expansion}K{kernel}(in,out,stride,bottleneck,sub_layers)`` means in
ZenNAS. The two stages of stride 1 may be absent.

A code is ``int32[32]``: the stem's width; for each stage, the indices of its kernel and
expansion, ``out``, ``bottleneck`` and its sub-layers; the width of the last layer.
Widths are multiples of 8 (of 256 in the last layer) up to :data:`WIDEST`.

MobileNetV2 itself is not in the space: it expands by the inputs of a block, has an odd
number of blocks in most stages, and no ReLU behind a block.

References:
  Lin et al., "Zen-NAS", ICCV 2021, arXiv:2102.01063; also the space of ZiCo
  (arXiv:2301.11300) and AZ-NAS (arXiv:2403.19232).
"""

from typing import Any, NamedTuple, TypeVar

import numpy as np
from jax import Array

from jaxproxy.spaces._records import Graph

KERNELS, EXPANSIONS = (3, 5, 7), (1, 2, 4, 6)
STRIDES = (2, 2, 2, 1, 2, 1)
STEP, LAST_STEP = 8, 256
STEM, WIDEST, LAST = 64, (64, 96, 192, 192, 320, 320), 2048
"""Largest widths of the first convolution, of each stage and of the last one."""
SUB_LAYERS = 5
"""Most of a stage; the least is 1, or 0 if its stride is 1."""

GENES = 5
"""Of a stage."""


def _stage_choices(stride: int, widest: int) -> tuple[int, ...]:
    widths, depths = widest // STEP, SUB_LAYERS + (stride == 1)
    return len(KERNELS), len(EXPANSIONS), widths, widths, depths


Codes = TypeVar("Codes", np.ndarray, Array)
"""Of the host, or of a device."""

CHOICES: tuple[int, ...] = (
    STEM // STEP,
    *(n for s, w in zip(STRIDES, WIDEST, strict=True) for n in _stage_choices(s, w)),
    LAST // LAST_STEP,
)
"""Number of values of each gene."""


class _Block(NamedTuple):
    """Blocks of one place in a stage; numbers of the codes' shape and type."""

    repeats: Any
    stride: int
    kernel: Any
    inputs: Any
    hidden: Any
    outputs: Any


class _Stage(NamedTuple):
    """Fields of a stage; numbers of the codes' shape and type."""

    kernel: Any
    expansion: Any
    inputs: Any
    outputs: Any
    bottleneck: Any
    sub_layers: Any


def checked(code: np.ndarray) -> np.ndarray:
    """Codes int64[..., 32]; ValueError if they are none."""
    code = np.asarray(code)
    if not np.issubdtype(code.dtype, np.integer) or code.shape[-1:] != (len(CHOICES),):
        raise ValueError(
            f"a code of mobilenetv2 is integer[..., {len(CHOICES)}], "
            f"got {code.dtype}{list(code.shape)}"
        )
    wrong = np.argwhere((code < 0) | (code >= np.array(CHOICES)))
    if len(wrong):
        gene = wrong[0, -1]
        raise ValueError(
            f"gene {gene} is {code[tuple(wrong[0])]}; mobilenetv2 allows 0 to "
            f"{CHOICES[gene] - 1} there"
        )
    return code.astype(np.int64)


def stages_of(code: Codes, dtype: Any = np.int64) -> list[_Stage]:
    """Of checked codes; an absent one has the outputs that come in.

    Args:
      code: integer[..., 32], of numpy or of ``jax.numpy``.
      dtype: of the fields.
    """
    xp = code.__array_namespace__()
    width, stages = STEP * (code[..., 0].astype(dtype) + 1), []
    for number, stride in enumerate(STRIDES):
        genes = (code[..., 1 + GENES * number + gene] for gene in range(GENES))
        kernel, expansion, *others = genes
        out, middle, depth = (gene.astype(dtype) for gene in others)
        depth = depth + int(stride > 1)
        out = xp.where(depth > 0, STEP * (out + 1), width)
        stages.append(
            _Stage(
                xp.asarray(KERNELS, dtype=dtype)[kernel],
                xp.asarray(EXPANSIONS, dtype=dtype)[expansion],
                width,
                out,
                STEP * (middle + 1),
                depth,
            )
        )
        width = out
    return stages


def _blocks(stages: list[_Stage]) -> list[_Block]:
    """The three kinds of blocks of each stage: first, second of a pair, and others."""
    found = []
    for stride, stage in zip(STRIDES, stages, strict=True):
        kernel, expansion, inputs, out, middle, depth = stage
        wide, narrow = expansion * out, expansion * middle
        present = (depth > 0).astype(depth.dtype)
        found += [
            _Block(present, stride, kernel, inputs, narrow, middle),
            _Block(depth, 1, kernel, middle, wide, out),
            _Block(depth - present, 1, kernel, out, narrow, middle),
        ]
    return found


def _num_blocks(code: np.ndarray) -> np.ndarray:
    return 2 * np.sum([stage.sub_layers for stage in stages_of(checked(code))], axis=0)


def num_params(code: np.ndarray, *, num_classes: int = 1000) -> np.ndarray:
    """Trainable parameters ``int64[...]``: convolutions, BatchNorms, linear layer."""
    return params_in(np.int64, checked(code), num_classes)


def params_in(dtype: Any, code: Codes, num_classes: int) -> Codes:
    """Parameters of checked codes, counted in a type, in which they may wrap around."""
    stem = STEP * (code[..., 0].astype(dtype) + 1)
    last = LAST_STEP * (code[..., -1].astype(dtype) + 1)
    stages, total = stages_of(code, dtype), 27 * stem + 2 * stem
    for repeats, _, kernel, inputs, hidden, outputs in _blocks(stages):
        weights = inputs * hidden + kernel**2 * hidden + hidden * outputs
        total = total + repeats * (weights + 4 * hidden + 2 * outputs)
    return total + stages[-1].outputs * last + 2 * last + (last + 1) * num_classes


def num_tensors(code: np.ndarray) -> np.ndarray:
    """Named parameter tensors ``int64[...]``, three for a convolution with BatchNorm.

    The linear layer has two.
    """
    return 3 + 9 * _num_blocks(code) + 3 + 2


def num_macs(
    code: np.ndarray, *, resolution: int = 224, num_classes: int = 1000
) -> np.ndarray:
    """Multiply-adds of one image ``int64[...]``: convolutions and the linear layer.

    Raises:
      ValueError: the resolution is not a positive multiple of 32.
    """
    return macs_in(np.int64, checked(code), resolution, num_classes)


def macs_in(dtype: Any, code: Codes, resolution: int, num_classes: int) -> Codes:
    """Multiply-adds of checked codes, counted in a type; they may wrap around in it.

    Raises:
      ValueError: as :func:`num_macs`.
    """
    if resolution < 32 or resolution % 32:
        raise ValueError(f"resolution must be a multiple of 32, got {resolution}")
    stem = STEP * (code[..., 0].astype(dtype) + 1)
    last = LAST_STEP * (code[..., -1].astype(dtype) + 1)
    side, stages = resolution // 2, stages_of(code, dtype)
    total = 27 * stem * side**2
    for repeats, stride, kernel, inputs, hidden, outputs in _blocks(stages):
        before, side = side**2, side // stride
        behind = kernel**2 * hidden + hidden * outputs
        total = total + repeats * (before * inputs * hidden + side**2 * behind)
    return total + side**2 * stages[-1].outputs * last + (last + 1) * num_classes


def cost(codes: np.ndarray) -> np.ndarray:
    """Relative time ``float64[...]``, to balance devices; not a latency.

    Layers run at the widest, so only the number of blocks counts.
    """
    return 4.0 + _num_blocks(codes)


def canonical(code: np.ndarray) -> np.ndarray:
    """Code int32[..., 32] of the same network whose absent stages have genes 0."""
    code = checked(code).astype(np.int32)
    for number, stride in enumerate(STRIDES):
        genes = code[..., 1 + GENES * number : 1 + GENES * (number + 1)]
        if stride == 1:
            genes *= genes[..., -1:] > 0
    return code


def graph(code: np.ndarray) -> Graph:
    """A chain of stages, with kernel, expansion, widths and number of blocks."""
    code = checked(code)
    nodes = ["input", f"conv 3x3 {STEP * (code[0] + 1)}"]
    for stride, stage in zip(STRIDES, stages_of(code), strict=True):
        kernel, expansion, _, out, middle, depth = map(int, stage)
        if depth:
            nodes.append(
                f"{2 * depth} blocks {kernel}x{kernel} x{expansion} {middle}, {out}"
                f"{' /2' if stride > 1 else ''}"
            )
    nodes += [f"conv 1x1 {LAST_STEP * (code[-1] + 1)}", "output"]
    return Graph(tuple(nodes), tuple((i, i + 1, "") for i in range(len(nodes) - 1)))
