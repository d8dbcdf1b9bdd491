"""The network of NAS-Bench-201: NATS-Bench's TinyNetwork, the code an argument."""

import math
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from jaxproxy.meters import Activation
from jaxproxy.network import Network, Rows, Slot, Tap, from_nnx
from jaxproxy.ops import avg_pool, batch_norm, conv
from jaxproxy.spaces._nasbench201_cells import (
    DST,
    EPS,
    NONE,
    POOL,
    SKIP,
    SRC,
    Buffers,
    EdgeParams,
    is_conv,
)
from jaxproxy.spaces._nasbench201_grad import make_sinks, stage
from jaxproxy.types import Array, Fidelity

__all__ = ["TinyNetwork", "network"]


def network(fidelity: Fidelity, *, num_classes: int = 10) -> Network:
    """Network of the space at a fidelity; batches may have any size."""
    return from_nnx(
        lambda rngs: TinyNetwork(
            width=fidelity.width,
            cells=fidelity.cells,
            num_classes=num_classes,
            rngs=rngs,
        ),
        tapped=True,
    )


class TinyNetwork(nnx.Module):
    """All operations of all edges of N cells in each of three stages.

    Weights are Kaiming-normal (fan-in), BatchNorm scales one, biases zero. BatchNorm
    normalises by the batch. Every architecture reads the same parameters.

    References:
      Dong et al., "NATS-Bench", TPAMI 2021, arXiv:2009.00437.
    """

    def __init__(
        self, *, width: int, cells: int, num_classes: int, rngs: nnx.Rngs
    ) -> None:
        """Draws the parameters of C = ``width`` channels and N = ``cells``."""
        self.cells = cells
        self.stem = _ConvBN(3, 3, width, rngs)
        self.stages = nnx.List([_Stage(cells, width * 2**i, rngs) for i in range(3)])
        self.reductions = nnx.List([_Reduction(width * 2**i, rngs) for i in range(2)])
        self.last = _BN(4 * width)
        self.kernel = nnx.Param(_he(rngs, (4 * width, num_classes)))
        self.bias = nnx.Param(jnp.zeros(num_classes))

    def __call__(self, x: Array, code: Array, tap: Tap) -> Array:
        """Logits float[B, K] of images float[B, R, R, 3] through a code int32[6]."""
        x = self.stem("stem", x, tap)
        for i, cells in enumerate(self.stages):
            if i:
                index = i * (self.cells + 1) - 1
                x = self.reductions[i - 1](f"cells.{index}", x, tap)
            x = cells(i * (self.cells + 1), x, code, tap)
        x = tap("lastact.relu", jax.nn.relu(self.last("lastact.bn", x, tap)), "relu")
        features = x.mean((1, 2))
        kernel = tap.parameter("classifier.weight", self.kernel[...], "linear_w")
        bias = tap.parameter("classifier.bias", self.bias[...], "linear_b")
        return tap("classifier", features @ kernel + bias, "linear")


class _BN(nnx.Module):
    def __init__(self, channels: int) -> None:
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))

    def __call__(self, name: str, x: Array, tap: Tap) -> Array:
        scale = tap.parameter(f"{name}.weight", self.scale[...], "bn_w")
        bias = tap.parameter(f"{name}.bias", self.bias[...], "bn_b")
        return tap(name, batch_norm(x, scale, bias, EPS), "bn")


class _ConvBN(nnx.Module):
    def __init__(
        self, size: int, inputs: int, outputs: int, rngs: nnx.Rngs, stride: int = 1
    ) -> None:
        self.stride = stride
        self.kernel = nnx.Param(_he(rngs, (size, size, inputs, outputs)))
        self.bn = _BN(outputs)

    def __call__(self, name: str, x: Array, tap: Tap) -> Array:
        kernel = tap.parameter(f"{name}.conv.weight", self.kernel[...], "conv_w")
        x = tap(f"{name}.conv", conv(x, kernel, stride=self.stride), "conv")
        return self.bn(f"{name}.bn", x, tap)


class _Reduction(nnx.Module):
    """Residual block between stages: half the resolution, twice the channels."""

    def __init__(self, channels: int, rngs: nnx.Rngs) -> None:
        self.conv_a = _ConvBN(3, channels, 2 * channels, rngs, stride=2)
        self.conv_b = _ConvBN(3, 2 * channels, 2 * channels, rngs)
        self.down = nnx.Param(_he(rngs, (1, 1, channels, 2 * channels)))

    def __call__(self, name: str, x: Array, tap: Tap) -> Array:
        pooled = tap(f"{name}.pool", avg_pool(x, 2, stride=2), "pool")
        down = tap.parameter(f"{name}.down.weight", self.down[...], "conv_w")
        shortcut = tap(f"{name}.down", conv(pooled, down), "conv")
        for part, block in (("conv_a", self.conv_a), ("conv_b", self.conv_b)):
            x = tap(f"{name}.{part}.relu", jax.nn.relu(x), "relu")
            x = block(f"{name}.{part}", x, tap)
        return tap(name, x + shortcut, "reduction")


class _Stage(nnx.Module):
    """The N cells of a stage; every edge has a 3x3 and a 1x1 convolution at hand."""

    def __init__(self, cells: int, channels: int, rngs: nnx.Rngs) -> None:
        edges = 6 * cells
        self.conv3 = nnx.Param(_he(rngs, (edges, 3, 3, channels, channels), 1))
        self.conv1 = nnx.Param(_he(rngs, (edges, 1, 1, channels, channels), 1))
        self.scale = nnx.Param(jnp.ones((edges, channels)))
        self.bias = nnx.Param(jnp.zeros((edges, channels)))

    def __call__(self, first: int, x: Array, code: Array, tap: Tap) -> Array:
        """Output of cells ``first``, ``first + 1``... for float[B, H, W, C]."""
        params = EdgeParams(
            self.conv3[...], self.conv1[...], self.scale[...], self.bias[...]
        )
        slots = _Slots(first, params.num_cells, x.shape[-1], code, tap.advance)
        sinks = make_sinks(tap.probe, x, params, code)
        rows = {k: slots.rows(k, v) for k, v in sinks.items()}
        given = tap.sink(f"cells.{first}", rows)
        sinks = {kind: given.get(kind, {}) for kind in sinks}
        like = Buffers.like(x, len(params.scale), keep=tap.probe.needs_gradients())
        buffers = tap.scratch(f"cells.{first}", like)
        x, outputs, table, buffers = stage(tap.probe, x, params, sinks, code, buffers)
        tap.keep(f"cells.{first}", buffers)
        forward = jax.vmap(lambda y: tap.probe.forward("cell", Activation(y)))
        table["cell"] = forward(outputs)
        silent = tap.probe.forward("none", Activation(jnp.zeros_like(x)))
        table["none"] = jax.tree.map(
            lambda v: jnp.broadcast_to(v, (len(params.scale), *v.shape)), silent
        )
        for kind, values in table.items():
            tap.record(*slots.rows(kind, values))
        return x


class _Slots:
    """Names, depths and presence of the taps of a stage."""

    _SUFFIX: ClassVar[dict[str, str]] = {
        "none": "", "skip": "", "pool": "", "relu": ".relu", "conv_w": ".conv.weight",
        "conv": ".conv", "bn_w": ".bn.weight", "bn_b": ".bn.bias", "bn": ".bn",
    }  # fmt: skip

    def __init__(
        self,
        first: int,
        cells: int,
        channels: int,
        code: Array,
        advance: Callable[[int], int],
    ) -> None:
        self.cells = range(first, first + cells)
        self.channels, self.code = channels, code
        self.stride = len(self._SUFFIX)
        self.base = advance(cells * (6 * self.stride + 1))

    def rows(self, kind: str, values: dict[str, Array]) -> Rows:
        """Rows of one kind of tap: one per cell, or one per edge of every cell."""
        if kind == "cell":
            slots = [(f"cells.{k}", self._depth(n + 1, 0) - 1)
                     for n, k in enumerate(self.cells)]  # fmt: skip
            present = None
        else:
            order = list(self._SUFFIX).index(kind)
            slots = [
                (f"cells.{k}.e{SRC[e]}{DST[e]}{self._SUFFIX[kind]}",
                 self._depth(n, e) + order)
                for n, k in enumerate(self.cells) for e in range(6)
            ]  # fmt: skip
            present = jnp.tile(self._present(kind), len(self.cells))
        named = tuple(Slot(name, kind, depth, self.channels) for name, depth in slots)
        return Rows(named, values, present)

    def _depth(self, cell: int, edge: int) -> int:
        return self.base + cell * (6 * self.stride + 1) + edge * self.stride

    def _present(self, kind: str) -> Array:
        operations = {"none": NONE, "skip": SKIP, "pool": POOL}
        if kind in operations:
            return self.code == operations[kind]
        return is_conv(self.code)


def _he(rngs: nnx.Rngs, shape: tuple[int, ...], stacked: int = 0) -> Array:
    fan_in = math.prod(shape[stacked:-1])
    # Flat: the same numbers, but a draw of five axes takes XLA two seconds to compile.
    values = jax.random.normal(rngs.params(), (math.prod(shape),)).reshape(shape)
    return values * math.sqrt(2 / fan_in)
