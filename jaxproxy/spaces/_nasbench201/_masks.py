"""Masks of NAS-Bench-201's supernet on the host: strings and counts.

A mask says which operations of which edges are live, ``int32[24]`` of zeros and ones:
gene ``4 * e + o`` is operation ``LIVE_OPS[o]`` on edge ``EDGES[e]``. There is no gene
for ``none``, since pruning begins without it. Functions take one mask or any array of
masks, genes last, and drop that axis.
"""

from collections.abc import Callable

import numpy as np

from jaxproxy.options import quoted
from jaxproxy.spaces._codes import check_one, checked
from jaxproxy.spaces._nasbench201._codes import EDGES, NODES, NONE, OPS
from jaxproxy.spaces._records import Graph
from jaxproxy.spaces._strings import TextTable

LIVE_OPS = OPS[1:]
NUM_GENES = len(EDGES) * len(LIVE_OPS)
_EXAMPLE = (
    "|skip_connect/nor_conv_3x3~0|+|avg_pool_3x3~0|skip_connect~1|"
    "+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|"
)


def live_ops(mask: np.ndarray) -> np.ndarray:
    """Which operations are live, ``bool[..., 6, 4]``; ValueError if no mask."""
    mask = checked(mask, NUM_GENES, range(2), "nasbench201_supernet", "genes")
    return mask.reshape(*mask.shape[:-1], len(EDGES), len(LIVE_OPS)).astype(bool)


def valid(mask: np.ndarray) -> np.ndarray:
    """Whether every edge has an operation, ``bool[...]``."""
    return np.all(live_ops(mask).any(-1), axis=-1)


def explain(mask: np.ndarray) -> str:
    """Why a mask is no architecture."""
    edge = int(np.argmin(live_ops(mask).any(-1)))
    return "the edge from node {} to node {} has no operation".format(*EDGES[edge])


def to_str(mask: np.ndarray) -> str:
    """The official string, with all operations of an edge joined by ``/``."""
    check_one(mask, NUM_GENES)
    nodes = ["|", "|", "|"]
    for (source, target), live in zip(EDGES, live_ops(mask), strict=True):
        nodes[target - 1] += f"{_joined(live)}~{source}|"
    return "+".join(nodes)


def node_tables() -> list[TextTable]:
    """The texts of nodes 1, 2 and 3, which ``+`` joins to a mask's string.

    Node 3 has the most, 2 ** 12 of them.
    """
    sizes = range(1, len(NODES))
    return [TextTable((2,) * (len(LIVE_OPS) * size), _node) for size in sizes]


def _node(*live: int) -> str:
    """Text of a node by the genes of its edges, from source 0 on."""
    edges = np.array(live).reshape(-1, len(LIVE_OPS))
    texts = (f"{_joined(edge)}~{source}|" for source, edge in enumerate(edges))
    return f"|{''.join(texts)}"


def from_str(arch: str) -> np.ndarray:
    """Mask ``int32[24]`` of a string, which may be that of an architecture.

    Raises:
      ValueError: not three nodes, predecessors other than 0, 1, ... in order, or
        operations of an edge that are not some of :data:`LIVE_OPS`, each once.
    """
    nodes = [node.split("|") for node in arch.split("+")]
    # "|op~0|op~1|" is split into an empty text, two edges and an empty text.
    shape = [len(node) for node in nodes if node[0] == node[-1] == ""]
    if shape != [3, 4, 5]:
        raise ValueError(
            f"{quoted(arch)} is not of three nodes and six edges: {_EXAMPLE!r}"
        )
    mask = np.zeros((len(EDGES), len(LIVE_OPS)), np.int32)
    edges = [edge for node in nodes for edge in node[1:-1]]
    for place, ((source, _), edge) in enumerate(zip(EDGES, edges, strict=True)):
        joined, _, predecessor = edge.partition("~")
        if predecessor != str(source):
            raise ValueError(
                f"edge {quoted(edge)} of {quoted(arch)} is not of the form "
                f"'op~{source}'"
            )
        ops = joined.split("/")
        wrong = [op for op in ops if op not in LIVE_OPS or ops.count(op) > 1]
        if wrong:
            raise ValueError(
                f"operation {quoted(wrong[0])} in {quoted(arch)} is unknown or given "
                "twice; each "
                f"edge has some of {LIVE_OPS}"
            )
        mask[place, [LIVE_OPS.index(op) for op in ops]] = 1
    return mask.reshape(-1)


def graph(mask: np.ndarray) -> Graph:
    """The cell, with the live operations on its edges."""
    pairs = zip(EDGES, live_ops(mask), strict=True)
    return Graph(
        NODES,
        tuple((*ends, _joined(live)) for ends, live in pairs),
    )


def added(count: Callable[[np.ndarray], np.ndarray], mask: np.ndarray) -> np.ndarray:
    """What a count of codes, a sum over edges, is of all live operations, ``[...]``."""
    codes = np.full((len(OPS), len(EDGES)), NONE, np.int32)
    codes[:, 0] = np.arange(len(OPS))
    base, *others = np.asarray(count(codes))
    numbers = live_ops(mask).sum(-2)
    return base + numbers @ (np.stack(others) - base)


def _joined(live: np.ndarray) -> str:
    return "/".join(op for op, is_live in zip(LIVE_OPS, live, strict=True) if is_live)
