"""What the forward and the backward loop of a stage of NAS-Bench-201 cells share."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.ops import is_large

NONE, SKIP, CONV1, CONV3, POOL = range(5)
DEAD = 4  # the branch after those of the operations
SRC = (0, 0, 1, 0, 1, 2)
DST = (1, 2, 2, 3, 3, 3)


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
    """float[E, B, H, W, C], outputs of 3x3 convolutions.

    If only forward, there is one row, or none where activations are small.
    """

    @classmethod
    def like(cls, x: Array, edges: int, *, keep: bool) -> "Buffers":
        """Shapes for inputs like x, with room for the backward loop if to be kept."""
        rows = edges if keep else int(is_large(x.shape))
        shapes = ((edges // 2 + 1, *x.shape), (rows, *x.shape))
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


def used_edges(code: Array) -> Array:
    """Edges bool[6] that lie on a path from the cell's input to its output."""
    runs = code != NONE
    fed, read = [jnp.ones((), bool)], [jnp.ones((), bool)]
    for node in (1, 2, 3):
        ends = [e for e in range(6) if DST[e] == node]
        fed.append(jnp.stack([runs[e] & fed[SRC[e]] for e in ends]).any())
    for node in (2, 1, 0):
        starts = [e for e in range(6) if SRC[e] == node]
        # ``read`` holds the later nodes, this one's successor first.
        onward = [runs[e] & read[DST[e] - node - 1] for e in starts]
        read.insert(0, jnp.stack(onward).any())
    return runs & jnp.stack([fed[a] & read[b] for a, b in zip(SRC, DST, strict=True)])


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
    rows = {
        name: put(table[kind][name], index, _fit(v, table[kind][name].shape[1:]))
        for name, v in values.items()
    }
    return {**table, kind: {**table[kind], **rows}}


def edge_table(
    measure: Callable[..., dict[str, Array]],
    code: Array,
    params: EdgeParams,
    *others: EdgeParams,
) -> Table:
    """What ``measure(kind, tensor, ...)`` gives for the parameters that each edge has.

    Readings of a 1x1 kernel that are shorter than those of a 3x3 get zeros behind.
    """

    def rows(kind: str, field: str) -> dict[str, Array]:
        leaves = [getattr(tree, field) for tree in (params, *others)]
        return jax.vmap(functools.partial(measure, kind))(*leaves)

    narrow, wide = rows("conv_w", "conv1"), rows("conv_w", "conv3")
    is_large = jnp.tile(code == CONV3, params.num_cells)

    def choose(a: Array, b: Array) -> Array:
        return jnp.where(
            is_large.reshape(-1, *(1,) * (b.ndim - 1)), b, _fit(a, b.shape)
        )

    kernels = jax.tree.map(choose, narrow, wide)
    return {
        "conv_w": kernels, "bn_w": rows("bn_w", "scale"), "bn_b": rows("bn_b", "bias")
    }  # fmt: skip


def _fit(value: Array, shape: tuple[int, ...]) -> Array:
    """An array with zeros behind it."""
    pads = [(0, n - m) for n, m in zip(shape, value.shape, strict=True)]
    return jnp.pad(value, pads) if any(after for _, after in pads) else value


def blank(measure: Callable[..., dict[str, Array]], *like: Any) -> Any:
    """Zeros shaped like what a meters's method measures of one tap."""
    shapes = jax.eval_shape(measure, *like)
    return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)


def blank_rows(num: int, table: Table) -> Table:
    """Zeros for ``num`` taps, given readings of one."""
    return jax.tree.map(lambda v: jnp.zeros((num, *v.shape), v.dtype), table)
