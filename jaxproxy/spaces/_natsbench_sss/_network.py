"""The network of NATS-Bench's size space: five widths, an argument.

Weights are drawn for the widest network, and an architecture reads the first channels,
scaled as if drawn for its own. Every convolution, BatchNorm and rectifier is in a
``switch`` over its width with eight branches, so what is measured has exactly its
channels. Only the input of a convolution is as wide as the widest, with zeros behind:
over all architectures, a convolution between layers does 1.8 times the work and one
within a layer 1.4 times. One branch for each pair of widths, or for each layer of a
cell, would take minutes to compile. Kernels are measured in a switch over pairs of
widths that does nothing else.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxproxy.measure import Draws, Network, Tap, network_from_draws
from jaxproxy.spaces._layers import Conv, Convs
from jaxproxy.spaces._mode import Mode
from jaxproxy.spaces._natsbench_sss._codes import WIDTHS
from jaxproxy.spaces._natsbench_sss._layers import (
    EDGES,
    Head,
    Widths,
    cell,
    leave,
    reduction,
    stem,
)
from jaxproxy.types import Fidelity

_FULL_WIDTH, _STAGES = 16, 3


def network(fidelity: Fidelity, mode: Mode, *, num_classes: int = 10) -> Network:
    """Returns the network of the space at a fidelity; batches may have any size.

    Args:
      fidelity: all widths are multiplied by ``width / 16``, so 16 is the benchmark's
        network; ``cells`` is N, of which the benchmark has 1, and to which the time
        of compilation is proportional.
      mode: of its modules.
      num_classes: outputs.

    Raises:
      ValueError: as :func:`check_fidelity`.
    """
    check_fidelity(fidelity)
    return network_from_draws(
        lambda draws: DynamicTinyNet(
            narrowest=WIDTHS[0] * fidelity.width // _FULL_WIDTH,
            cells=fidelity.cells,
            num_classes=num_classes,
            mode=mode,
            draws=draws,
        )
    )


def check_fidelity(fidelity: Fidelity) -> None:
    """Raises ValueError for an odd width, for which some layer has half a channel.

    Or for images that two stages cannot halve.
    """
    if WIDTHS[0] * fidelity.width % _FULL_WIDTH:
        raise ValueError(
            f"natsbench_sss multiplies widths such as {WIDTHS[0]} by width / "
            f"{_FULL_WIDTH}, so width must be even, not {fidelity.width}"
        )
    if fidelity.resolution % 4:
        raise ValueError(
            "two stages of natsbench_sss halve the images, so resolution must be a "
            f"multiple of 4, not {fidelity.resolution}"
        )


class DynamicTinyNet(nnx.Module):
    """Three stages of N cells and, between them, two reductions.

    Gradients of the parameters are those of the scaled weights.

    References:
      Dong et al., "NATS-Bench", TPAMI 2021, arXiv:2009.00437.
    """

    def __init__(
        self,
        *,
        narrowest: int,
        cells: int,
        num_classes: int,
        mode: Mode,
        draws: Draws,
    ) -> None:
        """Draws the parameters for widths 1 to 8 times ``narrowest``."""
        choices = tuple(narrowest * (i + 1) for i in range(len(WIDTHS)))
        self.cells, self.widths = cells, Widths(choices, mode)
        widest, edges = choices[-1], len(EDGES)
        self.stem = Convs(1, 3, 3, widest, mode, draws)
        # In a stage's order: the two convolutions of a reduction, then its cells'.
        num = _STAGES * cells * edges + 2 * (_STAGES - 1)
        self.conv3 = Convs(num, 3, widest, widest, mode, draws)
        # A reduction's shortcut, whose BatchNorm is not used, and its first cell's.
        self.conv1 = Convs(2 * (_STAGES - 1), 1, widest, widest, mode, draws)
        self.head = Head(self.widths, num_classes, mode, draws)

    def __call__(self, x: Array, code: Array, tap: Tap) -> Array:
        """Logits float[B, K] of images float[B, R, R, 3] through a code int32[5]."""
        widths, convs = self.widths, list(self._convs3(code, tap))
        ones = list(map(Conv, *self._convs1(code, tap)))
        first = jax.tree.map(lambda leaf: leaf[0], self.stem.stacked())
        operand = tap("input", x, "input"), first
        x = widths.switch(tap, code[0], partial(stem, widths), operand)
        name, skip = "", None
        for stage, index in enumerate((0, 2, 4)):
            if stage:
                behind = f"cells.{stage * (self.cells + 1) - 1}"
                out = partial(leave, widths, name, behind)
                given = widths.switch(tap, code[index - 2], out, x)
                down, skip = ones[2 * stage - 2 : 2 * stage]
                operand = *given, convs.pop(0), convs.pop(0), down.kernel
                block = partial(reduction, widths, behind)
                x = widths.switch(tap, code[index - 1], block, operand)
            for number in range(self.cells):
                if number:
                    out = partial(leave, widths, name, None)
                    x, skip = widths.switch(tap, code[index], out, x), None
                name = f"cells.{stage * (self.cells + 1) + number}"
                here = [convs.pop(0) for _ in EDGES]
                stacked = jax.tree.map(lambda *rows: jnp.stack(rows), *here)
                before = code[index] if skip is None else code[index - 1]
                both = before, code[index]
                x = cell(widths, name, x, both, stacked, skip, tap)
        return widths.switch(tap, code[4], partial(self.head, name), x)

    def _convs3(self, code: Array, tap: Tap) -> list[Conv]:
        """All 3x3 convolutions behind the stem, their kernels measured."""
        names, pairs = [], []
        for stage, index in enumerate((0, 2, 4)):
            first = stage * (self.cells + 1)
            if stage:
                names += [f"cells.{first - 1}.conv_{part}.conv" for part in "ab"]
                middle = code[index - 1]
                pairs += [(code[index - 2], middle), (middle, middle)]
            for number in range(self.cells):
                names += [f"cells.{first + number}.{edge}.conv" for edge in EDGES]
                enters = stage > 0 and number == 0
                before = code[index - 1] if enters else code[index]
                for edge in EDGES:
                    source = before if edge in ("e01", "e02") else code[index]
                    pairs.append((source, code[index]))
        stacked = self.conv3.stacked()
        which = jnp.stack([a * len(WIDTHS) + b for a, b in pairs])
        kernels = self.widths.measured(names, stacked.kernel, which, tap)
        return list(map(Conv, *stacked._replace(kernel=kernels)))

    def _convs1(self, code: Array, tap: Tap) -> Conv:
        """All 1x1 convolutions, stacked, their kernels measured."""
        names, pairs, num = [], [], len(WIDTHS)
        for stage, index in ((1, 2), (2, 4)):
            first = stage * (self.cells + 1)
            names += [f"cells.{first - 1}.down", f"cells.{first}.e03.conv"]
            before, middle, here = (code[index + i] for i in (-2, -1, 0))
            skip = jnp.where(middle == here, num * num, middle * num + here)
            pairs += [before * num + middle, skip]
        stacked = self.conv1.stacked()
        kernels = self.widths.measured(names, stacked.kernel, jnp.stack(pairs), tap)
        return stacked._replace(kernel=kernels)
