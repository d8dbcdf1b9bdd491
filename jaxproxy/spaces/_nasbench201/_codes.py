"""NAS-Bench-201's codes on the host: strings, official order, reachability.

A code holds the operations of a cell's six edges, ``int32[6]`` with values that index
:data:`OPS`, in the order of :data:`EDGES`, which is the order of the official string
``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``. Node 0 is the cell's input and node 3 its
output; a node is the sum of its incoming edges.

The network: a 3x3 convolution and BatchNorm; three stages of ``cells`` cells with
``width``, ``2 * width`` and ``4 * width`` channels; between stages a residual reduction
cell; BatchNorm, ReLU, global average pooling and a linear layer.

Except for the string functions, functions take one code or any array of codes, genes
last, and drop that axis.

References:
  Dong and Yang, "NAS-Bench-201", ICLR 2020, arXiv:2001.00326.
"""

import functools
import random

import numpy as np

from jaxproxy.options import quoted
from jaxproxy.spaces._codes import all_on_paths, check_one, checked
from jaxproxy.spaces._records import Graph
from jaxproxy.spaces._strings import TextTable

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
NODES = ("input", "1", "2", "output")
NUM_ARCHS = len(OPS) ** len(EDGES)

NONE, SKIP, CONV1, CONV3, POOL = range(len(OPS))
_EXAMPLE = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|none~2|"
_PLACES = len(OPS) ** np.arange(len(EDGES))[::-1]


def rank_of(code: np.ndarray) -> np.ndarray:
    """Lexicographic rank int64[...] of codes [..., 6]; ValueError if wrong.

    A tuple is refused: those of NASLib have another order and other numbers.
    """
    if isinstance(code, tuple):
        raise ValueError(
            f"a code of NAS-Bench-201 is an array, not the tuple {code}; one of NASLib "
            f"is read as text, by from_str({str(code)!r})"
        )
    code = checked(code, len(EDGES), OPS, "NAS-Bench-201", "operations")
    return code @ _PLACES


def codes_of(rank: np.ndarray) -> np.ndarray:
    """Codes int32[..., 6] of lexicographic ranks [...]."""
    return (np.asarray(rank)[..., None] // _PLACES % len(OPS)).astype(np.int32)


def to_str(code: np.ndarray) -> str:
    """Official string of one code ``[6]``."""
    check_one(code, len(EDGES))
    rank_of(code)
    nodes = ["|", "|", "|"]
    for (source, target), op in zip(EDGES, code, strict=True):
        nodes[target - 1] += f"{OPS[op]}~{source}|"
    return "+".join(nodes)


def node_tables() -> list[TextTable]:
    """The texts of nodes 1, 2 and 3, which ``+`` joins to an official string."""
    sizes = range(1, len(NODES))
    return [TextTable((len(OPS),) * size, _node) for size in sizes]


def _node(*ops: int) -> str:
    """Text of a node by the operations on its edges, from source 0 on."""
    edges = (f"{OPS[op]}~{source}|" for source, op in enumerate(ops))
    return f"|{''.join(edges)}"


def from_str(arch: str) -> np.ndarray:
    """Code ``int32[6]`` of an official string.

    Raises:
      ValueError: not three nodes, an operation that is not in :data:`OPS`, or
        predecessors other than 0, 1, ... in order.
    """
    nodes = arch.split("+")
    if len(nodes) != 3:
        raise ValueError(
            f"{quoted(arch)} has {len(nodes)} nodes, not 3 as in {_EXAMPLE!r}"
        )
    code = []
    for target, node in enumerate(nodes, start=1):
        if len(node) < 2 or not (node[0] == node[-1] == "|"):
            raise ValueError(
                f"node {target} of {quoted(arch)} is malformed; expected {_EXAMPLE!r}"
            )
        edges = node[1:-1].split("|")
        if len(edges) != target:
            raise ValueError(
                f"node {target} of {quoted(arch)} has {len(edges)} edges, not {target}"
            )
        code += [_edge_op(arch, source, edge) for source, edge in enumerate(edges)]
    return np.array(code, np.int32)


def _edge_op(arch: str, source: int, edge: str) -> int:
    """Operation of an edge ``op~source`` of an architecture string."""
    op, tilde, predecessor = edge.partition("~")
    if not tilde:
        raise ValueError(
            f"edge {quoted(edge)} of {quoted(arch)} is not of the form 'op~node'"
        )
    if op not in OPS:
        raise ValueError(
            f"unknown operation {quoted(op)} in {quoted(arch)}; choose from {OPS}"
        )
    if predecessor != str(source):
        raise ValueError(
            f"edge {quoted(edge)} of {quoted(arch)} has predecessor "
            f"{quoted(predecessor)}, not {source}"
        )
    return OPS.index(op)


@functools.cache
def enumerate_codes() -> np.ndarray:
    """All codes ``int32[15625, 6]``, read-only, in the official index order.

    That order is the lexicographic one shuffled by ``random.seed(88)``.
    """
    ranks = list(range(NUM_ARCHS))
    random.Random(88).shuffle(ranks)
    codes = codes_of(np.array(ranks))
    codes.flags.writeable = False
    return codes


def reachable(code: np.ndarray) -> np.ndarray:
    """Whether every operation lies on a path from node 0 to node 3, ``bool[...]``.

    ``none`` is no operation and no edge of a path. True for 9,445 architectures, the
    ones that NAS-Bench-Suite-Zero and the tables of VKDNW use.
    """
    rank_of(code)
    return all_on_paths(EDGES, np.asarray(code) != NONE)


def graph(code: np.ndarray) -> Graph:
    """The cell, with the operations on its edges; ``none`` is no edge."""
    rank_of(code)
    edges = zip(EDGES, np.asarray(code).tolist(), strict=True)
    return Graph(
        NODES,
        tuple((*ends, OPS[op]) for ends, op in edges if op != NONE),
    )
