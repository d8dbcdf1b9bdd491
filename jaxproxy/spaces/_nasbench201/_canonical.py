"""NAS-Bench-201's isomorphism classes."""

import functools
from collections.abc import Sequence

import numpy as np

from jaxproxy.spaces._nasbench201._codes import (
    EDGES,
    NONE,
    NUM_ARCHS,
    OPS,
    SKIP,
    codes_of,
    enumerate_codes,
    rank_of,
)
from jaxproxy.spaces._nasbench201._counts import num_params


def _unique_string(code: Sequence[int]) -> str:
    """NAS-Bench-201's own string of what node 3 computes.

    A node is the sorted sum of its edges: ``#`` for ``none`` and for any edge out of a
    node that is exactly ``#``, the source's own string for a skip, and ``(source)@op``
    otherwise.
    """
    nodes = ["0", "", "", ""]
    for target in (1, 2, 3):
        terms = []
        for (source, end), op in zip(EDGES, code, strict=True):
            if end != target:
                continue
            if op == NONE or nodes[source] == "#":
                terms.append("#")
            elif op == SKIP:
                terms.append(nodes[source])
            else:
                terms.append(f"({nodes[source]})@{OPS[op]}")
        nodes[target] = "+".join(sorted(terms))
    return nodes[3]


@functools.cache
def _representatives() -> np.ndarray:
    """Rank int64[15625] of the representative, by rank of the architecture."""
    codes = enumerate_codes()
    # Cheapest first, then the official order: the first of a class represents it.
    order = np.argsort(num_params(codes), kind="stable")
    strings = [_unique_string(code) for code in codes[order].tolist()]
    ranks = rank_of(codes[order])
    first: dict[str, int] = {}
    for string, rank in zip(strings, ranks.tolist(), strict=True):
        first.setdefault(string, rank)
    table = np.empty(NUM_ARCHS, np.int64)
    table[ranks] = [first[string] for string in strings]
    return table


def canonical(code: np.ndarray) -> np.ndarray:
    """Representatives ``int32[..., 6]`` of the isomorphism classes of codes.

    There are 6,466 classes, those of the benchmark's ``isomorphism_str``. The
    representative is the member with the fewest parameters, the one of smallest
    official index among equals.

    Surprising, and worth knowing before a score is shared within a class: the members
    compute the same expression of operations, **not the same network**. In 578 classes
    (7,935 architectures) the numbers of parameters differ, because members differ in
    convolutions that cannot reach the output, or that read nothing but zeros; in 430
    classes (1,786 architectures) even the live convolutions differ, since the string
    cannot tell one convolution that is read twice from two convolutions. Nor do the
    classes merge all that compute the same: a zero sum ``#+#`` is not ``#``.
    """
    return codes_of(_representatives()[rank_of(code)])
