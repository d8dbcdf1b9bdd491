"""Isomorphism of NAS-Bench-101's modules, and all 423,624 of them."""

import functools
import itertools

import numpy as np

from jaxproxy.spaces._nasbench101._codes import (
    CHOICES,
    INTERIOR,
    MAX_EDGES,
    NUM_VERTICES,
    OPS,
    SOURCES,
    TARGETS,
    join,
    modules,
)

# The first gene counts most.
_PLACES = np.cumprod((1, *CHOICES[:0:-1]))[::-1]
_BLOCK = 2**14
_EDGES = [*zip(SOURCES.tolist(), TARGETS.tolist(), strict=True)]


def canonical(code: np.ndarray) -> np.ndarray:
    """Representatives ``int32[..., 26]``, equal exactly for isomorphic pruned graphs.

    Of all orders of the vertices, the one whose code is lexicographically largest.
    Vertices on no path come last before the output, without edges, as operation 0.

    Isomorphic modules compute the same but for the channels of their vertices: where
    those cannot be shared evenly, the first ones get one more.
    """
    return _unrank(_ranks(code))


def _ranks(code: np.ndarray) -> np.ndarray:
    """Lexicographic ranks int64[...] of the representatives."""
    matrix, ops, live = modules(code)
    plain = join(matrix, np.where(live[..., 1:-1], ops, 0))
    flat = plain.reshape(-1, len(CHOICES))
    parts = [_largest(flat[i : i + _BLOCK]) for i in range(0, len(flat), _BLOCK)]
    return np.concatenate([[], *parts]).astype(np.int64).reshape(plain.shape[:-1])


def _unrank(ranks: np.ndarray) -> np.ndarray:
    """Codes int32[..., 26] of lexicographic ranks [...]."""
    return (ranks[..., None] // _PLACES % np.array(CHOICES)).astype(np.int32)


@functools.cache
def _orders() -> np.ndarray:
    """What a gene adds to the rank by order of the vertices, float64[26, 120].

    An edge that would point backwards makes it negative.
    """
    place = np.full((NUM_VERTICES, NUM_VERTICES), -1e12)
    place[SOURCES, TARGETS] = _PLACES[: len(SOURCES)]
    columns = []
    for order in itertools.permutations(range(1, NUM_VERTICES - 1)):
        new = np.array([0, *order, NUM_VERTICES - 1])
        edges = place[new[SOURCES], new[TARGETS]]
        columns.append([*edges, *_PLACES[len(SOURCES) - 1 + new[1:-1]]])
    return np.array(columns).T


def _largest(codes: np.ndarray) -> np.ndarray:
    """Largest rank float64[N], exact, of codes [N, 26] in any order of the vertices."""
    return (codes @ _orders()).max(1)


@functools.cache
def enumerate_codes() -> np.ndarray:
    """Canonical codes of all architectures ``int32[423624, 26]``, read-only, sorted.

    The benchmark has no order of its own. It takes a fraction of a second, once.
    """
    graphs = _unrank(_graph_ranks() * len(OPS) ** INTERIOR)
    # Orders of vertices that do not change a graph, bool[graphs, 120]: operations of
    # vertices that these exchange are one architecture.
    gains = graphs[:, : len(SOURCES)] @ _orders()[: len(SOURCES)]
    same = gains == gains.max(1, keepdims=True)
    kinds, kind_of_graph = np.unique(same, axis=0, return_inverse=True)
    labels = [_distinct_operations(kind) for kind in kinds]
    pruned = ~modules(graphs).live[:, 1:-1]
    codes = []
    for graph, kind, dead in zip(graphs, kind_of_graph.ravel(), pruned, strict=True):
        ops = labels[kind]
        ops = ops[~ops[:, dead].any(1)]
        one = np.tile(graph, (len(ops), 1))
        one[:, len(SOURCES) :] = ops
        codes.append(one)
    found = np.concatenate(codes)
    found.flags.writeable = False
    return found


def _graph_ranks() -> np.ndarray:
    """Ranks int64[2494] of the edges of all canonical graphs, ascending.

    Of graphs of fewer than seven vertices, those are taken whose missing vertices are
    the last before the output, as in a canonical form.
    """
    found = []
    for num in range(INTERIOR + 1):
        kept = [*range(1, num + 1), NUM_VERTICES - 1]
        ends = [(s, t) for s, t in _EDGES if {s, t} <= {0, *kept}]
        sets = np.arange(2 ** len(ends))
        fits = np.bitwise_count(sets) <= MAX_EDGES
        for vertex in {0, *kept}:  # all have an edge in and one out, but for the ends
            for end in (0, 1):
                bits = sum(1 << i for i, e in enumerate(ends) if e[end] == vertex)
                if bits:
                    fits &= (sets & bits) > 0
        sets = sets[fits]
        codes = np.zeros((len(sets), len(CHOICES)), np.int32)
        for bit, edge in enumerate(ends):
            codes[:, _EDGES.index(edge)] = (sets >> bit) & 1
        blocks = (codes[i : i + _BLOCK] for i in range(0, len(codes), _BLOCK))
        found += [np.unique(_largest(block)) for block in blocks]
    ranks = np.unique(np.concatenate(found)).astype(np.int64)
    return ranks // len(OPS) ** INTERIOR


def _distinct_operations(same: np.ndarray) -> np.ndarray:
    """Operations int32[n, 5] of vertices, of which none is another in another order.

    Args:
      same: bool[120], which orders of vertices count as the same.
    """
    labels = np.array([*itertools.product(range(len(OPS)), repeat=INTERIOR)], np.int32)
    ranks = labels @ _orders()[len(SOURCES) :]  # float64[243, 120]
    first = _orders()[len(SOURCES) :, 0]  # of the order in which they are
    return labels[labels @ first == ranks[:, same].max(1)]
