"""The network of the MobileNetV2 space: kernels, expansions, widths, depths as data.

All architectures are one program. A resolution has one block of stride 2, and a loop
over all others that it may have: those that an architecture lacks are skipped. Every
block has the width of the widest, with zeros for the channels that are not there: over
random architectures that is 5 times their multiply-adds.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxproxy.measure import (
    Draws,
    Network,
    Tap,
    network_from_draws,
    scan,
    switch,
)
from jaxproxy.spaces._layers import Convs, Linear
from jaxproxy.spaces._mobilenetv2._codes import (
    EXPANSIONS,
    GENES,
    KERNELS,
    LAST,
    LAST_STEP,
    STEM,
    STEP,
    STRIDES,
    WIDEST,
)
from jaxproxy.spaces._mobilenetv2._layers import (
    Block,
    Layers,
    block,
    conv_bn,
    live,
    rescaled_draw,
)
from jaxproxy.spaces._mode import Mode
from jaxproxy.types import Fidelity

_FULL_WIDTH = 16
_LEVELS = ((0,), (1,), (2, 3), (4, 5))
"""Stages of each resolution."""


def network(
    fidelity: Fidelity, mode: Mode, *, num_classes: int = 1000, skips: bool = True
) -> Network:
    """Returns the network of the space at a fidelity; batches may have any size.

    Args:
      fidelity: all widths are multiplied by ``width / 16``, so 16 is the network that
        is trained; a stage has at most ``cells`` sub-layers, so that 5 is all.
      mode: of its modules.
      num_classes: outputs.
      skips: whether a block adds its input to an output of the same shape.

    Raises:
      ValueError: as :func:`check_fidelity`.
    """
    check_fidelity(fidelity)
    unit = STEP * fidelity.width // _FULL_WIDTH

    def make(draws: Draws) -> DynamicMobileNet:
        return DynamicMobileNet(
            unit=unit,
            cells=fidelity.cells,
            num_classes=num_classes,
            skips=skips,
            mode=mode,
            draws=draws,
        )

    def choose(variables: dict, code: Array) -> dict:
        params = _chosen(variables["params"], code, unit, fidelity.cells, mode.weights)
        return {**variables, "params": params}

    return network_from_draws(make)._replace(choose=choose)


def check_fidelity(fidelity: Fidelity) -> None:
    """Raises ValueError for an odd width, for which some layer has half a channel.

    Or for a resolution that is no multiple of 32.
    """
    if STEP * fidelity.width % _FULL_WIDTH:
        raise ValueError(
            f"mobilenetv2 multiplies widths such as {STEP} by width / {_FULL_WIDTH}, "
            f"so width must be even, not {fidelity.width}"
        )
    if fidelity.resolution % 32:
        raise ValueError(
            "mobilenetv2 halves images five times, so resolution must be a multiple of "
            f"32, not {fidelity.resolution}"
        )


def specs(code: Array, unit: int, cells: int) -> tuple[Array, list[Block], Array]:
    """Widths and blocks of a code int32[32].

    Args:
      code: architecture.
      unit: channels in place of :data:`STEP`.
      cells: most sub-layers of a stage.

    Returns:
      Channels of the stem, int32[]; of every stage, all blocks that it may have,
      int32[2 cells]; channels of the last stage, int32[].
    """
    width, found = unit * (code[0] + 1), []
    for number, stride in enumerate(STRIDES):
        first = 1 + GENES * number
        kernel, expansion, out, middle, depth = code[first : first + GENES]
        depth = jnp.minimum(depth + int(stride > 1), cells)
        out, middle = unit * (out + 1), unit * (middle + 1)
        pairs = jnp.arange(cells, dtype=code.dtype)
        inputs = jnp.stack([jnp.where(pairs == 0, width, out), 0 * pairs + middle], 1)
        outputs = jnp.tile(jnp.stack([middle, out]), cells)
        times = jnp.array(EXPANSIONS, code.dtype)[expansion]
        found.append(
            Block(
                present=jnp.repeat(pairs < depth, 2).astype(code.dtype),
                kernel=jnp.full_like(outputs, kernel),
                inputs=inputs.reshape(-1),
                hidden=times * outputs,
                outputs=outputs,
            )
        )
        width = jnp.where(depth > 0, out, width)
    return unit * (code[0] + 1), found, width


def _level(found: list[Block], level: int) -> Block:
    """All blocks of a resolution."""
    stages = (found[stage] for stage in _LEVELS[level])
    return jax.tree.map(lambda *rows: jnp.concatenate(rows), *stages)


def _chosen(params: dict, code: Array, unit: int, cells: int, weights: str) -> dict:
    """Parameters scaled as if drawn for the widths of the architecture."""
    stem, found, width = specs(code, unit, cells)
    last = _last_channels(code, unit)
    scaled = {
        "stem": _scaled(
            params["stem"], 3, jnp.array([3], code.dtype), stem[None], weights
        ),
        "last": _scaled(params["last"], 1, width[None], last[None], weights),
    }
    for level in range(len(_LEVELS)):
        both = _level(found, level)
        for name, rows in (
            (f"first{level}", slice(1)),
            (f"rest{level}", slice(1, None)),
        ):
            spec = jax.tree.map(lambda v, rows=rows: v[rows], both)
            size = jnp.array(KERNELS, code.dtype)[spec.kernel]
            parts = dict(params[name])
            for part, taps, ends in (
                ("expand", 1, (spec.inputs, spec.hidden)),
                ("depthwise", size, (jnp.ones_like(size), spec.hidden)),
                ("project", 1, (spec.hidden, spec.outputs)),
            ):
                parts[part] = _scaled(parts[part], taps, *ends, weights)
            scaled[name] = parts
    kernel = params["head"]["kernel"]
    outputs = jnp.array(kernel.shape[1:], code.dtype)
    head = rescaled_draw(kernel[None], (last[None], outputs), kernel.shape, weights)
    return {**params, **scaled, "head": {**params["head"], "kernel": head[0]}}


def _scaled(
    given: Any, taps: Array | int, inputs: Array, outputs: Array, weights: str
) -> Any:
    """Kernels float[n, k, k, Cin, C], or a layer that has them, as if drawn for these.

    Args:
      given: what was drawn.
      taps: side of the kernels, int32[n].
      inputs: channels, int32[n].
      outputs: channels, int32[n].
      weights: name in ``WEIGHTS``.
    """
    if isinstance(given, dict):
        kernel = _scaled(given["kernel"], taps, inputs, outputs, weights)
        return {**given, "kernel": kernel}
    window, ends = math.prod(given.shape[1:3]), given.shape[3:]
    full = window * ends[0], window * ends[1]
    return rescaled_draw(given, (taps**2 * inputs, taps**2 * outputs), full, weights)


def _last_channels(code: Array, unit: int) -> Array:
    return unit * (LAST_STEP // STEP) * (code[-1] + 1)


class DynamicMobileNet(nnx.Module):
    """Stem, blocks of four resolutions, last convolution and classifier.

    References:
      Lin et al., "Zen-NAS", ICCV 2021, arXiv:2102.01063.
    """

    def __init__(
        self,
        *,
        unit: int,
        cells: int,
        num_classes: int,
        skips: bool,
        mode: Mode,
        draws: Draws,
    ) -> None:
        """Draws the parameters of the widest network, of channels ``unit`` apart."""
        self.unit, self.cells, self.skips, self.mode = unit, cells, skips, mode
        width = unit * STEM // STEP
        self.stem = Convs(1, 3, 3, width, mode, draws)
        for level, stages in enumerate(_LEVELS):
            widest, num = unit * WIDEST[stages[0]] // STEP, 2 * cells * len(stages)
            setattr(self, f"first{level}", Layers(1, width, widest, mode, draws))
            rest = Layers(num - 1, widest, widest, mode, draws)
            setattr(self, f"rest{level}", rest)
            width = widest
        last = unit * LAST // STEP
        self.last = Convs(1, 1, width, last, mode, draws)
        self.head = Linear(last, num_classes, mode, draws)

    def __call__(self, x: Array, code: Array, tap: Tap) -> Array:
        """Logits float[B, K] of images float[B, R, R, 3] through a code int32[32]."""
        stem, found, width = specs(code, self.unit, self.cells)
        x = tap("input", x, "input")
        colours = jnp.array(x.shape[-1], code.dtype)
        x = self._conv("stem", self.stem, x, (colours, stem), tap, stride=2)
        x = tap("stem", x, "stem", stem)
        for level, stages in enumerate(_LEVELS):
            names = [f"stages.{s}.{j}" for s in stages for j in range(2 * self.cells)]
            x = self._blocks(level, names, x, _level(found, level), tap)
        last = _last_channels(code, self.unit)
        x = self._conv("last", self.last, x, (width, last), tap)
        x = tap("features", x, "features", last).mean((1, 2))
        return self._classified(x, last, tap)

    def _conv(
        self,
        name: str,
        convs: Convs,
        x: Array,
        widths: tuple[Array, Array],
        tap: Tap,
        stride: int = 1,
    ) -> Array:
        """Convolution, BatchNorm and ReLU."""
        here = jax.tree.map(lambda leaf: leaf[0], convs.stacked())
        x = conv_bn(name, x, here, widths, self.mode, tap, stride)
        x = tap(f"{name}.relu", jax.nn.relu(x), "relu", widths[1])
        return self.mode.rescaled(name, x, tap)

    def _blocks(
        self, level: int, names: list[str], x: Array, every: Block, tap: Tap
    ) -> Array:
        """All blocks of a resolution, the first of which halves it."""
        stacked = getattr(self, f"first{level}").stacked()
        first, spec = jax.tree.map(lambda v: v[0], (stacked, every))
        x = block(f"{names[0]}.", x, first, spec, self.mode, tap, stride=2)

        def present(given: tuple[Array, Any, Block], tap: Tap) -> Array:
            return block("", *given, self.mode, tap, skips=self.skips)

        def absent(given: tuple[Array, Any, Block], tap: Tap) -> Array:
            return given[0]

        def step(x: Array, here: tuple[Any, Block], tap: Tap) -> Array:
            return switch(
                tap, here[1].present, (absent, present), (x, *here), remat=True
            )

        rest = getattr(self, f"rest{level}").stacked()
        others = jax.tree.map(lambda v: v[1:], every)
        return scan(tap, names[1:], step, x, (rest, others))

    def _classified(self, x: Array, width: Array, tap: Tap) -> Array:
        kernel = live(self.head.kernel[...], width, 0)
        size = width * kernel.shape[1]
        kernel = tap.parameter("classifier.weight", kernel, "linear_w", size)
        bias = tap.parameter("classifier.bias", self.head.bias[...], "linear_b")
        return tap("classifier", x @ live(kernel, width, 0) + bias, "linear")
