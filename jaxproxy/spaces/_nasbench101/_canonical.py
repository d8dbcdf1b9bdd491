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
    valid,
)

# The first gene counts most.
_PLACES = np.cumprod((1, *CHOICES[:0:-1]))[::-1]
_BLOCK = 2**14


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

    The benchmark has no order of its own. It takes some seconds, once.
    """
    edges = (np.arange(2 ** len(SOURCES))[:, None] >> np.arange(len(SOURCES))) & 1
    edges = edges[edges.sum(1) <= MAX_EDGES]
    codes = np.pad(edges, ((0, 0), (0, INTERIOR)))
    graphs = _unrank(np.unique(_ranks(codes[valid(codes)])))
    labels = np.array(list(itertools.product(range(len(OPS)), repeat=INTERIOR)))
    codes = np.repeat(graphs, len(labels), axis=0)
    codes[:, len(SOURCES) :] = np.tile(labels, (len(graphs), 1))
    codes = _unrank(np.unique(_ranks(codes)))
    codes.flags.writeable = False
    return codes
