"""Strings of many codes of the MobileNetV2 space at once, by tables of their pieces.

A stage is ``SuperResIDWE1K7(16`` and ``,40,2,40,1)``: kernel, expansion and the width
that comes in, 480 texts, and the rest, up to 9,600 texts.
"""

from collections.abc import Sequence
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np

from jaxproxy.spaces._mobilenetv2._codes import (
    CHOICES,
    EXPANSIONS,
    GENES,
    KERNELS,
    LAST,
    LAST_STEP,
    STEM,
    STEP,
    STRIDES,
    WIDEST,
    stages_of,
)

_WIDTHS = max(WIDEST) // STEP


class _Texts(NamedTuple):
    """Texts of a list of choices, and the genes of a text without its ends."""

    texts: list[str]
    genes: dict[str, tuple[int, ...]]


@cache
def _stem() -> _Texts:
    texts = [f"SuperConvK3BNRELU(3,{STEP * (g + 1)},2,1)" for g in range(STEM // STEP)]
    return _Texts(texts, {text[:-1]: (gene,) for gene, text in enumerate(texts)})


@cache
def _heads() -> _Texts:
    """By kernel, expansion and the width that comes in; the last is of no stage."""
    genes = [*product(range(len(KERNELS)), range(len(EXPANSIONS)), range(_WIDTHS))]
    texts = [
        f"SuperResIDWE{EXPANSIONS[e]}K{KERNELS[k]}({STEP * (width + 1)}"
        for k, e, width in genes
    ]
    return _Texts([*texts, ""], dict(zip(texts, genes, strict=True)))


@cache
def _rests(stage: int) -> _Texts:
    """By output, bottleneck and sub-layers of a stage; the last is of no stage."""
    *_, widths, middles, depths = CHOICES[: 1 + GENES * (stage + 1)]
    stride = STRIDES[stage]
    genes = [*product(range(widths), range(middles), range(depths))]
    texts = [
        f",{STEP * (o + 1)},{stride},{STEP * (m + 1)},{d + int(stride > 1)})"
        for o, m, d in genes
    ]
    keys = (text[1:-1] for text in texts)
    return _Texts([*texts, ""], dict(zip(keys, genes, strict=True)))


@cache
def _ends() -> _Texts:
    """By the width that comes in and the width of the last layer."""
    genes = [*product(range(_WIDTHS), range(LAST // LAST_STEP))]
    texts = [
        f"SuperConvK1BNRELU({STEP * (w + 1)},{LAST_STEP * (g + 1)},1,1)"
        for w, g in genes
    ]
    keys = (text[:-1] for text in texts)
    return _Texts(texts, dict(zip(keys, genes, strict=True)))


def write(codes: np.ndarray) -> list[str]:
    """Strings of codes int[N, 32]."""
    codes = codes.astype(np.int64)
    pieces = [_picked(_stem().texts, codes[:, 0])]
    stages = stages_of(codes)
    for number, stride in enumerate(STRIDES):
        genes = codes[:, 1 + GENES * number :][:, :GENES]
        kernel, expansion, out, middle, depth = genes.T
        _, _, _, middles, depths = CHOICES[1 + GENES * number :][:GENES]
        inputs = stages[number].inputs // STEP - 1
        heads = (kernel * len(EXPANSIONS) + expansion) * _WIDTHS + inputs
        rests = (out * middles + middle) * depths + depth
        if stride == 1:  # a stage without sub-layers and other genes is not written
            written = genes.any(1)
            heads, rests = (np.where(written, rank, -1) for rank in (heads, rests))
        pieces += [_picked(_heads().texts, heads), _picked(_rests(number).texts, rests)]
    width = stages[-1].outputs // STEP - 1
    pieces.append(_picked(_ends().texts, width * (LAST // LAST_STEP) + codes[:, -1]))
    return [*map("".join, zip(*pieces, strict=True))]


def _picked(texts: list[str], ranks: np.ndarray) -> list[str]:
    return [texts[rank] for rank in ranks.tolist()]


def read(archs: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Codes int32[N, 32] of strings, and which were read, bool[N]."""
    none = (0,) * len(CHOICES)
    codes = [_code(arch) for arch in archs]
    known = np.array([code is not None for code in codes], bool)
    rows = np.array([none if code is None else code for code in codes], np.int32)
    return rows.reshape(-1, len(CHOICES)), known


def _code(arch: str) -> list[int] | None:
    """Returns the genes of a string as it is written here; None for any other."""
    words = arch.split(")")
    stem, end = _stem().genes.get(words[0]), _ends().genes.get(words[-2:][0])
    if stem is None or end is None or words[-1]:
        return None
    code, width, stage = [*stem], stem[0], 0
    for word in words[1:-2]:
        name, _, numbers = word.partition(",")
        head, rest = _heads().genes.get(name), None
        while stage < len(STRIDES):
            rest = _rests(stage).genes.get(numbers)
            if rest is not None or STRIDES[stage] > 1:
                break
            code += (0,) * GENES  # this stage is absent
            stage += 1
        if head is None or rest is None or head[2] != width:
            return None
        code += (*head[:2], *rest)
        width = rest[0] if rest[2] or STRIDES[stage] > 1 else width
        stage += 1
    code += (0,) * (GENES * (len(STRIDES) - stage))
    whole = end[0] == width and not any(stride > 1 for stride in STRIDES[stage:])
    return [*code, end[1]] if whole else None
