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
* activations that leave the cache are taken in tiles of the batch, inside a branch;
* readings leave the loop as they are taken, so nothing large is kept for them.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxproxy.meters import Activation, Probe
from jaxproxy.ops import (
    add_to_row,
    avg_pool,
    conv,
    gram_moments,
    gram_sums,
    over_tiles,
)
from jaxproxy.spaces._layers import EPS
from jaxproxy.spaces._nasbench201_cells import (
    CONV3,
    Buffers,
    EdgeParams,
    Plan,
    Table,
    Tape,
    alive_nodes,
    at,
    blank,
    blank_rows,
    is_conv,
    put,
    used_edges,
)
from jaxproxy.types import Array

__all__ = ["run_stage"]

_KINDS = ("relu", "conv", "bn_input", "bn", "skip", "pool")


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
    alive = alive_nodes(code, params.bias)
    plan = Plan.forward(code, alive)
    operations = _Operations(probe, params, code, x)
    branches = operations.branches()
    table = blank_rows(num, operations.silence)
    tape = Tape(
        buffers=buffers._replace(nodes=put(buffers.nodes, jnp.array(0), x)),
        alive=alive,
        mean=jnp.zeros((num, channels), x.dtype),
        cov=jnp.zeros((num, channels, channels), x.dtype),
        inverse=jnp.full((num, channels), EPS**-0.5, x.dtype),
    )

    def step(t: Array, carry: tuple[Tape, Table]) -> tuple[Tape, Table]:
        tape, table = carry
        i, target, branch = (at(v, t) for v in (plan.edge, plan.target, plan.branch))
        nodes, outputs = tape.buffers
        done, rows = lax.switch(branch, branches, i, at(plan.source, t), nodes)
        nodes = add_to_row(
            nodes,
            target,
            done.output,
            lambda output: output * done.gain + done.offset,
            fresh=at(plan.first, t),
        )
        if keep:
            # A loop of no or one step: unlike in a branch, the buffer is not copied.
            saves = (branch == CONV3 - 1).astype(jnp.int32)
            outputs = lax.fori_loop(
                0, saves, lambda _, buffer: put(buffer, i, done.output), outputs
            )
            tape = tape._replace(
                mean=put(tape.mean, i, done.mean),
                cov=put(tape.cov, i, done.cov),
                inverse=put(tape.inverse, i, done.inverse),
            )
        tape = tape._replace(buffers=Buffers(nodes, outputs))
        return tape, jax.tree.map(lambda table, row: put(table, i, row), table, rows)

    return lax.fori_loop(0, plan.length, step, (tape, table))


class _Operations:
    """The operations of an edge; each reads a node and measures what it computes.

    All take the edge, its source node and the nodes. Readings of kinds that an
    operation does not have are zero.
    """

    def __init__(
        self, probe: Probe, params: EdgeParams, code: Array, like: Array
    ) -> None:
        """For nodes like float[B, H, W, C]."""
        self.probe, self.params, self.code = probe, params, code
        self.used = used_edges(code)
        self.shape = like.shape
        self.samples = math.prod(like.shape[:3])
        self.silence: Table = {
            kind: blank(lambda a, kind=kind: probe.forward(kind, Activation(a)), like)
            for kind in _KINDS
        }
        channels, dtype = like.shape[-1], like.dtype
        self.zeros = jnp.zeros(channels, dtype)
        self.square = jnp.zeros((channels, channels), dtype)
        ones = jnp.ones(channels, dtype)
        self.silent = _Edge(
            output=jnp.zeros_like(like),
            gain=ones,
            offset=self.zeros,
            mean=self.zeros,
            cov=self.square,
            inverse=ones * EPS**-0.5,
        )

    def branches(self) -> list[Callable[..., tuple[_Edge, Table]]]:
        """In the order of the codes, but for ``none``; the last for all-zero nodes."""
        return [self.skip, self.conv1, self.conv3, self.pool, self.dead]

    def skip(self, i: Array, source: Array, nodes: Array) -> tuple[_Edge, Table]:
        y = at(nodes, source)
        rows = {"skip": self.probe.forward("skip", self._activation(i, y))}
        return self.silent._replace(output=y), self.silence | rows

    def pool(self, i: Array, source: Array, nodes: Array) -> tuple[_Edge, Table]:
        y, _ = over_tiles(lambda x: (avg_pool(x, 3, padding=1), ()), (nodes, source))
        rows = {"pool": self.probe.forward("pool", self._activation(i, y))}
        return self.silent._replace(output=y), self.silence | rows

    def conv1(self, i: Array, source: Array, nodes: Array) -> tuple[_Edge, Table]:
        def rectified(x: Array) -> Array:
            # A barrier: XLA would write r twice, once for each of its uses.
            return lax.optimization_barrier(jax.nn.relu(x))

        weight, row = self.params.conv1[i, 0, 0], (nodes, source)
        _, sums = over_tiles(lambda x: ((), gram_sums(rectified(x))), row)
        input_mean, input_cov = gram_moments(sums, self.samples)
        mean, cov = input_mean @ weight, weight.T @ input_cov @ weight
        inverse, gain, offset = self._normaliser(i, mean, cov)
        output, _ = over_tiles(lambda x: (rectified(x) @ (weight * gain), ()), row)
        edge = self.silent._replace(
            output=output,
            offset=offset,
            mean=input_mean,
            cov=input_cov,
            inverse=inverse,
        )
        relu = self._activation(
            i, lambda: rectified(at(nodes, source)), lambda: (input_mean, input_cov)
        )
        z = self._activation(
            i, lambda: conv(relu.value, self.params.conv1[i]), lambda: (mean, cov)
        )
        return edge, self._measure(i, relu, z, edge)

    def conv3(self, i: Array, source: Array, nodes: Array) -> tuple[_Edge, Table]:
        def convolve(x: Array) -> tuple[Array, tuple[Array, Array]]:
            z = conv(jax.nn.relu(x), self.params.conv3[i])
            return z, gram_sums(z)

        output, sums = over_tiles(convolve, (nodes, source))
        mean, cov = gram_moments(sums, self.samples)
        inverse, gain, offset = self._normaliser(i, mean, cov)
        edge = _Edge(output, gain, offset, mean, self.square, inverse)
        relu = self._activation(i, lambda: jax.nn.relu(at(nodes, source)))
        z = self._activation(i, output, lambda: (mean, cov))
        return edge, self._measure(i, relu, z, edge)

    def dead(self, i: Array, source: Array, nodes: Array) -> tuple[_Edge, Table]:
        """Any operation on zeros; rows of kinds that it does not have are masked."""
        zero = self._activation(
            i, self.silent.output, lambda: (self.zeros, self.square)
        )
        convolves = is_conv(self.code[i % 6])
        offset = jnp.where(convolves, self.params.bias[i], 0)
        edge = self.silent._replace(offset=offset)
        others = {kind: self.probe.forward(kind, zero) for kind in ("skip", "pool")}
        return edge, self._measure(i, zero, zero, edge) | others

    def _activation(
        self,
        i: Array,
        value: Array | Callable[[], Array],
        moments: Callable[[], tuple[Array, Array]] | None = None,
    ) -> Activation:
        used = self.used[i % 6]
        return Activation(value, self.shape, moments=moments, used=used)

    def _normaliser(
        self, i: Array, mean: Array, cov: Array
    ) -> tuple[Array, Array, Array]:
        inverse = lax.rsqrt(jnp.maximum(jnp.diagonal(cov), 0) + EPS)
        gain = inverse * self.params.scale[i]
        return inverse, gain, self.params.bias[i] - mean * gain

    def _measure(self, i: Array, relu: Activation, z: Activation, edge: _Edge) -> Table:
        def normalised() -> tuple[Array, Array]:
            gain = edge.inverse * self.params.scale[i]
            return self.params.bias[i], z.moments[1] * gain * gain[:, None]

        bn = self._activation(
            i, lambda: edge.output * edge.gain + edge.offset, normalised
        )
        measured = {"relu": relu, "conv": z, "bn_input": z, "bn": bn}
        rows = {kind: self.probe.forward(kind, a) for kind, a in measured.items()}
        return self.silence | rows
