"""Strings of the MobileNetV2 space, in the format of ZenNAS."""

import re

import numpy as np

from jaxproxy.options import quoted
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
    SUB_LAYERS,
    WIDEST,
    checked,
    stages_of,
)

_EXAMPLE = (
    "SuperConvK3BNRELU(3,16,2,1)SuperResIDWE1K7(16,40,2,40,1)"
    "SuperResIDWE1K7(40,64,2,64,1)SuperResIDWE4K7(64,96,2,96,5)"
    "SuperResIDWE2K7(96,224,2,224,5)SuperConvK1BNRELU(224,2048,1,1)"
)
# Of the text of a whole network, in which ZenNAS writes every layer.
_LAYERS = {
    *("ConvKX", "ConvDW", "BN", "RELU", "ResBlock", "ResBlockProj", "Sequential"),
    *("AdaptiveAvgPool", "Linear", "Identity", "MaxPool", "SE", "Swish", "PlainNet"),
    *("MultiSumBlock", "Flatten"),
}


def to_str(code: np.ndarray) -> str:
    """String of one code ``[32]``.

    An absent stage is left out if its genes are 0, and has 0 sub-layers otherwise.
    """
    if np.ndim(code) != 1:
        raise ValueError(
            f"to_str takes one code [32], got shape {list(np.shape(code))}"
        )
    code = checked(code)
    words = [f"SuperConvK3BNRELU(3,{STEP * (code[0] + 1)},2,1)"]
    stages = stages_of(code)
    for number, (stride, stage) in enumerate(zip(STRIDES, stages, strict=True)):
        genes = code[1 + GENES * number :][:GENES]
        kernel, expansion, inputs, _, middle, depth = map(int, stage)
        if genes.any() or stride > 1:
            out = STEP * (genes[2] + 1)
            words.append(
                f"SuperResIDWE{expansion}K{kernel}"
                f"({inputs},{out},{stride},{middle},{depth})"
            )
    last = LAST_STEP * (code[-1] + 1)
    return "".join(words) + f"SuperConvK1BNRELU({stages[-1].outputs},{last},1,1)"


def from_str(arch: str) -> np.ndarray:
    """Code ``int32[32]`` of a string such as ZenNAS's, stages of stride 1 optional.

    Raises:
      ValueError: not such a string, a width, kernel, expansion, stride or depth that
        the space does not have, or channels that do not fit those before.
    """
    # ZenNAS writes a name of its own before the numbers of a block, and lines.
    arch = re.sub(r"\((?:uuid)?[0-9a-f]{16,}\|", "(", "".join(arch.split()))
    block = r"[A-Za-z0-9]+\([^()]*\)"
    # As a whole first: a search begins at every letter, a long word's time its square.
    is_chain = re.fullmatch(f"(?:{block})+", arch)
    words = re.findall(block, arch) if is_chain else []
    _check_layers(arch)
    if len(words) < 3:
        raise ValueError(f"{quoted(arch)} is not a chain of blocks as in {_EXAMPLE!r}")
    code = np.zeros(len(CHOICES), np.int32)
    stem = _numbers(arch, words[0], r"SuperConvK3BNRELU", "3,WIDTH,2,1")
    _require(arch, words[0], "", stem[0::2] == [3, 2] and stem[3] == 1, "3,WIDTH,2,1")
    code[0] = _gene(arch, words[0], "width", stem[1], _multiples(STEP, STEM))
    width, stage = stem[1], 0
    for word in words[1:-1]:
        stage, width = _read_stage(arch, word, stage, width, code)
    _require(arch, words[-1], "before it, ", 2 not in STRIDES[stage:],
             "four stages of stride 2")  # fmt: skip
    last = _numbers(arch, words[-1], r"SuperConvK1BNRELU", "IN,WIDTH,1,1")
    _require(arch, words[-1], "", last[2:] == [1, 1], "IN,WIDTH,1,1")
    _require(arch, words[-1], "input channels ", last[0] == width, str(width))
    code[-1] = _gene(arch, words[-1], "width", last[1], _multiples(LAST_STEP, LAST))
    return code


def _check_layers(arch: str) -> None:
    """Raises ValueError for the text of a whole network, layer by layer."""
    for kind in re.findall(r"\b([A-Za-z]\w*)[({]", arch):
        if kind in _LAYERS:
            raise ValueError(
                f"{kind!r} is a layer: {quoted(arch)} is the full text of a network, "
                "of which only the chain of super-blocks is read that ZenNAS' search "
                f"writes to best_structure.txt, as in {_EXAMPLE!r}"
            )


def _read_stage(
    arch: str, word: str, stage: int, width: int, code: np.ndarray
) -> tuple[int, int]:
    """Sets the genes of a stage; gives the number of the next, and the width."""
    numbers = _numbers(arch, word, r"SuperResIDWE\d+K\d+", "IN,OUT,STRIDE,MIDDLE,DEPTH")
    inputs, out, stride, middle, depth = numbers
    expansion, kernel = map(int, re.findall(r"\d+", word.partition("(")[0]))
    while stage < len(STRIDES) and STRIDES[stage] != stride and STRIDES[stage] == 1:
        stage += 1
    allowed = STRIDES[stage : stage + 1]
    _require(arch, word, "stride ", (stride,) == allowed, f"{STRIDES} in this order")
    _require(arch, word, "input channels ", inputs == width, str(width))
    widths = _multiples(STEP, WIDEST[stage])
    depths = range(int(stride > 1), SUB_LAYERS + 1)
    code[1 + GENES * stage : 1 + GENES * (stage + 1)] = [
        _gene(arch, word, "kernel", kernel, KERNELS),
        _gene(arch, word, "expansion", expansion, EXPANSIONS),
        _gene(arch, word, "width", out, widths),
        _gene(arch, word, "bottleneck", middle, widths),
        _gene(arch, word, "number of sub-layers", depth, depths),
    ]
    return stage + 1, out if depth else width


def _multiples(step: int, widest: int) -> range:
    return range(step, widest + 1, step)


def _numbers(arch: str, word: str, name: str, fields: str) -> list[int]:
    kind, _, rest = word.partition("(")
    inside = rest.removesuffix(")")
    number = r"(0|[1-9]\d*)"
    pattern = ",".join([number] * (fields.count(",") + 1))
    fits = re.fullmatch(name, kind) and re.fullmatch(pattern, inside)
    _require(
        arch, word, "", bool(fits), f"{name.replace(chr(92) + 'd+', '#')}({fields})"
    )
    return [int(n) for n in inside.split(",")]


def _gene(
    arch: str, word: str, what: str, value: int, choices: tuple[int, ...] | range
) -> int:
    if value not in choices:
        raise ValueError(
            f"unknown {what} {value} in {quoted(word)} of {quoted(arch)}; choose from "
            f"{list(choices)}"
        )
    return choices.index(value)


def _require(arch: str, word: str, what: str, fits: bool, needed: str) -> None:
    if not fits:
        raise ValueError(
            f"{quoted(word)} in {quoted(arch)} does not fit: {what}must be {needed}"
        )
