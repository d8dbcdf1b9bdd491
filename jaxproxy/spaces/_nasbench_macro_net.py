"""The network of NAS-Bench-Macro: eight blocks, an argument.

A layer is a ``switch`` over its three blocks; equal layers of a stage are a ``scan``.
"""

from functools import partial

import jax
from flax import nnx
from jax import Array

from jaxproxy.measure import (
    Draws,
    Network,
    Tap,
    drawn,
    network_from_tapped,
    scan,
    switch,
)
from jaxproxy.spaces._layers import Conv, ConvBN, Convs, Linear, Mode, tapped_conv_bn
from jaxproxy.spaces._nasbench_macro import HEAD_WIDTH, KINDS, STAGES, STEM_WIDTH
from jaxproxy.types import Fidelity


def network(
    fidelity: Fidelity,
    *,
    num_classes: int = 10,
    weights: str = "kaiming",
    norm: str = "batch",
    plain: bool = False,
) -> Network:
    """Network of the space at a fidelity; batches may have any size.

    Args:
      fidelity: ``width`` is the stem's channels, 32 in the benchmark; all others are
        multiplied alike. ``cells`` is 1: every layer has a gene.
      num_classes: outputs.
      weights: name in ``setups.WEIGHTS``.
      norm: name in ``setups.NORMS``.
      plain: of convolutions that can be differentiated twice.

    Raises:
      ValueError: repeated cells.
    """
    if fidelity.cells != 1:
        raise ValueError(
            f"nasbench_macro repeats no cells; cells must be 1, not {fidelity.cells}"
        )
    return network_from_tapped(
        drawn(
            lambda draws: MacroNet(
                width=fidelity.width,
                num_classes=num_classes,
                mode=Mode(weights, norm, plain, portable=plain),
                draws=draws,
            )
        )
    )


class MacroNet(nnx.Module):
    """Stem, three stages of mobile blocks, and a wide head.

    References:
      Su et al., CVPR 2021, arXiv:2103.11922.
    """

    def __init__(
        self, *, width: int, num_classes: int, mode: Mode, draws: Draws
    ) -> None:
        """Draws the parameters of all blocks."""
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
        self.classifier = Linear(wide, num_classes, mode, draws)

    def __call__(self, x: Array, code: Array, tap: Tap) -> Array:
        """Logits float[B, K] of images float[B, R, R, 3] through a code int32[8]."""
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
            [
                Convs(num, *shape, mode, draws)
                for expansion, size in KINDS
                if expansion
                for shape in (
                    (1, inputs, expansion * inputs),
                    (size, 1, expansion * inputs),
                    (1, expansion * inputs, outputs),
                )
            ]
        )

    def __call__(self, first: int, x: Array, code: Array, tap: Tap) -> Array:
        """Output of layers ``first``, ``first + 1``... with blocks int32[n]."""
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
