"""The network of NAS-Bench-201: NATS-Bench's TinyNetwork, the code an argument."""

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxproxy.meters import Activation, Probe
from jaxproxy.network import Block, Network, Rows, Slot, Tap, from_nnx
from jaxproxy.spaces._layers import (
    BN,
    ConvBN,
    Mode,
    Reduction,
    rescale,
    tapped_dense,
)
from jaxproxy.spaces._nasbench201_cells import (
    DST,
    NONE,
    POOL,
    SKIP,
    SRC,
    Buffers,
    EdgeParams,
    Table,
    blank_rows,
    edge_table,
    is_conv,
)
from jaxproxy.spaces._nasbench201_forward import make_silence
from jaxproxy.spaces._nasbench201_grad import make_sinks, stage
from jaxproxy.spaces._nasbench201_plain import (
    by_cell,
    cell,
    make_slope_sinks,
    split_sinks,
    tap_edges,
)
from jaxproxy.types import Array, Fidelity

__all__ = ["TinyNetwork", "network"]


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
      fidelity: C and N.
      num_classes: outputs.
      weights: name in ``setups.WEIGHTS``.
      norm: name in ``setups.NORMS``.
      plain: of operations that can be differentiated with respect to parameters, in
        forward mode, and twice.
    """
    return from_nnx(
        lambda rngs: TinyNetwork(
            width=fidelity.width,
            cells=fidelity.cells,
            num_classes=num_classes,
            mode=Mode(weights, norm, plain or norm != "batch"),
            rngs=rngs,
        ),
        tapped=True,
    )


class TinyNetwork(nnx.Module):
    """All operations of all edges of N cells in each of three stages.

    Every architecture reads the same parameters. BatchNorm scales are one, biases zero.

    References:
      Dong et al., "NATS-Bench", TPAMI 2021, arXiv:2009.00437.
    """

    def __init__(
        self, *, width: int, cells: int, num_classes: int, mode: Mode, rngs: nnx.Rngs
    ) -> None:
        """Draws the parameters of C = ``width`` channels and N = ``cells``."""
        self.cells, self.mode = cells, mode
        self.stem = ConvBN(3, 3, width, mode, rngs)
        self.stages = nnx.List(
            [_Stage(cells, width * 2**i, mode, rngs) for i in range(3)]
        )
        self.reductions = nnx.List(
            [Reduction(width * 2**i, 2 * width * 2**i, mode, rngs) for i in range(2)]
        )
        self.last = BN(4 * width, mode)
        self.kernel = nnx.Param(mode.draw(rngs, (4 * width, num_classes)))
        self.bias = nnx.Param(jnp.zeros(num_classes))

    def __call__(self, x: Array, code: Array, tap: Tap) -> Array:
        """Logits float[B, K] of images float[B, R, R, 3] through a code int32[6]."""
        x = tap("input", x, "input")
        x = self.mode.rescaled("stem", self.stem("stem", x, tap), tap)
        x = tap("stem", x, "stem")
        for i, cells in enumerate(self.stages):
            if i:
                name = f"cells.{i * (self.cells + 1) - 1}"
                x = self.reductions[i - 1](name, x, tap)
                x = self.mode.rescaled(name, x, tap)
            x = cells(i * (self.cells + 1), x, code, tap)
        x = tap("lastact.relu", jax.nn.relu(self.last("lastact.bn", x, tap)), "relu")
        x = tap("features", x, "features")
        kernel, bias = self.kernel[...], self.bias[...]
        return tapped_dense("classifier", x.mean((1, 2)), kernel, bias, tap)

    def blocks(self, code: Array) -> tuple[Block, ...]:
        """Stem, cells and reductions, as functions of their parameters and input."""
        silent = Tap(Probe(()))
        one = [self.stem, *self.reductions]
        stem, *reductions = [
            Block(functools.partial(_apply, nnx.graphdef(module), silent),
                  jax.tree.map(lambda leaf: leaf[None], nnx.state(module)))
            for module in one
        ]  # fmt: skip
        stages = [
            Block(functools.partial(_cell_output, self.mode.norm, code),
                  by_cell(stage.params()))
            for stage in self.stages
        ]  # fmt: skip
        return (stem, stages[0], reductions[0], stages[1], reductions[1], stages[2])


def _apply(graph: Any, tap: Tap, params: Any, x: Array) -> Array:
    return nnx.merge(graph, params, copy=True)("", x, tap)


def _cell_output(norm: str, code: Array, params: EdgeParams, x: Array) -> Array:
    return cell(Probe(()), norm, code, params, x)[0]


class _Stage(nnx.Module):
    """The N cells of a stage; every edge has a 3x3 and a 1x1 convolution at hand."""

    def __init__(self, cells: int, channels: int, mode: Mode, rngs: nnx.Rngs) -> None:
        edges = 6 * cells
        self.mode = mode
        self.conv3 = nnx.Param(mode.draw(rngs, (edges, 3, 3, channels, channels), 1))
        self.conv1 = nnx.Param(mode.draw(rngs, (edges, 1, 1, channels, channels), 1))
        self.scale = nnx.Param(jnp.ones((edges, channels)))
        self.bias = nnx.Param(jnp.zeros((edges, channels)))

    def params(self) -> EdgeParams:
        """Of all edges."""
        return EdgeParams(
            self.conv3[...], self.conv1[...], self.scale[...], self.bias[...]
        )

    def __call__(self, first: int, x: Array, code: Array, tap: Tap) -> Array:
        """Output of cells ``first``, ``first + 1``... for float[B, H, W, C]."""
        params = self.params()
        slots = _Slots(first, params.num_cells, x.shape[-1], code, tap.advance)
        sinks = make_sinks(tap.probe, x, params, code)
        if self.mode.norm == "fixed":
            for kind, blanks in make_slope_sinks(tap.probe, x, params).items():
                sinks[kind] = sinks[kind] | blanks
        rows = {k: slots.rows(k, v) for k, v in sinks.items()}
        given = tap.sink(f"cells.{first}", rows)
        sinks = {kind: given.get(kind, {}) for kind in sinks}
        run = self._plain if self.mode.plain else self._stage
        x, table = run(f"cells.{first}", x, params, sinks, code, tap)
        silent = tap.probe.forward("none", Activation(jnp.zeros_like(x)))
        table["none"] = jax.tree.map(
            lambda v: jnp.broadcast_to(v, (len(params.scale), *v.shape)), silent
        )
        weights = edge_table(tap.probe.weight, code, params)
        for kind, values in (table | weights).items():
            tap.record(*slots.rows(kind, values))
        return x

    def _stage(
        self,
        name: str,
        x: Array,
        params: EdgeParams,
        sinks: Table,
        code: Array,
        tap: Tap,
    ) -> tuple[Array, Table]:
        like = Buffers.like(x, len(params.scale), keep=tap.probe.needs_gradients())
        buffers = tap.scratch(name, like)
        if tap.planning:  # shapes are all that is asked for
            num = len(params.scale)
            table = blank_rows(num, make_silence(tap.probe, x))
            outputs = jnp.zeros((params.num_cells, *x.shape), x.dtype)
        else:
            given = tap.probe, x, params, sinks, code, buffers
            x, outputs, table, buffers = stage(*given)
        tap.keep(name, buffers)
        forward = jax.vmap(lambda y: tap.probe.forward("cell", Activation(y)))
        return x, table | {"cell": forward(outputs)}

    def _plain(
        self,
        name: str,
        x: Array,
        params: EdgeParams,
        sinks: Table,
        code: Array,
        tap: Tap,
    ) -> tuple[Array, Table]:
        probe, norm = tap.probe, self.mode.norm
        if probe.wants("backward", "relu", "conv", "bn"):
            raise ValueError(
                f"{name}: activation gradients are measured with norm='batch' only, "
                f"not {norm!r}"
            )
        slopes, tensors = split_sinks(probe, sinks)
        if any(tensors.values()):
            params = tap_edges(probe, params, tensors, code)

        def step(x: Array, here: tuple[EdgeParams, Table]) -> tuple[Array, Table]:
            params, slopes = here
            x, table = cell(probe, norm, code, params, x, slopes)
            scale = jnp.zeros((), x.dtype)
            if norm == "none":
                x, scale = rescale(x)
            outputs = {
                "cell": probe.forward("cell", Activation(x)),
                "log_scale": probe.forward("log_scale", Activation(scale[None])),
            }
            return x, table | outputs

        x, table = lax.scan(step, x, (by_cell(params), by_cell(slopes)))
        for kind in table.keys() - {"cell", "log_scale"}:
            table[kind] = jax.tree.map(
                lambda v: v.reshape(-1, *v.shape[2:]), table[kind]
            )
        return x, table


class _Slots:
    """Names, depths and presence of the taps of a stage."""

    _SUFFIX: ClassVar[dict[str, str]] = {
        "none": ".none", "skip": ".skip", "pool": ".pool", "relu": ".relu",
        "conv_w": ".conv.weight", "conv": ".conv", "bn_input": ".bn.input",
        "bn_w": ".bn.weight", "bn_b": ".bn.bias", "bn": ".bn",
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
        if kind in ("cell", "log_scale"):
            suffix = ".scale" if kind == "log_scale" else ""
            slots = [(f"cells.{k}{suffix}", self._depth(n + 1, 0) - 1)
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
