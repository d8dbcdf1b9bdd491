"""The backward loop of a stage of NAS-Bench-201 cells (see ``_nasbench201_stage``).

Notation: z is the output of a convolution, n = (z - mean) * inverse its normalised
form, y = scale * n + bias, S the number of pixels. Normalisation's gradient is
dz = scale * inverse * (dy - sum(dy) / S - n * sum(dy * n) / S).
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxproxy.meters import Activation, Probe
from jaxproxy.ops import avg_pool, conv_gradients
from jaxproxy.spaces._nasbench201_stage import (
    CONV3,
    DST,
    SRC,
    Buffers,
    EdgeParams,
    Plan,
    Table,
    Tape,
    at,
    blank,
    is_conv,
    put,
    run_stage,
    store,
)
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
    num = len(params.scale)
    table = {
        kind: blank(num, lambda a, k=kind: probe.backward(k, Activation(a), a), x)
        for kind in _BACKWARD_KINDS
    }

    def measure(kind: str, weights: Array) -> dict[str, Array]:
        return jax.vmap(lambda w: probe.gradient(kind, w, jnp.zeros_like(w)))(weights)

    small, large = measure("conv_w", params.conv1), measure("conv_w", params.conv3)
    is_large = jnp.tile(code == CONV3, params.num_cells)

    def choose(a: Array, b: Array) -> Array:
        return jnp.where(is_large.reshape(-1, *(1,) * (a.ndim - 1)), b, a)

    table["conv_w"] = jax.tree.map(choose, small, large)
    table["bn_w"] = measure("bn_w", params.scale)
    table["bn_b"] = measure("bn_b", params.bias)
    return table


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
    plan = Plan.backward(code)
    sources, targets = jnp.array(SRC), jnp.array(DST)
    branches = _backward_branches(probe, params, tape, code)
    # The four nodes of a cell are consecutive, so four rows serve them all.
    last = 3 * params.num_cells
    gradients = put(lax.empty((4, *dy.shape), dy.dtype), jnp.array(last % 4), dy)
    table = make_sinks(probe, dy, params, code)

    def step(t: Array, carry: tuple[Array, Table]) -> tuple[Array, Table]:
        gradients, table = carry
        turn, edge = plan.edge(t)
        cell = params.num_cells - 1 - turn
        i, op = 6 * cell + edge, code[edge]
        source = 3 * cell + sources[edge]
        from_row, to_row = (3 * cell + targets[edge]) % 4, source % 4
        dead = is_conv(op) & ~tape.alive[source]
        branch = jnp.where(dead, len(branches) - 1, op - 1)
        dx, table = lax.switch(branch, branches, i, source, from_row, gradients, table)
        before = jnp.where(plan.first[edge], 0, at(gradients, to_row))
        return put(gradients, to_row, before + dx), table

    # Where no edge leaves a cell's input, the earlier cells get no gradient.
    connected = (plan.first & (sources == 0)).any()
    steps = jnp.where(connected, params.num_cells, 1) * plan.count
    gradients, table = lax.fori_loop(0, steps, step, (gradients, table))
    dx = jnp.where(connected, gradients[0], 0)
    return dx, jax.tree.map(jnp.zeros_like, params), table, None, tape.buffers


stage.defvjp(_stage_forward, _stage_backward)


def _backward_branches(
    probe: Probe, params: EdgeParams, tape: Tape, code: Array
) -> list[Callable[..., tuple[Array, Table]]]:
    """skip, conv 1x1, conv 3x3, pool, and a convolution of an all-zero node."""
    shape, dtype = tape.buffers.nodes.shape[1:], tape.buffers.nodes.dtype
    samples = shape[0] * shape[1] * shape[2]
    pixels = (0, 1, 2)

    def skip(
        i: Array, source: Array, target: Array, gradients: Array, table: Table
    ) -> tuple[Array, Table]:
        return at(gradients, target), table

    def pool(
        i: Array, source: Array, target: Array, gradients: Array, table: Table
    ) -> tuple[Array, Table]:
        def pooled(x: Array) -> Array:
            return avg_pool(x, 3, padding=1)

        return jax.vjp(pooled, jnp.zeros(shape, dtype))[1](at(gradients, target))[
            0
        ], table

    def parameters(
        i: Array,
        weight: Array,
        dweight: Array,
        dscale: Array,
        dbias: Array,
        table: Table,
    ) -> Table:
        for kind, w, g in (
            ("conv_w", weight, dweight),
            ("bn_w", params.scale[i], dscale),
            ("bn_b", params.bias[i], dbias),
        ):
            table = store(table, kind, i, probe.gradient(kind, w, g))
        return table

    def activations(
        i: Array,
        r: Array,
        z: Array,
        n: Array,
        dy: Array,
        dz: Array,
        dr: Array,
        table: Table,
    ) -> Table:
        bn = n * params.scale[i] + params.bias[i]
        for kind, activation, cotangent in (
            ("relu", r, dr),
            ("conv", z, dz),
            ("bn", bn, dy),
        ):
            values = probe.backward(kind, Activation(activation), cotangent)
            table = store(table, kind, i, values)
        return table

    def conv1(
        i: Array, source: Array, target: Array, gradients: Array, table: Table
    ) -> tuple[Array, Table]:
        x, dy = at(tape.buffers.nodes, source), at(gradients, target)
        r, weight = jax.nn.relu(x), params.conv1[i, 0, 0]
        mean, cov, inverse = tape.mean[i], tape.cov[i], tape.inverse[i]
        gain = inverse * params.scale[i]
        dbias = dy.sum(pixels)
        # Covariance of r and dy, times S: everything else follows from it.
        cross = (
            lax.dot_general(r, dy, ((pixels, pixels), ((), ()))) - mean[:, None] * dbias
        )
        dscale = (weight * cross).sum(0) * inverse
        dweight = gain * (cross - (cov @ weight) * (inverse * dscale))
        table = parameters(
            i, weight[None, None], dweight[None, None], dscale, dbias, table
        )
        # dr = dz W^T, with dz written out: two products with small matrices.
        through = (weight * (gain * inverse * dscale / samples)) @ weight.T
        offset = mean @ through - (weight * gain) @ (dbias / samples)
        dr = dy @ (weight * gain).T - r @ through + offset
        if probe.wants("backward", *_BACKWARD_KINDS):
            z = r @ weight
            n = (z - mean @ weight) * inverse
            dz = gain * (dy - dbias / samples - n * (dscale / samples))
            table = activations(i, r, z, n, dy, dz, dr, table)
        return jnp.where(x > 0, dr, 0), table

    def conv3(
        i: Array, source: Array, target: Array, gradients: Array, table: Table
    ) -> tuple[Array, Table]:
        x, dy = at(tape.buffers.nodes, source), at(gradients, target)
        z, mean, inverse = at(tape.buffers.outputs, i), tape.mean[i], tape.inverse[i]
        r, gain, n = jax.nn.relu(x), inverse * params.scale[i], (z - mean) * inverse
        dbias, dscale = dy.sum(pixels), (dy * n).sum(pixels)
        dz = gain * dy - (gain * dscale / samples) * n - gain * dbias / samples
        dr, dweight = conv_gradients(r, params.conv3[i], dz)
        table = parameters(i, params.conv3[i], dweight, dscale, dbias, table)
        if probe.wants("backward", *_BACKWARD_KINDS):
            table = activations(i, r, z, n, dy, dz, dr, table)
        return jnp.where(x > 0, dr, 0), table

    def dead(
        i: Array, source: Array, target: Array, gradients: Array, table: Table
    ) -> tuple[Array, Table]:
        dy = at(gradients, target)
        dbias = dy.sum(pixels)
        table = store(table, "bn_b", i, probe.gradient("bn_b", params.bias[i], dbias))
        if probe.wants("backward", *_BACKWARD_KINDS):
            zero = jnp.zeros(shape, dtype)
            dz = tape.inverse[i] * params.scale[i] * (dy - dbias / samples)
            kernels = params.conv1[i], params.conv3[i]
            small, large = (conv_gradients(zero, k, dz)[0] for k in kernels)
            dr = jnp.where(code[i % 6] == CONV3, large, small)
            table = activations(i, zero, zero, zero, dy, dz, dr, table)
        return jnp.zeros(shape, dtype), table

    return [skip, conv1, conv3, pool, dead]
