"""NAS-Bench-Macro: a chain of eight blocks, each one of three; the model of a space.

A code holds the blocks of eight layers, ``int32[8]`` with values that index
:data:`BLOCKS`. The network, for CIFAR-10: a 3x3 convolution to 32 channels with
BatchNorm and ReLU; stages of 2, 3 and 3 layers, whose first layer has stride 2 and
doubles the channels; a 1x1 convolution to 1,280 channels with BatchNorm and ReLU;
global average pooling and a linear layer. An identity whose layer changes the shape is
a 1x1 convolution with BatchNorm.

This file is what a new space needs, in the order in which one writes it: strings,
exact counts, the network, and the record of them all. Except for the string functions,
functions of codes take one or any array of them, genes last, and drop that axis.

References:
  Su et al., "Prioritized architecture sampling with Monte-Carlo tree search", CVPR
  2021, arXiv:2103.11922; shapes are those of its published training code.
"""

import re
from functools import cache, partial
from typing import NamedTuple

import jax
import numpy as np
from flax import nnx
from jax import Array

from jaxproxy.measure import Draws, Network, Tap, network_from_draws, scan, switch
from jaxproxy.options import quoted
from jaxproxy.spaces._codes import all_codes, check_one, checked
from jaxproxy.spaces._layers import Conv, ConvBN, Convs, Linear, tapped_conv_bn
from jaxproxy.spaces._mode import Mode
from jaxproxy.spaces._records import Counts, Graph, Sizes
from jaxproxy.spaces._space import Space
from jaxproxy.spaces._strings import listed_strings
from jaxproxy.types import Fidelity

BLOCKS = ("identity", "MB3_K3", "MB6_K5")
KINDS = ((0, 0), (3, 3), (6, 5))
"""Expansion and kernel size of each block; none for the identity."""
STAGES = (2, 3, 3)
NUM_LAYERS = sum(STAGES)
STEM_WIDTH, HEAD_WIDTH = 32, 1280

_PRESETS = {
    "paper": Fidelity(width=32, cells=1, batch_size=64, resolution=64),
    "fast": Fidelity(width=8, cells=1, batch_size=8, resolution=16),
}


def nasbench_macro() -> Space:
    """Returns NAS-Bench-Macro: eight mobile blocks or identities, 6,561 architectures.

    Parameters and multiply-adds are those of the trained network, for CIFAR-10.
    """
    return Space(
        name="nasbench_macro",
        choices=(len(BLOCKS),) * NUM_LAYERS,
        to_str=to_str,
        from_str=from_str,
        strings=listed_strings((len(BLOCKS),) * NUM_LAYERS, to_str),
        network=network,
        counts=Counts(num_params, num_macs, num_tensors),
        enumerate=enumerate_codes,
        cost=lambda codes: num_macs(codes).astype(float),
        graph=graph,
        presets=_PRESETS,
        sizes=Sizes.of_images(2, repeats=False),
        check_fidelity=check_fidelity,
    )


def _checked(code: np.ndarray) -> np.ndarray:
    """Returns codes [..., 8]; ValueError if wrong."""
    return checked(code, NUM_LAYERS, BLOCKS, "nasbench_macro", "blocks")


def to_str(code: np.ndarray) -> str:
    """Returns the official string of one code ``[8]``, as ``"01201201"``."""
    check_one(code, NUM_LAYERS)
    return "".join(map(str, _checked(code)))


def from_str(arch: str) -> np.ndarray:
    """Returns the code ``int32[8]`` of a string, perhaps with dashes between digits.

    Raises:
      ValueError: not eight digits, or one that is not 0, 1 or 2.
    """
    arch = re.sub(r"(?<=\d)-(?=\d)", "", arch.strip())
    if len(arch) != NUM_LAYERS:
        hint = "; a spreadsheet may have dropped zeros" if arch.isdigit() else ""
        raise ValueError(
            f"{quoted(arch)} has {len(arch)} digits, not {NUM_LAYERS} as in "
            f"'01201201'{hint}"
        )
    if wrong := re.sub("[012]", "", arch):
        named = ", ".join(f"{i} ({name})" for i, name in enumerate(BLOCKS))
        raise ValueError(f"unknown block {wrong[0]!r} in {arch!r}; choose from {named}")
    return np.array([int(digit) for digit in arch], np.int32)


@cache
def enumerate_codes() -> np.ndarray:
    """Returns all codes ``int32[6561, 8]``, read-only, in the order of strings."""
    return all_codes(len(BLOCKS), NUM_LAYERS)


class _Shape(NamedTuple):
    """Of a layer; ``scale`` is the pixels of an image's side over those behind it."""

    inputs: int
    outputs: int
    stride: int
    scale: int


def _shapes() -> list[_Shape]:
    shapes, width, scale = [], STEM_WIDTH, 1
    for num in STAGES:
        scale *= 2
        shapes.append(_Shape(width, 2 * width, 2, scale))
        width *= 2
        shapes += [_Shape(width, width, 1, scale)] * (num - 1)
    return shapes


def _summed(code: np.ndarray, table: list[list[int]]) -> np.ndarray:
    """Returns the sum over layers int64[...] of table[layer][block]."""
    layers = np.arange(NUM_LAYERS)
    return np.array(table)[layers, _checked(code)].sum(-1)


def num_params(code: np.ndarray) -> np.ndarray:
    """Returns trainable parameters ``int64[...]`` of the benchmark's network."""

    def block(shape: _Shape, expansion: int, size: int) -> int:
        if not expansion:
            same = shape.stride == 1
            return 0 if same else shape.inputs * shape.outputs + 2 * shape.outputs
        hidden = expansion * shape.inputs
        ends = hidden * (shape.inputs + shape.outputs)
        return ends + size**2 * hidden + 4 * hidden + 2 * shape.outputs

    shapes = _shapes()
    table = [[block(shape, *kind) for kind in KINDS] for shape in shapes]
    stem = 27 * STEM_WIDTH + 2 * STEM_WIDTH
    head = HEAD_WIDTH * (shapes[-1].outputs + 2) + (HEAD_WIDTH + 1) * 10
    return stem + _summed(code, table) + head


def num_tensors(code: np.ndarray) -> np.ndarray:
    """Returns parameter tensors ``int64[...]``: three a convolution with BatchNorm."""
    table = [[3 * (shape.stride > 1), 9, 9] for shape in _shapes()]
    return 3 + _summed(code, table) + 3 + 2


def num_macs(code: np.ndarray, *, resolution: int = 32) -> np.ndarray:
    """Returns multiply-adds of an image ``int64[...]``: convolutions, linear layer.

    Raises:
      ValueError: the resolution is not a positive multiple of 8.
    """
    if resolution < 8 or resolution % 8:
        raise ValueError(f"resolution must be a multiple of 8, got {resolution}")

    def block(shape: _Shape, expansion: int, size: int) -> int:
        after = (resolution // shape.scale) ** 2
        before, hidden = after * shape.stride**2, expansion * shape.inputs
        if not expansion:
            return (shape.stride > 1) * after * shape.inputs * shape.outputs
        ends = before * shape.inputs * hidden + after * hidden * shape.outputs
        return ends + after * hidden * size**2

    shapes = _shapes()
    table = [[block(shape, *kind) for kind in KINDS] for shape in shapes]
    last = (resolution // shapes[-1].scale) ** 2 * shapes[-1].outputs * HEAD_WIDTH
    stem, head = 27 * STEM_WIDTH * resolution**2, (HEAD_WIDTH + 1) * 10
    return stem + _summed(code, table) + last + head


def graph(code: np.ndarray) -> Graph:
    """Returns a chain of blocks, with their channels."""
    pairs = zip(_checked(code), _shapes(), strict=True)
    blocks = (f"{BLOCKS[gene]} {shape.outputs}" for gene, shape in pairs)
    nodes = ("input", f"conv {STEM_WIDTH}", *blocks, f"conv {HEAD_WIDTH}", "output")
    return Graph(nodes, tuple((i, i + 1, "") for i in range(len(nodes) - 1)))


def network(fidelity: Fidelity, mode: Mode) -> Network:
    """Returns the network at a fidelity; batches may have any size.

    Args:
      fidelity: ``width`` is the stem's channels, 32 in the benchmark; all others are
        multiplied alike. ``cells`` is 1: every layer has a gene.
      mode: of its modules.
    """
    check_fidelity(fidelity)
    return network_from_draws(lambda draws: MacroNet(fidelity.width, mode, draws))


def check_fidelity(fidelity: Fidelity) -> None:
    """Raises ValueError for repeated cells."""
    if fidelity.cells != 1:
        raise ValueError(
            f"nasbench_macro repeats no cells; cells must be 1, not {fidelity.cells}"
        )


class MacroNet(nnx.Module):
    """Stem, three stages of mobile blocks, and a wide head."""

    def __init__(self, width: int, mode: Mode, draws: Draws) -> None:
        """Draws the parameters of all blocks, for ``width`` channels of the stem."""
        self.mode = mode
        self.stem = ConvBN(3, 3, width, mode, draws)
        entries, others = [], []
        for num in STAGES:
            entries.append(_Layers(1, width, 2 * width, mode, draws))
            width *= 2
            others.append(_Layers(num - 1, width, width, mode, draws))
        self.entries, self.others = nnx.List(entries), nnx.List(others)
        wide = width * HEAD_WIDTH // (STEM_WIDTH * 2 ** len(STAGES))
        self.out = ConvBN(1, width, wide, mode, draws)
        self.classifier = Linear(wide, 10, mode, draws)

    def __call__(self, x: Array, code: Array, tap: Tap) -> Array:
        """Returns logits float[B, 10] of images float[B, R, R, 3], a code int32[8]."""
        x = tap("input", x, "input")
        x = self.mode.rescaled("stem", self.stem("stem", x, tap), tap)
        x = tap("stem", tap("stem.relu", jax.nn.relu(x), "relu"), "stem")
        first = 0
        stages = zip(STAGES, self.entries, self.others, strict=True)
        for num, entry, others in stages:
            x = entry(first, x, code[first : first + 1], tap)
            x = others(first + 1, x, code[first + 1 : first + num], tap)
            first += num
        x = tap("out.relu", jax.nn.relu(self.out("out", x, tap)), "relu")
        x = tap("features", x, "features")
        return self.classifier("classifier", x.mean((1, 2)), tap)


class _Layers(nnx.Module):
    """Layers of equal shape, each with the parameters of all blocks."""

    def __init__(
        self, num: int, inputs: int, outputs: int, mode: Mode, draws: Draws
    ) -> None:
        self.mode, self.stride = mode, 1 if inputs == outputs else 2
        self.down = Convs(num, 1, inputs, outputs, mode, draws)
        self.mobile = nnx.List(
            Convs(num, *shape, mode, draws)
            for expansion, size in KINDS[1:]
            for shape in (
                (1, inputs, expansion * inputs),
                (size, 1, expansion * inputs),
                (1, expansion * inputs, outputs),
            )
        )

    def __call__(self, first: int, x: Array, code: Array, tap: Tap) -> Array:
        # Equal layers of a stage are one scan; a layer is a switch over its blocks.
        rows = code, self.down.stacked(), [convs.stacked() for convs in self.mobile]
        names = [f"layers.{first + i}" for i in range(len(code))]
        if self.stride == 1:
            return scan(tap, names, partial(self._layer, ""), x, rows)
        row = jax.tree.map(lambda leaf: leaf[0], rows)
        return self._layer(f"{names[0]}.", x, row, tap)

    def _layer(
        self, prefix: str, x: Array, row: tuple[Array, Conv, list[Conv]], tap: Tap
    ) -> Array:
        gene, down, convs = row

        def identity(x: Array, tap: Tap) -> Array:
            if self.stride == 1:
                return tap(f"{prefix}skip", x, "skip")
            return tapped_conv_bn(f"{prefix}down", x, down, tap, self.mode, stride=2)

        halves = convs[:3], convs[3:]
        blocks = [identity, *(partial(self._mobile, prefix, half) for half in halves)]
        x = switch(tap, gene, blocks, x, remat=True)
        x = self.mode.rescaled(f"{prefix}output", x, tap)
        return tap(f"{prefix}output", x, "cell")

    def _mobile(self, prefix: str, convs: list[Conv], x: Array, tap: Tap) -> Array:
        """Inverted residual: wider, depthwise, narrower; a shortcut if shapes agree."""
        expand, depthwise, project = convs
        y = tapped_conv_bn(f"{prefix}expand", x, expand, tap, self.mode)
        y = tap(f"{prefix}expand.relu", jax.nn.relu(y), "relu")
        y = tapped_conv_bn(
            f"{prefix}depthwise", y, depthwise, tap, self.mode,
            stride=self.stride, groups=y.shape[-1],
        )  # fmt: skip
        y = tap(f"{prefix}depthwise.relu", jax.nn.relu(y), "relu")
        y = tapped_conv_bn(f"{prefix}project", y, project, tap, self.mode)
        return x + y if self.stride == 1 else y
