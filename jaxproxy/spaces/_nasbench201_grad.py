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
from jaxproxy.ops import avg_pool, conv, conv_gradients
from jaxproxy.spaces._nasbench201_stage import (
    CONV3,
    DST,
    SRC,
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
    probe: Probe, x: Array, params: EdgeParams, sinks: Table, code: Array
) -> tuple[Array, Array, Table]:
    """Output float[B, H, W, C], outputs of the N cells and forward readings.

    The gradient with respect to ``sinks`` (of :func:`make_sinks`) is the table of the
    other readings; parameters get none.
    """
    del sinks
    tape, table = run_stage(probe, x, params, code, keep=False)
    return tape.nodes[-1], tape.nodes[3::3], table


def make_sinks(probe: Probe, x: Array, params: EdgeParams, code: Array) -> Table:
    """The sinks of a stage: its readings if every gradient were zero.

    Activations with a zero gradient read zero; parameters are measured, since a meter
    may depend on the weight alone.
    """
    num = len(params.scale)
    table = {
        kind: blank(
            num, lambda a, k=kind: probe.backward(k, Activation(a), a), x
        )
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
    probe: Probe, x: Array, params: EdgeParams, sinks: Table, code: Array
) -> tuple[tuple[Array, Array, Table], tuple[Tape, EdgeParams, Array]]:
    tape, table = run_stage(probe, x, params, code, keep=True)
    del sinks
    return (tape.nodes[-1], tape.nodes[3::3], table), (tape, params, code)


def _stage_backward(
    probe: Probe,
    residuals: tuple[Tape, EdgeParams, Array],
    cotangents: tuple[Array, Array, Table],
) -> tuple[Array, EdgeParams, Table, None]:
    tape, params, code = residuals
    table = make_sinks(probe, tape.nodes[0], params, code)
    plan = Plan.backward(code)
    sources, targets = jnp.array(SRC), jnp.array(DST)
    branches = _backward_branches(probe, params, tape)
    gradients = jnp.zeros_like(tape.nodes).at[-1].set(cotangents[0])

    def step(t: Array, carry: tuple[Array, Table]) -> tuple[Array, Table]:
        gradients, table = carry
        turn, edge = plan.edge(t)
        cell = params.num_cells - 1 - turn
        i, op = 6 * cell + edge, code[edge]
        source, target = 3 * cell + sources[edge], 3 * cell + targets[edge]
        dead = is_conv(op) & ~tape.alive[source]
        branch = jnp.where(dead, len(branches) - 1, op - 1)
        dx, table = lax.switch(branch, branches, i, source, target, gradients, table)
        return put(gradients, source, at(gradients, source) + dx), table

    steps = params.num_cells * plan.count
    gradients, table = lax.fori_loop(0, steps, step, (gradients, table))
    return gradients[0], jax.tree.map(jnp.zeros_like, params), table, None


stage.defvjp(_stage_forward, _stage_backward)


def _backward_branches(
    probe: Probe, params: EdgeParams, tape: Tape
) -> list[Callable[..., tuple[Array, Table]]]:
    """skip, conv 1x1, conv 3x3, pool, and a convolution of an all-zero node."""
    shape, dtype = tape.nodes.shape[1:], tape.nodes.dtype
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

        return jax.vjp(pooled, jnp.zeros(shape, dtype))[1](at(gradients, target))[0], table

    def parameters(
        i: Array, weight: Array, dweight: Array, dscale: Array, dbias: Array, table: Table
    ) -> Table:
        for kind, w, g in (
            ("conv_w", weight, dweight),
            ("bn_w", params.scale[i], dscale),
            ("bn_b", params.bias[i], dbias),
        ):
            table = store(table, kind, i, probe.gradient(kind, w, g))
        return table

    def activations(
        i: Array, r: Array, z: Activation, dy: Array, dz: Array, dr: Array, table: Table
    ) -> Table:
        bn = Activation(
            lambda: at(tape.outputs, i) * params.scale[i] + params.bias[i], shape
        )
        for kind, activation, cotangent in (
            ("relu", Activation(r), dr),
            ("conv", z, dz),
            ("bn", bn, dy),
        ):
            values = probe.backward(kind, activation, cotangent)
            table = store(table, kind, i, values)
        return table

    def conv1(
        i: Array, source: Array, target: Array, gradients: Array, table: Table
    ) -> tuple[Array, Table]:
        x, dy = at(tape.nodes, source), at(gradients, target)
        r, weight = jax.nn.relu(x), params.conv1[i, 0, 0]
        mean, cov, inverse = tape.input_mean[i], tape.input_cov[i], tape.inverse[i]
        gain = inverse * params.scale[i]
        dbias = dy.sum(pixels)
        # Covariance of r and dy, times S: everything else follows from it.
        cross = lax.dot_general(r, dy, ((pixels, pixels), ((), ()))) - mean[:, None] * dbias
        dscale = (weight * cross).sum(0) * inverse
        dweight = gain * (cross - (cov @ weight) * (inverse * dscale))
        table = parameters(i, weight[None, None], dweight[None, None], dscale, dbias, table)
        # dr = dz W^T, with dz written out: two products with small matrices.
        through = (weight * (gain * inverse * dscale / samples)) @ weight.T
        offset = mean @ through - (weight * gain) @ (dbias / samples)
        dr = dy @ (weight * gain).T - r @ through + offset
        if probe.wants("backward", *_BACKWARD_KINDS):
            n = at(tape.outputs, i)
            dz = gain * (dy - dbias / samples - n * (dscale / samples))
            z = Activation(lambda: conv(r, params.conv1[i]), shape)
            table = activations(i, r, z, dy, dz, dr, table)
        return jnp.where(x > 0, dr, 0), table

    def conv3(
        i: Array, source: Array, target: Array, gradients: Array, table: Table
    ) -> tuple[Array, Table]:
        x, dy, n = at(tape.nodes, source), at(gradients, target), at(tape.outputs, i)
        r, gain = jax.nn.relu(x), tape.inverse[i] * params.scale[i]
        dbias, dscale = dy.sum(pixels), (dy * n).sum(pixels)
        dz = gain * dy - (gain * dscale / samples) * n - gain * dbias / samples
        dr, dweight = conv_gradients(r, params.conv3[i], dz)
        table = parameters(i, params.conv3[i], dweight, dscale, dbias, table)
        if probe.wants("backward", *_BACKWARD_KINDS):
            z = Activation(lambda: conv(r, params.conv3[i]), shape)
            table = activations(i, r, z, dy, dz, dr, table)
        return jnp.where(x > 0, dr, 0), table

    def dead(
        i: Array, source: Array, target: Array, gradients: Array, table: Table
    ) -> tuple[Array, Table]:
        dbias = at(gradients, target).sum(pixels)
        table = store(table, "bn_b", i, probe.gradient("bn_b", params.bias[i], dbias))
        return jnp.zeros(shape, dtype), table

    return [skip, conv1, conv3, pool, dead]
