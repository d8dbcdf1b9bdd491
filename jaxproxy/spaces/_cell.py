"""A cell of four nodes and six edges, each edge one of several operations.

Node 0 is the cell's input, node 3 its output, and a node is the sum of its incoming
edges. NAS-Bench-201 and TransNAS-Bench-101 are made of such cells. An edge is a switch
over its operations, or in a supernet a mean of several; the edges of a cell are a scan,
and taps cross both: whatever can be asked of a network can be asked of this one.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.measure import Tap, scan, switch
from jaxproxy.ops import is_large
from jaxproxy.spaces._layers import Conv, tapped_bn, tapped_conv
from jaxproxy.spaces._mode import Mode

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))

Operation = Callable[[Array, Tap], Array]
Edge = Callable[[Array, Sequence[Operation], Array, Tap], Array]
"""(genes of an edge, its operations, x, tap) -> what it adds to its target."""


def one_of(gene: Array, operations: Sequence[Operation], x: Array, tap: Tap) -> Array:
    """Returns the output of the operation int32[] of an edge."""
    return switch(tap, gene, operations, x, remat=True)


def mean_of(live: Array, operations: Sequence[Operation], x: Array, tap: Tap) -> Array:
    """Returns the mean of the outputs of some operations, those of ``live`` int32[O].

    The others are not run, and their slots are not present. Names of slots must differ
    from operation to operation.
    """
    total = jnp.zeros_like(x)
    for gene, operation in zip(live, operations, strict=True):
        # One branch has all intermediates, so what is small is kept for the backward
        # passes, of which the tangent kernel runs one for each image.
        remat = is_large(x.shape)
        total = total + switch(tap, gene, [_nothing, operation], x, remat=remat)
    # The softmax of equal logits, -inf where an operation is not live.
    return total / live.sum().astype(x.dtype)


def _nothing(x: Array, tap: Tap) -> Array:
    return jnp.zeros_like(x)


def run_cell(
    x: Array,
    code: Array,
    params: Any,
    operations: Callable[[Any], Sequence[Operation]],
    tap: Tap,
    edge: Edge = one_of,
) -> Array:
    """Returns the output of a cell whose operations keep the shape.

    Args:
      x: float[B, H, W, C].
      code: int32[6, ...], the genes of each edge, such as its operation.
      params: pytree of arrays [6, ...], a row for each edge.
      operations: row of ``params`` -> the operations in the order of the codes.
      tap: of the network around.
      edge: what becomes of the operations.
    """
    nodes = jnp.concatenate([x[None], jnp.zeros((3, *x.shape), x.dtype)])
    edges = range(len(EDGES))
    return run_edges("", edges, nodes, code, params, operations, tap, edge)[3]


def run_edges(
    prefix: str,
    edges: Sequence[int],
    nodes: Array,
    code: Array,
    params: Any,
    operations: Callable[[Any], Sequence[Operation]],
    tap: Tap,
    edge: Edge = one_of,
) -> Array:
    """Returns nodes float[4, B, H, W, C] with some of the edges added to them.

    Args:
      prefix: of the names of slots.
      edges: positions in :data:`EDGES` of those that are run, E of them.
      nodes: float[4, B, H, W, C].
      code: int32[6, ...], see :func:`run_cell`.
      params: pytree of arrays [E, ...].
      operations: see :func:`run_cell`.
      tap: of the network around.
      edge: see :func:`run_cell`.
    """

    def step(nodes: Array, row: tuple[Array, Array, Array, Any], tap: Tap) -> Array:
        genes, source, target, own = row
        x = lax.dynamic_index_in_dim(nodes, source, keepdims=False)
        y = edge(genes, operations(own), x, tap)
        y = y + lax.dynamic_index_in_dim(nodes, target, keepdims=False)
        return lax.dynamic_update_index_in_dim(nodes, y, target, 0)

    ends = jnp.array([EDGES[place] for place in edges], jnp.int32).T
    rows = code[jnp.array(edges)], *ends, params
    return scan(tap, edge_names(edges, prefix), step, nodes, rows)


def edge_names(edges: Sequence[int], prefix: str = "") -> list[str]:
    """Returns names such as ``"e01"`` of positions in :data:`EDGES`."""
    return [
        f"{prefix}e{source}{target}" for source, target in (EDGES[e] for e in edges)
    ]


def none(x: Array, tap: Tap) -> Array:
    """Returns zeros."""
    return tap("none", jnp.zeros_like(x), "none")


def skip(x: Array, tap: Tap) -> Array:
    """Returns the input."""
    return tap("skip", x, "skip")


def relu_conv_bn(
    here: Conv, mode: Mode, stride: int, x: Array, tap: Tap, *, prefix: str = ""
) -> Array:
    """Returns ReLU, convolution and BatchNorm of an input float[B, H, W, C].

    Names of slots begin with ``prefix``.
    """
    x = tap(f"{prefix}relu", jax.nn.relu(x), "relu")
    if here.kernel.shape[0] == 1:
        x, stride = x[:, ::stride, ::stride], 1
    x = tapped_conv(
        f"{prefix}conv", x, here.kernel, tap, stride=stride, portable=mode.plain
    )
    return tapped_bn(f"{prefix}bn", x, here.scale, here.bias, tap, mode.norm)
