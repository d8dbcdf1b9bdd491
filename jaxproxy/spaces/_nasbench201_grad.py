"""The backward loop of a stage of NAS-Bench-201 cells (see ``_nasbench201_stage``).

Notation: z is the output of a convolution, n = (z - mean) * inverse its normalised
form, y = scale * n + bias, S the number of pixels. Normalisation's gradient is
dz = scale * inverse * (dy - sum(dy) / S - n * sum(dy * n) / S).
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxproxy.meters import Activation, Probe
from jaxproxy.ops import (
    Row,
    add_to_row,
    avg_pool,
    channel_sum,
    conv_gradients,
    over_tiles,
)
from jaxproxy.spaces._nasbench201_cells import (
    CONV3,
    Buffers,
    EdgeParams,
    Plan,
    Table,
    Tape,
    at,
    blank,
    blank_rows,
    edge_table,
    put,
    store,
)
from jaxproxy.spaces._nasbench201_stage import run_stage
from jaxproxy.types import Array

__all__ = ["make_sinks", "stage"]

_BACKWARD_KINDS = ("relu", "conv", "bn")
_PARAMETER_KINDS = ("conv_w", "bn_w", "bn_b")


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def stage(
    probe: Probe,
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
    tape, table = run_stage(probe, x, params, code, buffers, keep=False)
    return *_outputs(tape), table, tape.buffers


def _outputs(tape: Tape) -> tuple[Array, Array]:
    """Output of the stage and float[N, B, H, W, C] of its cells."""

    def read(node: int | slice) -> Array:
        nodes, alive = tape.buffers.nodes[node], tape.alive[node]
        return jnp.where(alive.reshape(*alive.shape, *(1,) * 4), nodes, 0)

    return read(slice(-1, None))[0], read(slice(3, None, 3))


def make_sinks(probe: Probe, x: Array, params: EdgeParams, code: Array) -> Table:
    """The sinks of a stage: its readings if every gradient were zero.

    Activations with a zero gradient read zero; parameters are measured, since a meter
    may depend on the weight alone.
    """
    silence = {
        kind: blank(lambda a, k=kind: probe.backward(k, Activation(a), a), x)
        for kind in _BACKWARD_KINDS
    }
    return blank_rows(len(params.scale), silence) | edge_table(
        lambda kind, w: probe.gradient(kind, w, jnp.zeros_like(w)), code, params
    )


def _stage_forward(
    probe: Probe,
    x: Array,
    params: EdgeParams,
    sinks: Table,
    code: Array,
    buffers: Buffers,
) -> tuple[tuple[Array, Array, Table, Buffers], tuple[Tape, EdgeParams, Array]]:
    del sinks
    tape, table = run_stage(probe, x, params, code, buffers, keep=True)
    return (*_outputs(tape), table, tape.buffers), (tape, params, code)


def _stage_backward(
    probe: Probe,
    residuals: tuple[Tape, EdgeParams, Array],
    cotangents: tuple[Array, Array, Table, Buffers],
) -> tuple[Array, EdgeParams, Table, None, Buffers]:
    tape, params, code = residuals
    dy = cotangents[0]
    plan = Plan.backward(code, tape.alive)
    branches = _Gradients(probe, params, tape, code).branches()
    # The four nodes of a cell are consecutive, so four rows serve them all.
    last = 3 * params.num_cells
    gradients = put(lax.empty((4, *dy.shape), dy.dtype), jnp.array(last % 4), dy)
    table = make_sinks(probe, dy, params, code)

    def step(t: Array, carry: tuple[Array, Table]) -> tuple[Array, Table]:
        gradients, table = carry
        i, source = at(plan.edge, t), at(plan.source, t)
        from_row, to_row = at(plan.target, t) % 4, source % 4
        operands = i, source, from_row, gradients, table
        dx, table = lax.switch(at(plan.branch, t), branches, *operands)
        return add_to_row(gradients, to_row, dx, fresh=at(plan.first, t)), table

    gradients, table = lax.fori_loop(0, plan.length, step, (gradients, table))
    # The input gets no gradient, and row 0 may hold anything, if no edge left it.
    left = (plan.source == 0) & (jnp.arange(len(plan.source)) < plan.length)
    dx = jnp.where(left.any(), gradients[0], 0)
    return dx, jax.tree.map(jnp.zeros_like, params), table, None, tape.buffers


stage.defvjp(_stage_forward, _stage_backward)


class _Gradients:
    """The gradients of an edge's operations, measured on the way.

    All take the edge, its source node, the row of its target's gradient, the gradients
    and the table of readings; they return the gradient of the source.
    """

    def __init__(
        self, probe: Probe, params: EdgeParams, tape: Tape, code: Array
    ) -> None:
        """For what the forward loop left."""
        self.probe, self.params, self.tape, self.code = probe, params, tape, code
        self.shape = tape.buffers.nodes.shape[1:]
        self.zero = jnp.zeros(self.shape, tape.buffers.nodes.dtype)
        self.samples = math.prod(self.shape[:3])

    def branches(self) -> list[Callable[..., tuple[Array, Table]]]:
        """In the order of the codes, but for ``none``; the last for all-zero nodes."""
        return [self.skip, self.conv1, self.conv3, self.pool, self.dead]

    def skip(
        self, i: Array, source: Array, target: Array, gradients: Array, table: Table
    ) -> tuple[Array, Table]:
        return at(gradients, target), table

    def pool(
        self, i: Array, source: Array, target: Array, gradients: Array, table: Table
    ) -> tuple[Array, Table]:
        def spread(dy: Array) -> tuple[Array, tuple[()]]:
            _, pull = jax.vjp(lambda x: avg_pool(x, 3, padding=1), jnp.zeros_like(dy))
            return pull(dy)[0], ()

        return over_tiles(spread, (gradients, target))[0], table

    def conv1(
        self, i: Array, source: Array, target: Array, gradients: Array, table: Table
    ) -> tuple[Array, Table]:
        def summed(x: Array, dy: Array) -> tuple[tuple[()], tuple[Array, Array]]:
            r = jax.nn.relu(x)
            cross = lax.dot_general(r, dy, (((0, 1, 2),) * 2, ((), ())))
            return (), (channel_sum(dy), cross)

        rows, weight = self._rows(source, target, gradients), self.params.conv1[i, 0, 0]
        mean, cov, inverse = self.tape.mean[i], self.tape.cov[i], self.tape.inverse[i]
        gain = inverse * self.params.scale[i]
        _, (dbias, cross) = over_tiles(summed, *rows)
        # Covariance of r and dy, times S: everything else follows from it.
        cross -= mean[:, None] * dbias
        dscale = (weight * cross).sum(0) * inverse
        dweight = gain * (cross - (cov @ weight) * (inverse * dscale))
        kernels = weight[None, None], dweight[None, None]
        table = self._parameters(i, *kernels, dscale, dbias, table)
        # dr = dz W^T, with dz written out: two products with small matrices.
        through = (weight * (gain * inverse * dscale / self.samples)) @ weight.T
        offset = mean @ through - (weight * gain) @ (dbias / self.samples)

        def pulled(x: Array, dy: Array) -> tuple[tuple[Array, Any], tuple[()]]:
            dr = dy @ (weight * gain).T - jax.nn.relu(x) @ through + offset
            return (jnp.where(x > 0, dr, 0), self._if_measured(dr)), ()

        (dx, kept), _ = over_tiles(pulled, *rows)
        if kept:
            x, dy = (at(*row) for row in rows)
            r = jax.nn.relu(x)
            z = r @ weight
            n = (z - mean @ weight) * inverse
            dz = gain * (dy - dbias / self.samples - n * (dscale / self.samples))
            table = self._activations(i, (r, z, n), (*kept, dz, dy), table)
        return dx, table

    def conv3(
        self, i: Array, source: Array, target: Array, gradients: Array, table: Table
    ) -> tuple[Array, Table]:
        def normal(z: Array) -> Array:
            return (z - mean) * inverse

        def summed(dy: Array, z: Array) -> tuple[tuple[()], tuple[Array, Array]]:
            return (), (channel_sum(dy), channel_sum(dy * normal(z)))

        def pulled(x: Array, dy: Array, z: Array) -> tuple[tuple[Array, Any], Array]:
            dz = gain * (dy - normal(z) * (dscale / self.samples) - offset)
            dr, dkernel = conv_gradients(jax.nn.relu(x), kernel, dz)
            return (jnp.where(x > 0, dr, 0), self._if_measured(dr, dz)), dkernel

        mean, inverse = self.tape.mean[i], self.tape.inverse[i]
        gain, kernel = inverse * self.params.scale[i], self.params.conv3[i]
        rows = *self._rows(source, target, gradients), (self.tape.buffers.outputs, i)
        _, (dbias, dscale) = over_tiles(summed, *rows[1:])
        offset = dbias / self.samples
        (dx, kept), dkernel = over_tiles(pulled, *rows)
        table = self._parameters(i, kernel, dkernel, dscale, dbias, table)
        if kept:
            x, dy, z = (at(*row) for row in rows)
            n, cotangents = normal(z), (*kept, dy)
            table = self._activations(i, (jax.nn.relu(x), z, n), cotangents, table)
        return dx, table

    def dead(
        self, i: Array, source: Array, target: Array, gradients: Array, table: Table
    ) -> tuple[Array, Table]:
        """A convolution of an all-zero node."""
        dy, zero = at(gradients, target), self.zero
        dbias = channel_sum(dy)
        values = self.probe.gradient("bn_b", self.params.bias[i], dbias)
        table = store(table, "bn_b", i, values)
        if self.probe.wants("backward", *_BACKWARD_KINDS):
            gain = self.tape.inverse[i] * self.params.scale[i]
            dz = gain * (dy - dbias / self.samples)
            kernels = self.params.conv1[i], self.params.conv3[i]
            small, large = (conv_gradients(zero, k, dz)[0] for k in kernels)
            dr = jnp.where(self.code[i % 6] == CONV3, large, small)
            table = self._activations(i, (zero, zero, zero), (dr, dz, dy), table)
        return zero, table

    def _rows(self, source: Array, target: Array, gradients: Array) -> tuple[Row, Row]:
        return (self.tape.buffers.nodes, source), (gradients, target)

    def _if_measured(self, *cotangents: Array) -> tuple[Array, ...]:
        """Keeps gradients of activations only if a meter reads them."""
        return cotangents if self.probe.wants("backward", *_BACKWARD_KINDS) else ()

    def _parameters(
        self,
        i: Array,
        kernel: Array,
        dkernel: Array,
        dscale: Array,
        dbias: Array,
        table: Table,
    ) -> Table:
        for kind, weight, gradient in (
            ("conv_w", kernel, dkernel),
            ("bn_w", self.params.scale[i], dscale),
            ("bn_b", self.params.bias[i], dbias),
        ):
            table = store(table, kind, i, self.probe.gradient(kind, weight, gradient))
        return table

    def _activations(
        self,
        i: Array,
        values: tuple[Array, Array, Array],
        cotangents: tuple[Array, Array, Array],
        table: Table,
    ) -> Table:
        """Measures r, z and n, from which it makes y, with the gradients dr, dz, dy."""
        r, z, n = values
        y = n * self.params.scale[i] + self.params.bias[i]
        for kind, x, dx in zip(_BACKWARD_KINDS, (r, z, y), cotangents, strict=True):
            table = store(table, kind, i, self.probe.backward(kind, Activation(x), dx))
        return table
