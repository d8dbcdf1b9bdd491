"""The size space of NATS-Bench on the host: strings, order, exact counts.

A code holds five widths, ``int32[5]`` with values that index :data:`WIDTHS`. The
network: a 3x3 convolution to the first width; N cells of the first width; a residual
reduction block to the second; N cells of the third; a reduction to the fourth; N cells
of the fifth, where N is 1 in the benchmark; BatchNorm, ReLU, global average pooling and
a linear layer. All cells are
``|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+``
``|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|``; where a cell changes the width, its
skip is a 1x1 convolution with BatchNorm, without a ReLU.

Except for the string functions, functions take one code or any array of codes, genes
last, and drop that axis.

References:
  Dong et al., "NATS-Bench", TPAMI 2021, arXiv:2009.00437.
"""

import functools
import re

import numpy as np

from jaxproxy.options import quoted
from jaxproxy.spaces._codes import all_codes, check_one, checked
from jaxproxy.spaces._records import Graph
from jaxproxy.spaces._strings import TextTable

WIDTHS = tuple(range(8, 65, 8))
NUM_LAYERS = 5
"""Cell, reduction, cell, reduction, cell."""

_EXAMPLE = "64:8:24:48:16"
_NUMBER = re.compile(r"0|[1-9]\d{0,8}", re.ASCII)
# Multiply-adds that take as long as what does not depend on the widths.
_FIXED_COST = 1e7


def _channels(code: np.ndarray) -> np.ndarray:
    """Widths int64[5, ...] of codes [..., 5]; ValueError if wrong."""
    code = checked(code, NUM_LAYERS, WIDTHS, "natsbench_sss", "genes")
    return np.moveaxis(np.array(WIDTHS)[code], -1, 0)


def to_str(code: np.ndarray) -> str:
    """Official string of one code ``[5]``, as ``"64:8:24:48:16"``."""
    check_one(code, NUM_LAYERS)
    return ":".join(map(str, _channels(code)))


def width_tables() -> list[TextTable]:
    """The texts of the five widths, which ``:`` joins to a string."""
    return [TextTable((len(WIDTHS),), lambda gene: str(WIDTHS[gene]))] * NUM_LAYERS


def from_str(arch: str) -> np.ndarray:
    """Code ``int32[5]`` of an official string, or of an official number.

    Raises:
      ValueError: not five widths, or one that is not in :data:`WIDTHS`; a number that
        is too large.
    """
    arch = arch.strip()
    if _NUMBER.fullmatch(arch):
        codes = enumerate_codes()
        if int(arch) >= len(codes):
            raise ValueError(f"official numbers are 0 to {len(codes) - 1}, not {arch}")
        return codes[int(arch)].copy()
    words = arch.split(":")
    if len(words) != NUM_LAYERS:
        raise ValueError(
            f"{quoted(arch)} has {len(words)} widths, not {NUM_LAYERS} as in "
            f"{_EXAMPLE!r}"
        )
    names = [str(width) for width in WIDTHS]
    for word in words:
        if word not in names:
            raise ValueError(
                f"unknown width {quoted(word)} in {quoted(arch)}; choose from {names}"
            )
    return np.array([names.index(word) for word in words], np.int32)


@functools.cache
def enumerate_codes() -> np.ndarray:
    """All codes ``int32[32768, 5]``, read-only, in the official index order."""
    return all_codes(len(WIDTHS), NUM_LAYERS)


def num_params(
    code: np.ndarray, *, cells: int = 1, num_classes: int = 10
) -> np.ndarray:
    """Trainable parameters ``int64[...]``, equal to the benchmark's."""
    widths = _channels(code)

    def cell(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        projection = (a != b) * (a * b + 2 * b)
        return 18 * a * b + 27 * b * b + 10 * b + projection

    def reduction(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return 9 * a * b + 9 * b * b + 4 * b + a * b

    first, second, third, fourth, last = widths
    between = reduction(first, second) + reduction(third, fourth)
    entries = cell(first, first) + cell(second, third) + cell(fourth, last)
    others = sum((cells - 1) * cell(b, b) for b in (first, third, last))
    head = 2 * last + (last + 1) * num_classes
    return 27 * first + 2 * first + entries + others + between + head


def num_tensors(code: np.ndarray, *, cells: int = 1) -> np.ndarray:
    """Named parameter tensors ``int64[...]`` of the benchmark's network.

    Three for every convolution with its BatchNorm, one for the shortcut of a
    reduction, two each for the last BatchNorm and the classifier.
    """
    _, second, third, fourth, last = _channels(code)
    projections = 3 * ((second != third).astype(int) + (fourth != last))
    return 3 + 3 * cells * 5 * 3 + projections + 2 * 7 + 2 + 2


def num_macs(
    code: np.ndarray,
    *,
    cells: int = 1,
    resolution: int = 32,
    num_classes: int = 10,
) -> np.ndarray:
    """Multiply-adds of one image ``int64[...]``.

    Convolutions and the linear layer with its bias count, as in NAS-Bench-201.

    Raises:
      ValueError: the resolution is not a positive multiple of 4.
    """
    if resolution < 4 or resolution % 4:
        raise ValueError(f"resolution must be a multiple of 4, got {resolution}")
    first, second, third, fourth, last = _channels(code)

    def cell(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        one = 18 * a * b + 27 * b * b + (a != b) * a * b
        return one + (cells - 1) * 45 * b * b

    def reduction(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return 9 * a * b + 9 * b * b + a * b

    pixels = [(resolution // scale) ** 2 for scale in (1, 2, 4)]
    stages = [
        27 * first + cell(first, first),
        reduction(first, second) + cell(second, third),
        reduction(third, fourth) + cell(fourth, last),
    ]
    body = sum(size * stage for size, stage in zip(pixels, stages, strict=True))
    return body + (last + 1) * num_classes


def cost(codes: np.ndarray) -> np.ndarray:
    """Relative time ``float64[...]``, to balance devices; not a latency."""
    return _FIXED_COST + num_macs(codes)


def graph(code: np.ndarray) -> Graph:
    """A chain of layers, with their widths."""
    first, second, third, fourth, last = _channels(code)
    nodes = (
        "input",
        f"conv {first}",
        f"cell {first}",
        f"reduction {second}",
        f"cell {third}",
        f"reduction {fourth}",
        f"cell {last}",
        "output",
    )
    return Graph(nodes, tuple((i, i + 1, "") for i in range(len(nodes) - 1)))
