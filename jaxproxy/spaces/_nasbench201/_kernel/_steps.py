"""What the loops over the edges of NAS-Bench-201 cells do, step by step.

All is known before a loop, which only looks it up: a row of one small table for each
step. The table is one sum of choices, so that XLA compiles a few small kernels for it.
"""

from collections.abc import Iterable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxproxy.spaces._nasbench201._kernel._buffers import (
    DEAD,
    DST,
    NONE,
    SRC,
    at,
    is_conv,
)


class Step(NamedTuple):
    """One edge. Indices are unsigned, so XLA need not look out for negative ones."""

    edge: Array
    """uint32[], from 0 to 6N - 1"""
    source: Array
    """uint32[], node from 0 to 3N"""
    target: Array
    """uint32[]"""
    branch: Array
    """int32[], operation - 1, or ``DEAD``"""
    first: Array
    """bool[], whether no earlier step writes to the same node"""


class Plan(NamedTuple):
    """The steps of a loop over the edges of N cells."""

    length: Array
    """int32[], the number of steps."""
    table: Array
    """uint32[6N, 5], the steps and then zeros."""
    touches_input: Array
    """bool[], whether a step has the input of the first cell as its source."""

    @classmethod
    def forward(cls, code: Array, alive: Array) -> "Plan":
        """Every edge but ``none``; all operations on all-zero nodes are ``DEAD``."""
        runs = code != NONE
        dead = ~_at_sources(alive)
        return cls._of(code, runs, _first(runs, DST, range(6)), dead)

    @classmethod
    def backward(cls, code: Array, alive: Array) -> "Plan":
        """Last edge first, without those that cannot reach the cell's output.

        Where no edge leaves a cell's input, earlier cells are left out. Convolutions of
        all-zero nodes are ``DEAD``.
        """
        runs = code != NONE
        reach2 = runs[5]
        reach1 = runs[4] | (runs[2] & reach2)
        always = jnp.ones((), bool)
        runs &= jnp.stack([reach1, reach2, reach2, always, always, always])
        dead = is_conv(code) & ~_at_sources(alive)
        first = _first(runs, SRC, range(5, -1, -1))
        plan = cls._of(code, runs, first, dead, reverse=True)
        length = jnp.where(plan.touches_input, plan.length, runs.sum(dtype=jnp.int32))
        return plan._replace(length=length)

    def step(self, t: Array) -> Step:
        """Step t < length."""
        edge, source, target, branch, first = at(self.table, t)
        return Step(edge, source, target, branch.astype(jnp.int32), first != 0)

    @classmethod
    def _of(
        cls,
        code: Array,
        runs: Array,
        first: Array,
        dead: Array,
        *,
        reverse: bool = False,
    ) -> "Plan":
        """For bools [6] of the edges of any cell, and ``dead`` [N, 6] of each."""
        num, count = len(dead), runs.sum(dtype=jnp.int32)
        cells = np.arange(num, dtype=np.int32)[:, None]
        edges = np.arange(6, dtype=np.int32)
        earlier = edges > edges[:, None] if reverse else edges < edges[:, None]
        rank = (earlier & runs).sum(1, dtype=jnp.int32)
        rank += (cells[::-1] if reverse else cells) * count
        steps = np.arange(6 * num, dtype=np.int32)[:, None, None]
        chosen = runs & (rank == steps)
        columns = (
            6 * cells + edges,
            3 * cells + np.array(SRC, np.int32),
            3 * cells + np.array(DST, np.int32),
            jnp.where(dead, DEAD, code - 1),
            first.astype(jnp.int32),
        )
        table = [jnp.where(chosen, v, 0).sum((1, 2), dtype=jnp.int32) for v in columns]
        return cls(
            length=num * count,
            table=jnp.stack(table, 1).astype(jnp.uint32),
            touches_input=runs[0] | runs[1] | runs[3],
        )


def _at_sources(alive: Array) -> Array:
    """Of nodes [3N + 1], those at the sources of edges, [N, 6]."""
    cells = [*alive[:-1].reshape(-1, 3).T]
    return jnp.stack([cells[node] for node in SRC], 1)


def _first(runs: Array, nodes: tuple[int, ...], order: Iterable[int]) -> Array:
    """bool[6]: the edge runs, and none that runs earlier has the same node."""
    first, seen = [runs[0]] * 6, [jnp.zeros((), bool)] * 4
    for edge in order:
        node = nodes[edge]
        first[edge] = runs[edge] & ~seen[node]
        seen[node] |= runs[edge]
    return jnp.stack(first)


def alive_nodes(code: Array, bias: Array) -> Array:
    """Nodes bool[3N + 1] that are not all zero, for BatchNorm biases float[6N, C].

    The convolution of zeros is zero, so its normalised form is the bias. A cell's
    input is not all zero if each cell before has a path from its input to its output,
    or if the one before has a path from a bias.
    """
    runs = code != NONE
    lifts = runs & is_conv(code) & (bias != 0).any(1).reshape(-1, 6)
    none = jnp.zeros((), bool)
    passed, lifted = [~none, none, none, none], [jnp.zeros_like(lifts[:, 0])] * 4
    for edge, (source, target) in enumerate(zip(SRC, DST, strict=True)):
        passed[target] |= runs[edge] & passed[source]
        lifted[target] |= (runs[edge] & lifted[source]) | lifts[:, edge]
    start = jnp.concatenate([jnp.ones(1, bool), passed[3] | lifted[3][:-1]])
    nodes = [(start & passed[node]) | lifted[node] for node in (1, 2, 3)]
    return jnp.concatenate([jnp.ones(1, bool), jnp.stack(nodes, 1).reshape(-1)])
