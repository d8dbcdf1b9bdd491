"""A stage of NAS-Bench-201 cells whose backward pass measures slopes alone.

BatchNorm is a constant here, so no image depends on another and no kernel needs a
gradient. As in ``_nasbench201_stage``, both passes are loops over the edges that the
architecture has. The backward loop runs once for each class and only reads what the
forward loop left.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.measure import MeterSet
from jaxproxy.ops import avg_pool, conv, conv_gradients
from jaxproxy.spaces._layers import FIXED, first_products
from jaxproxy.spaces._nasbench201._kernel._backward import Gradients
from jaxproxy.spaces._nasbench201._kernel._buffers import (
    EdgeParams,
    Table,
    at,
    blank_rows,
    is_conv,
    put,
)
from jaxproxy.spaces._nasbench201._kernel._steps import Plan, alive_nodes

TENSORS = ("conv_w", "bn_w", "bn_b")
"""Kinds of parameters that an edge has."""


def make_slope_sinks(meters: MeterSet, x: Array, num: int) -> Table:
    """Sinks of the slopes of the parameters of some edges, zeros."""
    zeros = jnp.zeros(len(x), x.dtype)
    return blank_rows(num, {kind: meters.slope(kind, zeros) for kind in TENSORS})


class _Tape(NamedTuple):
    """What the backward loop needs."""

    nodes: Array
    """float[3N + 1, B, H, W, C]; those that are not alive may hold anything."""
    alive: Array
    """bool[3N + 1]"""
    first: Array
    """float[6N, B, H, W], the first channel of each convolution's output."""
    params: EdgeParams
    code: Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def slope_stage(
    meters: MeterSet, x: Array, params: EdgeParams, sinks: Table, code: Array
) -> Array:
    """Output float[B, H, W, C] of N cells with BatchNorm in evaluation mode.

    The gradient with respect to ``sinks`` is the table of slopes; parameters get none.
    """
    return _stage_forward(meters, x, params, sinks, code)[0]


def _stage_forward(
    meters: MeterSet, x: Array, params: EdgeParams, sinks: Table, code: Array
) -> tuple[Array, _Tape]:
    del meters, sinks
    alive = alive_nodes(code, params.bias)
    plan = Plan.forward(code, alive)
    operations = _Operations(params, code, x)
    nodes = put(lax.empty((len(alive), *x.shape), x.dtype), jnp.array(0), x)
    first = lax.empty((len(params.scale), *x.shape[:-1]), x.dtype)

    def step(t: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        (nodes, first), here = carry, plan.step(t)
        operands = here.edge, at(nodes, here.source)
        y, met = lax.switch(here.branch, operations.branches(), *operands)
        before = jnp.where(here.first, 0, at(nodes, here.target))
        return put(nodes, here.target, before + y), put(first, here.edge, met)

    nodes, first = lax.fori_loop(0, plan.length, step, (nodes, first))
    y = jnp.where(alive[-1], nodes[-1], 0)
    return y, _Tape(nodes, alive, first, params, code)


def _stage_backward(
    meters: MeterSet, tape: _Tape, dy: Array
) -> tuple[Array, None, Table, None]:
    plan = Plan.backward(tape.code, tape.alive)
    pulls = _Pulls(tape, dy)
    # The four nodes of a cell are consecutive, so four rows serve them all.
    last = len(tape.alive) - 1
    gradients = put(lax.empty((4, *dy.shape), dy.dtype), jnp.array(last % 4), dy)
    table = make_slope_sinks(meters, dy, len(tape.params.scale))

    def step(t: Array, carry: tuple[Array, Table]) -> tuple[Array, Table]:
        gradients, table = carry
        i, source, target, branch, is_first = plan.step(t)
        dy = at(gradients, target % 4)
        dx, slopes = lax.switch(branch, pulls.branches(), i, source, dy)
        rows = {kind: meters.slope(kind, slopes[n]) for n, kind in enumerate(TENSORS)}
        table = jax.tree.map(lambda table, row: put(table, i, row), table, rows)
        before = jnp.where(is_first, 0, at(gradients, source % 4))
        return put(gradients, source % 4, before + dx), table

    gradients, table = lax.fori_loop(0, plan.length, step, (gradients, table))
    # The input gets no gradient, and row 0 may hold anything, if no edge left it.
    return jnp.where(plan.touches_input, gradients[0], 0), None, table, None


slope_stage.defvjp(_stage_forward, _stage_backward)


class _Operations:
    """The operations: (edge, float[B, H, W, C]) -> output, and what ``first`` keeps."""

    def __init__(self, params: EdgeParams, code: Array, like: Array) -> None:
        self.params, self.code = params, code
        self.nothing = jnp.zeros(like.shape[:-1], like.dtype)

    def branches(self) -> list[Any]:
        """In the order of the codes, but for ``none``; the last for all-zero nodes."""
        return [self.skip, self.conv1, self.conv3, self.pool, self.dead]

    def skip(self, i: Array, x: Array) -> tuple[Array, Array]:
        return x, self.nothing

    def pool(self, i: Array, x: Array) -> tuple[Array, Array]:
        return avg_pool(x, 3, padding=1), self.nothing

    def conv1(self, i: Array, x: Array) -> tuple[Array, Array]:
        return self._normalised(i, jax.nn.relu(x) @ self.params.conv1[i, 0, 0])

    def conv3(self, i: Array, x: Array) -> tuple[Array, Array]:
        return self._normalised(i, conv(jax.nn.relu(x), self.params.conv3[i]))

    def dead(self, i: Array, x: Array) -> tuple[Array, Array]:
        bias = jnp.where(is_conv(self.code[i % 6]), self.params.bias[i], 0)
        return jnp.broadcast_to(bias, x.shape), self.nothing

    def _normalised(self, i: Array, z: Array) -> tuple[Array, Array]:
        y = z * (self.params.scale[i] * FIXED) + self.params.bias[i]
        return y, z[..., 0]


class _Pulls:
    """Gradients of the operations: (edge, its source, dy) -> dx and slopes [3, B]."""

    def __init__(self, tape: _Tape, like: Array) -> None:
        self.tape = tape
        self.nothing = jnp.zeros((len(TENSORS), len(like)), like.dtype)

    def branches(self) -> list[Any]:
        """As those of the operations."""
        return [self.skip, self.conv1, self.conv3, self.pool, self.dead]

    def skip(self, i: Array, source: Array, dy: Array) -> tuple[Array, Array]:
        return dy, self.nothing

    def pool(self, i: Array, source: Array, dy: Array) -> tuple[Array, Array]:
        return Gradients.spread(dy), self.nothing

    def conv1(self, i: Array, source: Array, dy: Array) -> tuple[Array, Array]:
        gain = self._gain(i)
        dr = dy @ (self.tape.params.conv1[i, 0, 0] * gain).T
        return self._pulled(i, source, 1, dr, dy, gain)

    def conv3(self, i: Array, source: Array, dy: Array) -> tuple[Array, Array]:
        gain = self._gain(i)
        # Its first argument is for the kernel's gradient, which is left out.
        dr, _ = conv_gradients(dy, self.tape.params.conv3[i], dy * gain)
        return self._pulled(i, source, 3, dr, dy, gain)

    def dead(self, i: Array, source: Array, dy: Array) -> tuple[Array, Array]:
        """A convolution of an all-zero node."""
        bias = dy[..., 0].sum((1, 2))
        return jnp.zeros_like(dy), self.nothing.at[2].set(bias)

    def _gain(self, i: Array) -> Array:
        return self.tape.params.scale[i] * FIXED

    def _pulled(
        self, i: Array, source: Array, size: int, dr: Array, dy: Array, gain: Array
    ) -> tuple[Array, Array]:
        x, first = at(self.tape.nodes, source), dy[..., 0]
        met = first_products(jax.nn.relu(x), size)
        slopes = [
            (first * met).sum((1, 2)) * gain[0],
            (first * self.tape.first[i]).sum((1, 2)) * FIXED,
            first.sum((1, 2)),
        ]
        return jnp.where(x > 0, dr, 0), jnp.stack(slopes)
