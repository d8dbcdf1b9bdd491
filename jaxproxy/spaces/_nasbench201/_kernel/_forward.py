"""The forward loop over the edges of a stage of cells."""

import functools

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.measure import MeterSet
from jaxproxy.ops import Tiling, by_platform, is_large
from jaxproxy.spaces._layers import EPS
from jaxproxy.spaces._nasbench201._kernel._buffers import (
    CONV1,
    CONV3,
    Buffers,
    EdgeParams,
    Table,
    Tape,
    at,
    blank_rows,
    put,
)
from jaxproxy.spaces._nasbench201._kernel._operations import Edge, Operations, Sums
from jaxproxy.spaces._nasbench201._kernel._steps import Plan, Step, alive_nodes

_Carry = tuple[Tape, Table]


def run_stage(
    meters: MeterSet,
    x: Array,
    params: EdgeParams,
    code: Array,
    buffers: Buffers,
    *,
    keep: bool,
) -> tuple[Tape, Table]:
    """Runs the N cells of a stage.

    Args:
      meters: the meters to take.
      x: float[B, H, W, C].
      params: of the 6N edges.
      code: int32[6], operations of the edges of every cell.
      buffers: scratch.
      keep: whether to keep what the backward loop needs.

    Returns:
      The tape and forward readings.
    """
    whole = functools.partial(_run, meters, keep, None)
    if not is_large(x.shape):
        return whole(x, params, code, buffers)
    tiled = functools.partial(_run, meters, keep, Tiling.of(x.shape))
    return by_platform(x, params, code, buffers, cpu=tiled, default=whole)


def _run(
    meters: MeterSet,
    keep: bool,
    tiling: Tiling | None,
    x: Array,
    params: EdgeParams,
    code: Array,
    buffers: Buffers,
) -> _Carry:
    num, channels = params.scale.shape
    alive = alive_nodes(code, params.bias)
    plan = Plan.forward(code, alive)
    operations = Operations(meters, params, code, x)
    table = blank_rows(num, operations.silence)
    tape = Tape(
        buffers=buffers._replace(nodes=put(buffers.nodes, jnp.array(0), x)),
        alive=alive,
        mean=jnp.zeros((num, channels), x.dtype),
        cov=jnp.zeros((num, channels, channels), x.dtype),
        inverse=jnp.full((num, channels), EPS**-0.5, x.dtype),
    )

    def step(t: Array, carry: _Carry) -> _Carry:
        (tape, table), here = carry, plan.step(t)
        if tiling is None:
            buffers, edge, rows = _whole(operations, here, tape.buffers, keep)
        else:
            buffers, edge, rows = _tiled(operations, tiling, here, tape.buffers, keep)
        i = here.edge
        if keep:
            tape = tape._replace(
                mean=put(tape.mean, i, edge.mean),
                cov=put(tape.cov, i, edge.cov),
                inverse=put(tape.inverse, i, edge.inverse),
            )
        tape = tape._replace(buffers=buffers)
        return tape, jax.tree.map(lambda table, row: put(table, i, row), table, rows)

    return lax.fori_loop(0, plan.length, step, (tape, table))


def _whole(
    operations: Operations, here: Step, buffers: Buffers, keep: bool
) -> tuple[Buffers, Edge, Table]:
    """A step of the loop, on all images at once."""
    nodes, outputs = buffers
    i, source, target, branch, first = here
    operands = i, source, nodes
    output, edge, rows = lax.switch(branch, operations.branches(), *operands)
    before = jnp.where(first, 0, at(nodes, target))
    nodes = put(nodes, target, before + (output * edge.gain + edge.offset))
    if keep:
        # A loop of no or one step: unlike in a branch, the buffer is not copied.
        saves = (branch == CONV3 - 1).astype(jnp.int32)
        outputs = lax.fori_loop(
            0, saves, lambda _, buffer: put(buffer, i, output), outputs
        )
    return Buffers(nodes, outputs), edge, rows


def _tiled(
    operations: Operations,
    tiling: Tiling,
    here: Step,
    buffers: Buffers,
    keep: bool,
) -> tuple[Buffers, Edge, Table]:
    """A step of the loop, tile by tile."""
    nodes, outputs = map(tiling.split, buffers)
    i, source, target, branch, first = here
    row = i if keep else jnp.zeros_like(i)
    nothing: Sums = (operations.zeros, operations.square)

    def x(k: Array, nodes: Array) -> Array:
        return tiling.at(nodes, source, k)

    def convolve(k: Array, carry: tuple[Array, Sums]) -> tuple[Array, Sums]:
        outputs, sums = carry
        z, seen = operations.convolved3(i, x(k, nodes))
        return tiling.put(outputs, row, k, z), _add(sums, seen)

    def see(k: Array, sums: Sums) -> Sums:
        return _add(sums, operations.input_sums(x(k, nodes)))

    outputs, sums = tiling.loop(convolve, (outputs, nothing), when=branch == CONV3 - 1)
    sums = tiling.loop(see, sums, when=branch == CONV1 - 1)
    edge, rows = _after(operations, tiling, here, row, nodes, outputs, sums)

    makers = [
        x,
        lambda k, nodes: operations.normalised1(i, x(k, nodes), edge),
        lambda k, nodes: tiling.at(outputs, row, k) * edge.gain,
        lambda k, nodes: operations.pooled(x(k, nodes)),
        lambda k, nodes: jnp.zeros_like(x(k, nodes)),
    ]

    def extend(k: Array, nodes: Array) -> Array:
        # A branch reads its tile before the node is written to, so nothing is copied.
        y = lax.switch(branch, makers, k, nodes) + edge.offset
        before = jnp.where(first, 0, tiling.at(nodes, target, k))
        return tiling.put(nodes, target, k, before + y)

    nodes = tiling.loop(extend, nodes)
    return Buffers(tiling.join(nodes), tiling.join(outputs)), edge, rows


def _after(
    operations: Operations,
    tiling: Tiling,
    here: Step,
    row: Array,
    nodes: Array,
    outputs: Array,
    sums: Sums,
) -> tuple[Edge, Table]:
    """What follows from the sums of an edge; reads activations if a meter does."""
    i, source, _, branch, _ = here

    def x() -> Array:
        return at(tiling.join(nodes), source)

    def z() -> Array:
        return at(tiling.join(outputs), row)

    def zero() -> Array:
        return jnp.zeros(operations.shape, operations.dtype)

    return lax.switch(
        branch,
        [
            lambda: operations.after_copy("skip", i, x),
            lambda: operations.after_conv1(i, x, sums),
            lambda: operations.after_conv3(i, x, z, sums),
            lambda: operations.after_copy("pool", i, lambda: operations.pooled(x())),
            lambda: operations.after_dead(i, zero),
        ],
    )


def _add(a: Sums, b: Sums) -> Sums:
    return a[0] + b[0], a[1] + b[1]
