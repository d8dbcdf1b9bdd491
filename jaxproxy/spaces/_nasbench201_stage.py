"""One stage of NAS-Bench-201 cells: a small machine that runs an architecture.

The architecture is data. A stage is one loop over the edges that the architecture
has (``none`` costs nothing), and each step switches to one operation. The gradient,
in the sibling ``_nasbench201_grad``, is a second loop over the same edges in reverse.
Both are written by hand, for these reasons:

* differentiating ``lax.switch`` would save the residuals of every branch;
* a carry that passes through a ``switch`` is copied, so branches only read the large
  buffers and the loop writes them;
* a 1x1 convolution followed by normalisation is linear algebra on the moments of its
  input: one matrix product, no pass over the activation between them;
* one Gram product gives BatchNorm its variance and the meters their covariance;
* large buffers are scratch that the caller may keep from one architecture to the next:
  they are never cleared, and what was not written is never read;
* readings leave the loop as they are taken, so nothing large is kept for them.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxproxy.meters import Activation, Probe
from jaxproxy.ops import avg_pool, conv, gram_moments
from jaxproxy.types import Array

__all__ = ["EPS", "Buffers", "EdgeParams", "Plan", "Tape", "run_stage"]

NONE, SKIP, CONV1, CONV3, POOL = range(5)
SRC = (0, 0, 1, 0, 1, 2)
DST = (1, 2, 2, 3, 3, 3)
EPS = 1e-5
FORWARD_KINDS = ("relu", "conv", "bn", "skip", "pool")

Table = dict[str, dict[str, Array]]
"""Readings by tap kind and meter name, each with one row for every edge."""


class EdgeParams(NamedTuple):
    """Parameters of the E = 6N edges of a stage with C channels."""

    conv3: Array
    """float[E, 3, 3, C, C]"""
    conv1: Array
    """float[E, 1, 1, C, C]"""
    scale: Array
    """float[E, C], BatchNorm"""
    bias: Array
    """float[E, C], BatchNorm"""

    @property
    def num_cells(self) -> int:
        """N."""
        return self.conv3.shape[0] // 6


class Buffers(NamedTuple):
    """Scratch of a stage; what it holds at first does not matter."""

    nodes: Array
    """float[3N + 1, B, H, W, C]; node 3 of a cell is node 0 of the next."""
    outputs: Array
    """float[E, B, H, W, C], outputs of 3x3 convolutions; E = 0 if only forward."""

    @classmethod
    def like(cls, x: Array, edges: int, *, keep: bool) -> "Buffers":
        """Shapes for inputs like x, with room for the backward loop if to be kept."""
        shapes = ((edges // 2 + 1, *x.shape), (edges if keep else 0, *x.shape))
        return cls(*(jax.ShapeDtypeStruct(shape, x.dtype) for shape in shapes))  # type: ignore[arg-type]


class Tape(NamedTuple):
    """What the backward loop needs of the forward loop."""

    buffers: Buffers
    alive: Array
    """bool[3N + 1]; the other nodes are zero, and may never have been written."""
    mean: Array
    """float[E, C], of the output of a 3x3 convolution, or the input of a 1x1."""
    cov: Array
    """float[E, C, C], of the rectified input of a 1x1 convolution."""
    inverse: Array
    """float[E, C]; 1 / sqrt(variance + eps) of a convolution's output."""


class Plan(NamedTuple):
    """The edges of a cell in the order in which they run."""

    order: Array
    """int32[6]"""
    count: Array
    """int32[], how many of ``order`` run at all"""
    first: Array
    """bool[6], per edge: whether it is the first that adds to its node"""

    @classmethod
    def forward(cls, code: Array) -> "Plan":
        """Every edge but ``none``."""
        runs = code != NONE
        first = _first(runs, DST, range(6))
        return cls(jnp.argsort(~runs, stable=True), runs.sum(), first)

    @classmethod
    def backward(cls, code: Array) -> "Plan":
        """Last edge first, without those that cannot reach the cell's output."""
        runs = code != NONE
        reach2 = runs[5]
        reach1 = runs[4] | (runs[2] & reach2)
        always = jnp.ones((), bool)
        runs &= jnp.stack([reach1, reach2, reach2, always, always, always])
        order = 5 - jnp.argsort(~runs[::-1], stable=True)
        return cls(order, runs.sum(), _first(runs, SRC, range(5, -1, -1)))

    def edge(self, step: Array) -> tuple[Array, Array]:
        """Cell (from 0, in the order of the loop) and edge of a step."""
        return step // self.count, self.order[step % self.count]


def _first(runs: Array, nodes: tuple[int, ...], order: Iterable[int]) -> Array:
    """bool[6]: the edge runs, and none that runs earlier has the same node."""
    first, seen = [runs[0]] * 6, [jnp.zeros((), bool)] * 4
    for edge in order:
        node = nodes[edge]
        first[edge] = runs[edge] & ~seen[node]
        seen[node] |= runs[edge]
    return jnp.stack(first)


def is_conv(op: Array) -> Array:
    """Whether an operation is a ReLU-convolution-BatchNorm."""
    return (op == CONV1) | (op == CONV3)


def at(buffer: Array, index: Array) -> Array:
    """Row of a buffer."""
    return lax.dynamic_index_in_dim(buffer, index, keepdims=False)


def put(buffer: Array, index: Array, row: Array) -> Array:
    """Buffer with a row replaced."""
    return lax.dynamic_update_index_in_dim(buffer, row, index, 0)


def store(table: Table, kind: str, index: Array, values: dict[str, Array]) -> Table:
    """Table with the readings of one tap replaced."""
    rows = {name: put(table[kind][name], index, v) for name, v in values.items()}
    return {**table, kind: {**table[kind], **rows}}


def blank(num: int, measure: Callable[..., dict[str, Array]], *like: Any) -> Any:
    """Zero rows for ``num`` taps of what a probe's method measures."""
    shapes = jax.eval_shape(measure, *like)
    return jax.tree.map(lambda s: jnp.zeros((num, *s.shape), s.dtype), shapes)


class _Edge(NamedTuple):
    """What an operation gives: y = output * gain + offset, and entries of ``Tape``."""

    output: Array
    gain: Array
    offset: Array
    mean: Array
    cov: Array
    inverse: Array


def run_stage(
    probe: Probe,
    x: Array,
    params: EdgeParams,
    code: Array,
    buffers: Buffers,
    *,
    keep: bool,
) -> tuple[Tape, Table]:
    """Runs the N cells of a stage.

    Args:
      probe: the meters to take.
      x: float[B, H, W, C].
      params: of the 6N edges.
      code: int32[6], operations of the edges of every cell.
      buffers: scratch.
      keep: whether to keep what the backward loop needs.

    Returns:
      The tape and forward readings.
    """
    num, channels = params.scale.shape
    plan = Plan.forward(code)
    sources, targets = jnp.array(SRC), jnp.array(DST)
    nodes = put(buffers.nodes, jnp.array(0), x)
    tape = Tape(
        buffers=buffers._replace(nodes=nodes),
        alive=jnp.zeros(len(nodes), bool).at[0].set(True),
        mean=jnp.zeros((num, channels), x.dtype),
        cov=jnp.zeros((num, channels, channels), x.dtype),
        inverse=jnp.full((num, channels), EPS**-0.5, x.dtype),
    )
    table = {
        kind: blank(num, lambda a, kind=kind: probe.forward(kind, Activation(a)), x)
        for kind in FORWARD_KINDS
    }
    branches = _forward_branches(probe, params, x)

    def step(t: Array, carry: tuple[Tape, Table]) -> tuple[Tape, Table]:
        tape, table = carry
        cell, edge = plan.edge(t)
        i, op = 6 * cell + edge, code[edge]
        source, target = 3 * cell + sources[edge], 3 * cell + targets[edge]
        alive = tape.alive[source]
        branch = jnp.where(alive, op - 1, len(branches) - 1)
        nodes, outputs = tape.buffers
        done, table = lax.switch(branch, branches, i, source, nodes, table)
        convolves = is_conv(op)
        offset = jnp.where(convolves, done.offset, 0)
        y = done.output * done.gain + offset
        before = jnp.where(plan.first[edge], 0, at(nodes, target))
        if keep:
            # A loop of no or one step: unlike in a branch, the buffer is not copied.
            saves = (alive & (op == CONV3)).astype(jnp.int32)
            outputs = lax.fori_loop(
                0, saves, lambda _, buffer: put(buffer, i, done.output), outputs
            )
            tape = tape._replace(
                mean=put(tape.mean, i, done.mean),
                cov=put(tape.cov, i, done.cov),
                inverse=put(tape.inverse, i, done.inverse),
            )
        # Not a scatter: on CPU that is a loop of its own.
        alive |= at(tape.alive, target) | (convolves & (params.bias[i] != 0).any())
        tape = tape._replace(
            buffers=Buffers(put(nodes, target, before + y), outputs),
            alive=put(tape.alive, target, alive),
        )
        return tape, table

    return lax.fori_loop(0, params.num_cells * plan.count, step, (tape, table))


def _forward_branches(
    probe: Probe, params: EdgeParams, like: Array
) -> list[Callable[..., tuple[_Edge, Table]]]:
    """skip, conv 1x1, conv 3x3, pool, and any operation on an all-zero node."""
    channels, dtype = like.shape[-1], like.dtype
    zeros, ones = jnp.zeros(channels, dtype), jnp.ones(channels, dtype)
    square = jnp.zeros((channels, channels), dtype)
    silent = _Edge(jnp.zeros_like(like), ones, zeros, zeros, square, ones * EPS**-0.5)

    def skip(
        i: Array, source: Array, nodes: Array, table: Table
    ) -> tuple[_Edge, Table]:
        y = at(nodes, source)
        table = store(table, "skip", i, probe.forward("skip", Activation(y)))
        return silent._replace(output=y), table

    def pool(
        i: Array, source: Array, nodes: Array, table: Table
    ) -> tuple[_Edge, Table]:
        y = avg_pool(at(nodes, source), 3, padding=1)
        table = store(table, "pool", i, probe.forward("pool", Activation(y)))
        return silent._replace(output=y), table

    def measure(
        i: Array, relu: Activation, z: Activation, edge: _Edge, table: Table
    ) -> Table:
        def normalised() -> tuple[Array, Array]:
            gain = edge.inverse * params.scale[i]
            return params.bias[i], z.moments[1] * gain * gain[:, None]

        bn = Activation(
            lambda: edge.output * edge.gain + edge.offset,
            like.shape,
            moments=normalised,
        )
        for kind, activation in (("relu", relu), ("conv", z), ("bn", bn)):
            table = store(table, kind, i, probe.forward(kind, activation))
        return table

    def normaliser(i: Array, mean: Array, cov: Array) -> tuple[Array, Array, Array]:
        inverse = lax.rsqrt(jnp.maximum(jnp.diagonal(cov), 0) + EPS)
        gain = inverse * params.scale[i]
        return inverse, gain, params.bias[i] - mean * gain

    def conv1(
        i: Array, source: Array, nodes: Array, table: Table
    ) -> tuple[_Edge, Table]:
        r = jax.nn.relu(at(nodes, source))
        weight = params.conv1[i, 0, 0]
        input_mean, input_cov = gram_moments(r)
        mean, cov = input_mean @ weight, weight.T @ input_cov @ weight
        inverse, gain, offset = normaliser(i, mean, cov)
        edge = _Edge(r @ (weight * gain), ones, offset, input_mean, input_cov, inverse)
        relu = Activation(r, moments=lambda: (input_mean, input_cov))
        z = Activation(
            lambda: conv(r, params.conv1[i]), like.shape, moments=lambda: (mean, cov)
        )
        return edge, measure(i, relu, z, edge, table)

    def conv3(
        i: Array, source: Array, nodes: Array, table: Table
    ) -> tuple[_Edge, Table]:
        r = jax.nn.relu(at(nodes, source))
        output = conv(r, params.conv3[i])
        mean, cov = gram_moments(output)
        inverse, gain, offset = normaliser(i, mean, cov)
        edge = _Edge(output, gain, offset, mean, square, inverse)
        z = Activation(output, moments=lambda: (mean, cov))
        return edge, measure(i, Activation(r), z, edge, table)

    def dead(
        i: Array, source: Array, nodes: Array, table: Table
    ) -> tuple[_Edge, Table]:
        zero = Activation(silent.output, moments=lambda: (zeros, square))
        edge = silent._replace(offset=params.bias[i])
        for kind in ("skip", "pool"):
            table = store(table, kind, i, probe.forward(kind, zero))
        table = measure(i, zero, zero, edge, table)
        # Rows of kinds that the edge does not have are masked by their presence.
        return edge, table

    return [skip, conv1, conv3, pool, dead]
