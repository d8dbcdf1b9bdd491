"""Edges on a path through a cell, against every path written out."""

import itertools

import jax
import numpy as np

from jaxproxy.spaces import nasbench201
from jaxproxy.spaces._nasbench201._kernel._buffers import DST, SRC, used_edges


def _by_paths(runs: tuple[bool, ...]) -> list[bool]:
    used = [False] * 6
    # From node 0 to node 3: directly, by node 1, by node 2, or by both.
    for path in ((3,), (0, 4), (1, 5), (0, 2, 5)):
        if all(runs[e] for e in path):
            for e in path:
                used[e] = True
    return used


def test_every_pattern_of_edges() -> None:
    patterns = list(itertools.product((False, True), repeat=6))
    given = jax.vmap(used_edges)(np.array(patterns, np.int32))
    np.testing.assert_array_equal(given, [_by_paths(p) for p in patterns])
    assert (SRC, DST) == ((0, 0, 1, 0, 1, 2), (1, 2, 2, 3, 3, 3))


def test_agrees_with_the_host() -> None:
    space = nasbench201()
    codes = space.sample(np.random.default_rng(0), 500)
    every = (np.asarray(jax.vmap(used_edges)(codes)) == (codes != 0)).all(1)
    np.testing.assert_array_equal(every, space.reachable(codes))
