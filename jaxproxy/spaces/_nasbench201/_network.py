"""The network of NAS-Bench-201: NATS-Bench's TinyNetwork, the code an argument."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from jaxproxy.measure import (
    Activation,
    ActivationMeter,
    Block,
    Draws,
    MeterSet,
    Network,
    ParameterMeter,
    Recorder,
    Tap,
    network_from_draws,
    scan,
)
from jaxproxy.ops import avg_pool, in_lanes
from jaxproxy.spaces._cell import Operation, none, relu_conv_bn, run_cell, skip
from jaxproxy.spaces._layers import BN, Conv, ConvBN, Reduction, tapped_dense
from jaxproxy.spaces._mode import Mode, rescale
from jaxproxy.spaces._nasbench201._kernel import (
    TENSORS,
    Buffers,
    EdgeParams,
    Slots,
    Table,
    blank_rows,
    edge_table,
    make_silence,
    make_sinks,
    make_slope_sinks,
    slope_stage,
    stage,
)
from jaxproxy.types import Fidelity


def network(fidelity: Fidelity, mode: Mode, *, num_classes: int = 10) -> Network:
    """Returns the network of the space at a fidelity; batches may have any size.

    Args:
      fidelity: C and N.
      mode: of its modules.
      num_classes: outputs.
    """
    return network_from_draws(
        lambda draws: TinyNetwork(
            width=fidelity.width,
            cells=fidelity.cells,
            num_classes=num_classes,
            mode=mode,
            draws=draws,
        )
    )


class TinyNetwork(nnx.Module):
    """All operations of all edges of N cells in each of three stages.

    Every architecture reads the same parameters. BatchNorm scales are one, biases zero.

    References:
      Dong et al., "NATS-Bench", TPAMI 2021, arXiv:2009.00437.
    """

    def __init__(
        self, *, width: int, cells: int, num_classes: int, mode: Mode, draws: Draws
    ) -> None:
        """Draws the parameters of C = ``width`` channels and N = ``cells``."""
        self.cells, self.mode = cells, mode
        self.stem = ConvBN(3, 3, width, mode, draws)
        self.stages = nnx.List(
            [self.make_stage(cells, width * 2**i, mode, draws) for i in range(3)]
        )
        self.reductions = nnx.List(
            [Reduction(width * 2**i, 2 * width * 2**i, mode, draws) for i in range(2)]
        )
        self.last = BN(4 * width, mode)
        self.kernel = nnx.Param(mode.draw(draws, (4 * width, num_classes)))
        self.bias = nnx.Param(jnp.zeros(num_classes))

    @staticmethod
    def make_stage(cells: int, channels: int, mode: Mode, draws: Draws) -> Any:
        """Returns the cells of a stage, a module that is called as :class:`_Stage`."""
        return _Stage(cells, channels, mode, draws)

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
        silent = Tap(MeterSet(()))
        one = [self.stem, *self.reductions]
        stem, *reductions = [
            Block(partial(_apply, nnx.graphdef(module), silent),
                  jax.tree.map(lambda leaf: leaf[None], nnx.state(module)))
            for module in one
        ]  # fmt: skip
        stages = [stage.block(code) for stage in self.stages]
        return (stem, stages[0], reductions[0], stages[1], reductions[1], stages[2])


def _apply(graph: Any, tap: Tap, params: Any, x: Array) -> Array:
    return nnx.merge(graph, params, copy=True)("", x, tap)


def _cell_output(mode: Mode, code: Array, params: EdgeParams, x: Array) -> Array:
    silent = MeterSet(())
    if mode.norm != "batch" or in_lanes():
        return run_cell(x, code, params, _operations(mode), Tap(silent))
    like = Buffers.like(x, len(params.scale), keep=True)
    buffers = jax.tree.map(lambda s: lax.empty(s.shape, s.dtype), like)
    sinks = make_sinks(silent, x, params, code)
    return stage(silent, x, params, sinks, code, buffers)[0]


def _given(name: str, sinks: Table, slots: Slots, tap: Tap) -> Table:
    """The arrays of a tap in place of its sinks."""
    rows = {kind: slots.rows(kind, values) for kind, values in sinks.items()}
    given = tap.recorder.sink(name, rows)
    return {kind: given.get(kind, {}) for kind in sinks}


class _Stage(nnx.Module):
    """The N cells of a stage; every edge has a 3x3 and a 1x1 convolution at hand."""

    def __init__(self, cells: int, channels: int, mode: Mode, draws: Draws) -> None:
        edges = 6 * cells
        self.mode = mode
        self.conv3 = nnx.Param(mode.draw(draws, (edges, 3, 3, channels, channels), 1))
        self.conv1 = nnx.Param(mode.draw(draws, (edges, 1, 1, channels, channels), 1))
        self.scale = nnx.Param(jnp.ones((edges, channels)))
        self.bias = nnx.Param(jnp.zeros((edges, channels)))

    def params(self) -> EdgeParams:
        """Of all edges."""
        return EdgeParams(
            self.conv3[...], self.conv1[...], self.scale[...], self.bias[...]
        )

    def block(self, code: Array) -> Block:
        """The cells as functions of their parameters and input."""
        return Block(partial(_cell_output, self.mode, code), by_cell(self.params()))

    def __call__(self, first: int, x: Array, code: Array, tap: Tap) -> Array:
        """Output of cells ``first``, ``first + 1``... for float[B, H, W, C]."""
        recorder, meters = tap.recorder, tap.recorder.meters
        if in_lanes():  # the kernel's loops are of one architecture
            return self._plain(first, x, code, tap)
        slopes = self.mode.norm == "fixed" and meters.wants("slope", *TENSORS)
        if not slopes and (self.mode.plain or self.mode.norm != "batch"):
            return self._plain(first, x, code, tap)
        params = _replaced(self.params(), recorder)
        slots = Slots(first, params.num_cells, x.shape[-1], code, recorder.advance)
        weights = edge_table(meters.weight, code, params)
        for kind, values in weights.items():
            recorder.record(*slots.rows(kind, values))
        if slopes:
            return self._slopes(f"cells.{first}", x, params, slots, code, tap)
        sinks = make_sinks(meters, x, params, code)
        sinks = _given(f"cells.{first}", sinks, slots, tap)
        x, table = self._stage(f"cells.{first}", x, params, sinks, code, tap)
        silent = meters.forward("none", Activation(jnp.zeros_like(x)))
        table["none"] = jax.tree.map(
            lambda v: jnp.broadcast_to(v, (len(params.scale), *v.shape)), silent
        )
        for kind, values in table.items():
            recorder.record(*slots.rows(kind, values))
        return x

    def _slopes(
        self,
        name: str,
        x: Array,
        params: EdgeParams,
        slots: Slots,
        code: Array,
        tap: Tap,
    ) -> Array:
        recorder = tap.recorder
        others = [
            meter.name
            for meter in recorder.meters
            if isinstance(meter, ActivationMeter | ParameterMeter)
            and meter.phase not in ("slope", "weight")
            and slots.kinds & {*meter.kinds}
        ]
        if others:
            raise ValueError(f"{name}: slopes share no pass with {', '.join(others)}")
        sinks = make_slope_sinks(recorder.meters, x, len(params.scale))
        sinks = _given(name, sinks, slots, tap)
        if recorder.planning:
            return x
        return slope_stage(recorder.meters, x, params, sinks, code)

    def _stage(
        self,
        name: str,
        x: Array,
        params: EdgeParams,
        sinks: Table,
        code: Array,
        tap: Tap,
    ) -> tuple[Array, Table]:
        recorder, meters = tap.recorder, tap.recorder.meters
        like = Buffers.like(x, len(params.scale), keep=meters.needs_gradients())
        buffers = recorder.scratch(name, like)
        if recorder.planning:  # shapes are all that is asked for
            num = len(params.scale)
            table = blank_rows(num, make_silence(meters, x))
            outputs = jnp.zeros((params.num_cells, *x.shape), x.dtype)
        else:
            given = meters, x, params, sinks, code, buffers
            x, outputs, table, buffers = stage(*given)
        recorder.keep(name, buffers)
        forward = jax.vmap(lambda y: meters.forward("cell", Activation(y)))
        return x, table | {"cell": forward(outputs)}

    def _plain(self, first: int, x: Array, code: Array, tap: Tap) -> Array:
        """Runs the cells over switches and scans, which taps cross."""
        params = self.params()
        names = [f"cells.{first + i}" for i in range(params.num_cells)]

        def cell(x: Array, params: EdgeParams, tap: Tap) -> Array:
            x = run_cell(x, code, params, _operations(self.mode), tap)
            if self.mode.norm == "none":
                x, scale = rescale(x)
                tap("scale", scale[None], "log_scale")
            return tap("", x, "cell")

        return scan(tap, names, cell, x, by_cell(params))


def _operations(mode: Mode) -> Callable[[EdgeParams], list[Operation]]:
    """Returns (parameters of an edge) -> its operations, in the order of the codes."""
    mode = mode._replace(plain=True)

    def pool(x: Array, tap: Tap) -> Array:
        return tap("pool", avg_pool(x, 3, padding=1), "pool")

    def make(params: EdgeParams) -> list[Operation]:
        one = Conv(params.conv1, params.scale, params.bias)
        three = Conv(params.conv3, params.scale, params.bias)
        convs = (partial(relu_conv_bn, conv, mode, 1) for conv in (one, three))
        return [none, skip, *convs, pool]

    return make


def _replaced(params: EdgeParams, recorder: Recorder) -> EdgeParams:
    """Returns the parameters that the network has in place of its own."""
    kinds = ("conv_w", "conv_w", "bn_w", "bn_b")
    return EdgeParams(*map(recorder.replaced, kinds, params))


def by_cell(rows: Any) -> Any:
    """Returns leaves [6N, ...] of a tree as [N, 6, ...]."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, 6, *leaf.shape[1:]), rows)
