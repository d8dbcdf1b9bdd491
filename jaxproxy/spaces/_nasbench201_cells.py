"""What the forward and the backward loop of a stage of NAS-Bench-201 cells share."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxproxy.types import Array

__all__ = [
    "CONV3",
    "DST",
    "EPS",
    "NONE",
    "POOL",
    "SKIP",
    "SRC",
    "Buffers",
    "EdgeParams",
    "Plan",
    "Table",
    "Tape",
    "at",
    "blank",
    "is_conv",
    "put",
    "store",
]

NONE, SKIP, CONV1, CONV3, POOL = range(5)
SRC = (0, 0, 1, 0, 1, 2)
DST = (1, 2, 2, 3, 3, 3)
EPS = 1e-5

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
