"""What the code of a NAS-Bench-101 module says, while the network is traced."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxproxy.spaces._nasbench101._codes import (
    INTERIOR,
    MAX_SHARES,
    NUM_VERTICES,
    SOURCES,
    TARGETS,
)


class Graph(NamedTuple):
    """The pruned graph of a code."""

    edges: Array
    """bool[7, 7]."""
    ops: Array
    """int32[5]."""
    live: Array
    """bool[5], which of vertices 1 to 5 are on a path."""


def pruned_graph(code: Array) -> Graph:
    edges = jnp.zeros((NUM_VERTICES, NUM_VERTICES), bool)
    # Unsigned, or JAX would look for negative ones, in a type that x64 decides.
    ends = SOURCES.astype(np.uint32), TARGETS.astype(np.uint32)
    edges = edges.at[ends].set(code[: len(SOURCES)] > 0)
    vertices = jnp.arange(NUM_VERTICES)
    fed, read = vertices == 0, vertices == NUM_VERTICES - 1
    # After as many steps as a path can have edges, nothing changes any more.
    for _ in range(NUM_VERTICES - 1):
        fed = fed | (edges & fed[:, None]).any(0)
        read = read | (edges & read[None]).any(1)
    live = fed & read
    edges = edges & live[:, None] & live[None]
    return Graph(edges, code[len(SOURCES) :], live[1:-1])


class Widths(NamedTuple):
    """Channels of the vertices of a module with some number of output channels."""

    sizes: tuple[int, ...]
    """Those that any architecture can have, descending."""
    index: Array
    """int32[5], into the sizes."""
    offsets: Array
    """int32[5], where a vertex begins in the output, if it feeds it."""


def all_sizes(channels: int) -> tuple[int, ...]:
    counts = range(1, MAX_SHARES + 1)
    sizes = {n for c in counts for n in (channels // c, -(-channels // c))}
    return tuple(sorted(sizes, reverse=True))


def module_widths(graph: Graph, channels: int) -> Widths:
    sizes = all_sizes(channels)
    feeds = graph.edges[1:-1, -1]
    count = jnp.maximum(feeds.sum(dtype=jnp.int32), 1)
    rest = jnp.cumsum(feeds, dtype=jnp.int32) <= channels % count
    share = channels // count + rest.astype(jnp.int32)
    own = jnp.argmax(jnp.array(sizes, jnp.int32)[None] == share[:, None], 1)
    index = [jnp.where(feeds[v], own[v], len(sizes) - 1) for v in range(INTERIOR)]
    for v in range(INTERIOR - 2, -1, -1):
        # The widest successor has the smallest index.
        for later in range(v + 1, INTERIOR):
            wider = graph.edges[v + 1, later + 1] & ~feeds[v]
            index[v] = jnp.where(wider, jnp.minimum(index[v], index[later]), index[v])
    share = jnp.where(feeds, share, 0)
    return Widths(
        sizes,
        jnp.stack(index).astype(jnp.int32),
        jnp.cumsum(share, dtype=jnp.int32) - share,
    )
