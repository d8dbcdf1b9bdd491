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
* readings leave the loop as they are taken, so nothing large is kept for them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxproxy.meters import Activation, Probe
from jaxproxy.ops import avg_pool, conv, gram_moments
from jaxproxy.types import Array

__all__ = ["EPS", "EdgeParams", "Plan", "Tape", "run_stage"]

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


class Tape(NamedTuple):
    """What the backward loop needs of the forward loop."""

    nodes: Array
    """float[3N + 1, B, H, W, C]; node 3 of a cell is node 0 of the next."""
    alive: Array
    """bool[3N + 1]; the others are exactly zero."""
    outputs: Array
    """float[E, B, H, W, C]; of a convolution: normalised, before scale and bias."""
    inverse: Array
    """float[E, C]; 1 / sqrt(variance + eps) of a convolution's output."""
    input_mean: Array
    """float[E, C]; of the rectified input of a 1x1 convolution."""
    input_cov: Array
    """float[E, C, C]; likewise."""


class Plan(NamedTuple):
    """The edges of a cell in the order in which they run."""

    order: Array
    """int32[6]"""
    count: Array
    """int32[], how many of ``order`` run at all"""

    @classmethod
    def forward(cls, code: Array) -> "Plan":
        """Every edge but ``none``."""
        runs = code != NONE
        return cls(jnp.argsort(~runs, stable=True), runs.sum())

    @classmethod
    def backward(cls, code: Array) -> "Plan":
        """Last edge first, without those that cannot reach the cell's output."""
        runs = code != NONE
        reach2 = runs[5]
        reach1 = runs[4] | (runs[2] & reach2)
        always = jnp.ones((), bool)
        runs &= jnp.stack([reach1, reach2, reach2, always, always, always])
        return cls(5 - jnp.argsort(~runs[::-1], stable=True), runs.sum())

    def edge(self, step: Array) -> tuple[Array, Array]:
        """Cell (from 0, in the order of the loop) and edge of a step."""
        return step // self.count, self.order[step % self.count]


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
    """What an operation gives: its output and the statistics that ``Tape`` keeps."""

    output: Array
    inverse: Array
    input_mean: Array
    input_cov: Array


def run_stage(
    probe: Probe, x: Array, params: EdgeParams, code: Array, *, keep: bool
) -> tuple[Tape, Table]:
    """Runs the N cells of a stage.

    Args:
      probe: the meters to take.
      x: float[B, H, W, C].
      params: of the 6N edges.
      code: int32[6], operations of the edges of every cell.
      keep: whether to keep what the backward loop needs.

    Returns:
      The tape, whose last node is the output of the stage, and forward readings.
    """
    num, channels = len(params.scale), x.shape[-1]
    num_nodes = 3 * params.num_cells + 1
    plan = Plan.forward(code)
    sources, targets = jnp.array(SRC), jnp.array(DST)
    tape = Tape(
        nodes=jnp.zeros((num_nodes, *x.shape), x.dtype).at[0].set(x),
        alive=jnp.zeros(num_nodes, bool).at[0].set(True),
        # Rows that are never written are never read.
        outputs=lax.empty((num if keep else 0, *x.shape), x.dtype),
        inverse=jnp.zeros((num, channels), x.dtype),
        input_mean=jnp.zeros((num, channels), x.dtype),
        input_cov=jnp.zeros((num, channels, channels), x.dtype),
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
        alive, convolves = tape.alive[source], is_conv(op)
        branch = jnp.where(convolves & ~alive, len(branches) - 1, op - 1)
        done, table = lax.switch(branch, branches, i, source, tape.nodes, table)
        if keep:
            tape = tape._replace(
                outputs=put(tape.outputs, i, done.output),
                inverse=put(tape.inverse, i, done.inverse),
                input_mean=put(tape.input_mean, i, done.input_mean),
                input_cov=put(tape.input_cov, i, done.input_cov),
            )
        scale = jnp.where(convolves, params.scale[i], 1)
        bias = jnp.where(convolves, params.bias[i], 0)
        y = done.output * scale + bias
        tape = tape._replace(
            nodes=put(tape.nodes, target, at(tape.nodes, target) + y),
            alive=tape.alive.at[target].max(alive | (bias != 0).any()),
        )
        return tape, table

    return lax.fori_loop(0, params.num_cells * plan.count, step, (tape, table))


def _forward_branches(
    probe: Probe, params: EdgeParams, like: Array
) -> list[Callable[..., tuple[_Edge, Table]]]:
    """skip, conv 1x1, conv 3x3, pool, and a convolution of an all-zero node."""
    channels, dtype = like.shape[-1], like.dtype
    zeros = jnp.zeros(channels, dtype)
    square = jnp.zeros((channels, channels), dtype)
    silent = _Edge(jnp.zeros_like(like), jnp.full(channels, EPS**-0.5, dtype), zeros, square)

    def skip(i: Array, source: Array, nodes: Array, table: Table) -> tuple[_Edge, Table]:
        y = at(nodes, source)
        table = store(table, "skip", i, probe.forward("skip", Activation(y)))
        return silent._replace(output=y), table

    def pool(i: Array, source: Array, nodes: Array, table: Table) -> tuple[_Edge, Table]:
        y = avg_pool(at(nodes, source), 3, padding=1)
        table = store(table, "pool", i, probe.forward("pool", Activation(y)))
        return silent._replace(output=y), table

    def measure(
        i: Array, relu: Activation, z: Activation, inverse: Array, y: Array, table: Table
    ) -> Table:
        def normalised() -> tuple[Array, Array]:
            gain = inverse * params.scale[i]
            return params.bias[i], z.moments[1] * gain * gain[:, None]

        bn = Activation(
            lambda: y * params.scale[i] + params.bias[i], like.shape, moments=normalised
        )
        for kind, activation in (("relu", relu), ("conv", z), ("bn", bn)):
            table = store(table, kind, i, probe.forward(kind, activation))
        return table

    def conv1(i: Array, source: Array, nodes: Array, table: Table) -> tuple[_Edge, Table]:
        r = jax.nn.relu(at(nodes, source))
        weight = params.conv1[i, 0, 0]
        input_mean, input_cov = gram_moments(r)
        mean, cov = input_mean @ weight, weight.T @ input_cov @ weight
        inverse = lax.rsqrt(jnp.maximum(jnp.diagonal(cov), 0) + EPS)
        y = r @ (weight * inverse) - mean * inverse
        relu = Activation(r, moments=lambda: (input_mean, input_cov))
        z = Activation(
            lambda: conv(r, params.conv1[i]), like.shape, moments=lambda: (mean, cov)
        )
        table = measure(i, relu, z, inverse, y, table)
        return _Edge(y, inverse, input_mean, input_cov), table

    def conv3(i: Array, source: Array, nodes: Array, table: Table) -> tuple[_Edge, Table]:
        r = jax.nn.relu(at(nodes, source))
        z = conv(r, params.conv3[i])
        mean, cov = gram_moments(z)
        inverse = lax.rsqrt(jnp.maximum(jnp.diagonal(cov), 0) + EPS)
        y = (z - mean) * inverse
        activation = Activation(z, moments=lambda: (mean, cov))
        table = measure(i, Activation(r), activation, inverse, y, table)
        return _Edge(y, inverse, zeros, square), table

    def dead(i: Array, source: Array, nodes: Array, table: Table) -> tuple[_Edge, Table]:
        zero = Activation(silent.output, moments=lambda: (zeros, square))
        return silent, measure(i, zero, zero, silent.inverse, silent.output, table)

    return [skip, conv1, conv3, pool, dead]
