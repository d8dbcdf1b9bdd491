"""A cell of NAS-Bench-201 in plain operations, for BatchNorm in any mode.

Anything can be asked of it: gradients of parameters and inputs, forward mode, second
derivatives. The loops of ``_nasbench201_stage`` are faster at what they can.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.measure import Activation, MeterSet
from jaxproxy.ops import avg_pool, conv
from jaxproxy.spaces._layers import normalise
from jaxproxy.spaces._nasbench201._kernel import (
    DST,
    SRC,
    EdgeParams,
    Table,
    at,
    blank,
    edge_table,
    put,
)

_Measured = tuple[Array, Table]
"""Output of an operation, and its readings."""

_KINDS = ("none", "skip", "relu", "conv", "bn_input", "bn", "pool")


def by_cell(rows: Any) -> Any:
    """Leaves [6N, ...] of a tree as [N, 6, ...]."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, 6, *leaf.shape[1:]), rows)


def cell(
    meters: MeterSet,
    norm: str,
    code: Array,
    params: EdgeParams,
    x: Array,
) -> tuple[Array, Table]:
    """Output of a cell and its forward readings, with one row for each edge.

    Args:
      meters: what to measure.
      norm: name in ``setups.NORMS``.
      code: int32[6].
      params: of the six edges.
      x: float[B, H, W, C].
    """
    branches = _Operations(meters, norm, x).branches()

    # A loop over edges: unrolled, second derivatives take minutes to compile.
    def step(
        nodes: Array, edge: tuple[Array, Array, Array, EdgeParams]
    ) -> tuple[Array, Table]:
        op, source, target, here = edge
        y, table = lax.switch(op, branches, here, at(nodes, source))
        return put(nodes, target, at(nodes, target) + y), table

    nodes = jnp.concatenate([x[None], jnp.zeros((3, *x.shape), x.dtype)])
    edges = code, jnp.array(SRC), jnp.array(DST), params
    nodes, table = lax.scan(step, nodes, edges)
    return nodes[3], table


class _Operations:
    """The operations of an edge: (parameters, input) -> output, readings."""

    def __init__(self, meters: MeterSet, norm: str, like: Array) -> None:
        self.meters, self.norm = meters, norm
        self.silence: Table = {
            kind: blank(lambda a, kind=kind: meters.forward(kind, Activation(a)), like)
            for kind in _KINDS
        }

    def branches(self) -> list[Any]:
        """In the order of the codes."""
        return [self.none, self.skip, self.conv1, self.conv3, self.pool]

    def none(self, params: EdgeParams, x: Array) -> _Measured:
        return self._measured(none=jnp.zeros_like(x))

    def skip(self, params: EdgeParams, x: Array) -> _Measured:
        return self._measured(skip=x)

    def pool(self, params: EdgeParams, x: Array) -> _Measured:
        return self._measured(pool=avg_pool(x, 3, padding=1))

    def conv1(self, params: EdgeParams, x: Array) -> _Measured:
        return self._conv(params.conv1, params, x)

    def conv3(self, params: EdgeParams, x: Array) -> _Measured:
        return self._conv(params.conv3, params, x)

    def _conv(self, kernel: Array, params: EdgeParams, x: Array) -> _Measured:
        r = jax.nn.relu(x)
        z = conv(r, kernel, portable=True)
        y = normalise(z, params.scale, params.bias, self.norm)
        return self._measured(relu=r, conv=z, bn_input=z, bn=y)

    def _measured(self, **activations: Array) -> _Measured:
        """The last activation, and what there is to know of all."""
        rows = {
            k: self.meters.forward(k, Activation(a)) for k, a in activations.items()
        }
        return list(activations.values())[-1], self.silence | rows


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def tap_edges(
    meters: MeterSet, params: EdgeParams, sinks: Table, code: Array
) -> EdgeParams:
    """Parameters of E edges, whose gradients stop here and are measured.

    The gradient with respect to ``sinks``, which are shaped like ``edge_table`` of the
    gradient readings, is that table.
    """
    return params


def _tap_edges_backward(
    meters: MeterSet, residuals: tuple[EdgeParams, Array], gradients: EdgeParams
) -> tuple[EdgeParams, Table, None]:
    params, code = residuals
    table = edge_table(meters.gradient, code, params, gradients)
    return jax.tree.map(jnp.zeros_like, params), table, None


tap_edges.defvjp(
    lambda meters, params, sinks, code: (params, (params, code)), _tap_edges_backward
)
