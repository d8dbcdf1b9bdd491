"""The backward loop of a stage of NAS-Bench-201 cells (see ``_nasbench201_stage``)."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.measure import Activation, MeterSet
from jaxproxy.ops import Tiling, by_platform, is_large
from jaxproxy.spaces._nasbench201._kernel._backward import KINDS, Gradients
from jaxproxy.spaces._nasbench201._kernel._buffers import (
    CONV1,
    CONV3,
    DEAD,
    Buffers,
    EdgeParams,
    Table,
    Tape,
    at,
    blank,
    blank_rows,
    edge_table,
    put,
)
from jaxproxy.spaces._nasbench201._kernel._forward import run_stage
from jaxproxy.spaces._nasbench201._kernel._steps import Plan, Step


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def stage(
    meters: MeterSet,
    x: Array,
    params: EdgeParams,
    sinks: Table,
    code: Array,
    buffers: Buffers,
) -> tuple[Array, Array, Table, Buffers]:
    """Output float[B, H, W, C], outputs of the N cells, forward readings, scratch.

    The gradient with respect to ``sinks`` (of :func:`make_sinks`) is the table of the
    other readings, and that of ``buffers`` is the scratch to be used again; parameters
    get none.
    """
    del sinks
    tape, table = run_stage(meters, x, params, code, buffers, keep=False)
    return *_outputs(tape), table, tape.buffers


def _outputs(tape: Tape) -> tuple[Array, Array]:
    """Output of the stage and float[N, B, H, W, C] of its cells."""

    def read(node: int | slice) -> Array:
        nodes, alive = tape.buffers.nodes[node], tape.alive[node]
        return jnp.where(alive.reshape(*alive.shape, *(1,) * 4), nodes, 0)

    return read(slice(-1, None))[0], read(slice(3, None, 3))


def make_sinks(meters: MeterSet, x: Array, params: EdgeParams, code: Array) -> Table:
    """The sinks of a stage: its readings if every gradient were zero.

    Activations with a zero gradient read zero; parameters are measured, since a meter
    may depend on the weight alone.
    """
    silence = {
        kind: blank(lambda a, k=kind: meters.backward(k, Activation(a), a), x)
        for kind in KINDS
    }
    return blank_rows(len(params.scale), silence) | edge_table(
        lambda kind, w: meters.gradient(kind, w, jnp.zeros_like(w)), code, params
    )


def _stage_forward(
    meters: MeterSet,
    x: Array,
    params: EdgeParams,
    sinks: Table,
    code: Array,
    buffers: Buffers,
) -> tuple[tuple[Array, Array, Table, Buffers], tuple[Tape, EdgeParams, Array]]:
    del sinks
    tape, table = run_stage(meters, x, params, code, buffers, keep=True)
    return (*_outputs(tape), table, tape.buffers), (tape, params, code)


def _stage_backward(
    meters: MeterSet,
    residuals: tuple[Tape, EdgeParams, Array],
    cotangents: tuple[Array, Array, Table, Buffers],
) -> tuple[Array, EdgeParams, Table, None, Buffers]:
    (tape, params, code), dy = residuals, cotangents[0]
    whole = functools.partial(_run, meters, None)
    # Gradients of activations are not kept, so what measures them sees them whole.
    if is_large(dy.shape) and not meters.wants("backward", *KINDS):
        tiled = functools.partial(_run, meters, Tiling.of(dy.shape))
        dx, table = by_platform(tape, params, code, dy, cpu=tiled, default=whole)
    else:
        dx, table = whole(tape, params, code, dy)
    return dx, jax.tree.map(jnp.zeros_like, params), table, None, tape.buffers


stage.defvjp(_stage_forward, _stage_backward)


def _run(
    meters: MeterSet,
    tiling: Tiling | None,
    tape: Tape,
    params: EdgeParams,
    code: Array,
    dy: Array,
) -> tuple[Array, Table]:
    """Gradient of the input, and the table of readings."""
    plan = Plan.backward(code, tape.alive)
    backward = Gradients(meters, params, tape, code)
    # The four nodes of a cell are consecutive, so four rows serve them all.
    last = 3 * params.num_cells
    gradients = put(lax.empty((4, *dy.shape), dy.dtype), jnp.array(last % 4), dy)
    table = make_sinks(meters, dy, params, code)

    def step(t: Array, carry: tuple[Array, Table]) -> tuple[Array, Table]:
        if tiling is None:
            return _whole(backward, plan.step(t), *carry)
        return _tiled(backward, tiling, plan.step(t), *carry)

    gradients, table = lax.fori_loop(0, plan.length, step, (gradients, table))
    # The input gets no gradient, and row 0 may hold anything, if no edge left it.
    return jnp.where(plan.touches_input, gradients[0], 0), table


def _whole(
    backward: Gradients, here: Step, gradients: Array, table: Table
) -> tuple[Array, Table]:
    """A step of the loop, on all images at once."""
    i, source, target, branch, first = here
    from_row, to_row = target % 4, source % 4
    operands = i, source, from_row, gradients, table
    dx, table = lax.switch(branch, backward.branches(), *operands)
    before = jnp.where(first, 0, at(gradients, to_row))
    return put(gradients, to_row, before + dx), table


class _Tiles(NamedTuple):
    """What the gradient of an edge reads, tile k of it; ``rows`` hold gradients."""

    tiling: Tiling
    nodes: Array
    outputs: Array
    edge: Array
    source: Array
    target: Array
    """Row of the gradient of the edge's target."""

    def x(self, k: Array) -> Array:
        return self.tiling.at(self.nodes, self.source, k)

    def z(self, k: Array) -> Array:
        return self.tiling.at(self.outputs, self.edge, k)

    def dy(self, k: Array, rows: Array) -> Array:
        return self.tiling.at(rows, self.target, k)


def _tiled(
    backward: Gradients,
    tiling: Tiling,
    here: Step,
    gradients: Array,
    table: Table,
) -> tuple[Array, Table]:
    """A step of the loop, tile by tile."""
    i, source, target, branch, first = here
    from_row, to_row, rows = target % 4, source % 4, tiling.split(gradients)
    nodes, outputs = map(tiling.split, backward.tape.buffers)
    tiles = _Tiles(tiling, nodes, outputs, i, source, from_row)
    sums1, sums3 = _sums(backward, tiles, branch, rows)
    pull1, after1 = backward.after1(i, sums1, table)
    none = jnp.zeros_like(backward.params.conv3[0])

    def conv1(k: Array, rows: Array) -> tuple[Array, Array]:
        x = tiles.x(k)
        return jnp.where(x > 0, pull1(x, tiles.dy(k, rows)), 0), none

    def conv3(k: Array, rows: Array) -> tuple[Array, Array]:
        x = tiles.x(k)
        operands = x, tiles.dy(k, rows), tiles.z(k)
        dr, _, dkernel = backward.pull3(i, *operands, sums3)
        return jnp.where(x > 0, dr, 0), dkernel

    pulls = [
        lambda k, rows: (tiles.dy(k, rows), none),
        conv1,
        conv3,
        lambda k, rows: (backward.spread(tiles.dy(k, rows)), none),
        lambda k, rows: (jnp.zeros_like(tiles.dy(k, rows)), none),
    ]

    def pull(k: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        rows, total = carry
        # A branch reads its tile before the row is written to, so nothing is copied.
        dx, dkernel = lax.switch(branch, pulls, k, rows)
        before = jnp.where(first, 0, tiling.at(rows, to_row, k))
        return tiling.put(rows, to_row, k, before + dx), total + dkernel

    rows, dkernel = tiling.loop(pull, (rows, none))
    table = lax.switch(
        branch,
        [
            lambda: table,
            lambda: after1,
            lambda: backward.after3(i, dkernel, sums3, table),
            lambda: table,
            lambda: backward.after_dead(i, sums1[0], table),
        ],
    )
    return tiling.join(rows), table


def _sums(
    backward: Gradients, tiles: _Tiles, branch: Array, rows: Array
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """What a 1x1 and a 3x3 convolution sum over the pixels; else zeros.

    Of a convolution of zeros, too, the first is the sum of dy.
    """
    params = backward.params
    zeros = jnp.zeros_like(params.scale[0])
    sums1 = tiles.tiling.loop(
        lambda k, sums: _add(sums, backward.sums1(tiles.x(k), tiles.dy(k, rows))),
        (zeros, jnp.zeros_like(params.conv1[0, 0, 0])),
        when=(branch == CONV1 - 1) | (branch == DEAD),
    )

    def sum3(k: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
        operands = tiles.dy(k, rows), tiles.z(k)
        return _add(sums, backward.sums3(tiles.edge, *operands))

    sums3 = tiles.tiling.loop(sum3, (zeros, zeros), when=branch == CONV3 - 1)
    return sums1, sums3


def _add(a: Any, b: Any) -> Any:
    return jax.tree.map(jnp.add, a, b)
