"""NAS-Bench-201 on the host: strings, official order, isomorphism, exact counts.

A code holds the operations of a cell's six edges, ``int32[6]`` with values that index
:data:`OPS`, in the order of :data:`EDGES`, which is the order of the official string
``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``. Node 0 is the cell's input and node 3 its
output; a node is the sum of its incoming edges.

The network: a 3x3 convolution and BatchNorm; three stages of ``cells`` cells with
``width``, ``2 * width`` and ``4 * width`` channels; between stages a residual reduction
cell; BatchNorm, ReLU, global average pooling and a linear layer. The module that
builds it, and the factory of the :class:`Space`, are siblings of this file, which
needs numpy only.

Except for the string functions, functions take one code or any array of codes, genes
last, and drop that axis.

References:
  Dong and Yang, "NAS-Bench-201", ICLR 2020, arXiv:2001.00326.
"""

import functools
import random
from collections.abc import Sequence

import numpy as np

from jaxproxy.spaces._codes import all_on_paths, check_one, checked
from jaxproxy.spaces._space import Graph

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
NUM_ARCHS = len(OPS) ** len(EDGES)

_NONE, _SKIP, _CONV1, _CONV3, _POOL = range(len(OPS))
_EXAMPLE = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|none~2|"
_PLACES = len(OPS) ** np.arange(len(EDGES))[::-1]
# Relative seconds of an edge by operation, and of what every cell costs besides.
_OP_COST = np.array([0.0, 1.0, 2.0, 10.0, 1.5])
_CELL_COST = 8.0


def _rank(code: np.ndarray) -> np.ndarray:
    """Lexicographic rank int64[...] of codes [..., 6]; ValueError if wrong."""
    code = checked(code, len(EDGES), OPS, "NAS-Bench-201", "operations")
    return code @ _PLACES


def _unrank(rank: np.ndarray) -> np.ndarray:
    """Codes int32[..., 6] of lexicographic ranks [...]."""
    return (np.asarray(rank)[..., None] // _PLACES % len(OPS)).astype(np.int32)


def to_str(code: np.ndarray) -> str:
    """Official string of one code ``[6]``."""
    check_one(code, len(EDGES))
    _rank(code)
    nodes = ["|", "|", "|"]
    for (source, target), op in zip(EDGES, code, strict=True):
        nodes[target - 1] += f"{OPS[op]}~{source}|"
    return "+".join(nodes)


def from_str(arch: str) -> np.ndarray:
    """Code ``int32[6]`` of an official string.

    Raises:
      ValueError: not three nodes, an operation that is not in :data:`OPS`, or
        predecessors other than 0, 1, ... in order.
    """
    nodes = arch.split("+")
    if len(nodes) != 3:
        raise ValueError(f"{arch!r} has {len(nodes)} nodes, not 3 as in {_EXAMPLE!r}")
    code = []
    for target, node in enumerate(nodes, start=1):
        if len(node) < 2 or not (node[0] == node[-1] == "|"):
            raise ValueError(
                f"node {target} of {arch!r} is malformed; expected {_EXAMPLE!r}"
            )
        edges = node[1:-1].split("|")
        if len(edges) != target:
            raise ValueError(
                f"node {target} of {arch!r} has {len(edges)} edges, not {target}"
            )
        code += [_edge_op(arch, source, edge) for source, edge in enumerate(edges)]
    return np.array(code, np.int32)


def _edge_op(arch: str, source: int, edge: str) -> int:
    """Operation of an edge ``op~source`` of an architecture string."""
    op, tilde, predecessor = edge.partition("~")
    if not tilde:
        raise ValueError(f"edge {edge!r} of {arch!r} is not of the form 'op~node'")
    if op not in OPS:
        raise ValueError(f"unknown operation {op!r} in {arch!r}; choose from {OPS}")
    if predecessor != str(source):
        raise ValueError(
            f"edge {edge!r} of {arch!r} has predecessor {predecessor!r}, not {source}"
        )
    return OPS.index(op)


@functools.cache
def enumerate_codes() -> np.ndarray:
    """All codes ``int32[15625, 6]``, read-only, in the official index order.

    That order is the lexicographic one shuffled by ``random.seed(88)``.
    """
    ranks = list(range(NUM_ARCHS))
    random.Random(88).shuffle(ranks)
    codes = _unrank(np.array(ranks))
    codes.flags.writeable = False
    return codes


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
            if op == _NONE or nodes[source] == "#":
                terms.append("#")
            elif op == _SKIP:
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
    ranks = _rank(codes[order])
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
    return _unrank(_representatives()[_rank(code)])


def reachable(code: np.ndarray) -> np.ndarray:
    """Whether every operation lies on a path from node 0 to node 3, ``bool[...]``.

    ``none`` is no operation and no edge of a path. True for 9,445 architectures, the
    ones that NAS-Bench-Suite-Zero and the tables of VKDNW use.
    """
    _rank(code)
    return all_on_paths(EDGES, np.asarray(code) != _NONE)


def _count_convs(code: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of 1x1 and of 3x3 convolutions in a cell, int64[...] each."""
    _rank(code)
    code = np.asarray(code)
    return (code == _CONV1).sum(-1), (code == _CONV3).sum(-1)


def num_params(
    code: np.ndarray, *, width: int = 16, cells: int = 5, num_classes: int = 10
) -> np.ndarray:
    """Trainable parameters ``int64[...]``, equal to the benchmark's.

    Convolutions have no bias, BatchNorms two parameters per channel. Convolutions
    that cannot influence the output count too.
    """
    conv1, conv3 = _count_convs(code)
    stages = [width, 2 * width, 4 * width]
    per_edge1 = sum(c * c + 2 * c for c in stages)
    per_edge3 = sum(9 * c * c + 2 * c for c in stages)
    # Reduction to c channels: 3x3 from c / 2, 3x3, their BatchNorms, 1x1 shortcut.
    reductions = sum(
        9 * c * c // 2 + 9 * c * c + 4 * c + c * c // 2 for c in stages[1:]
    )
    stem = 27 * width + 2 * width
    head = 2 * stages[-1] + (stages[-1] + 1) * num_classes
    return stem + cells * (conv1 * per_edge1 + conv3 * per_edge3) + reductions + head


def num_tensors(code: np.ndarray, *, cells: int = 5) -> np.ndarray:
    """Named parameter tensors ``int64[...]`` of the benchmark's network.

    Three for every convolution with its BatchNorm, one for each of the two shortcuts,
    and two each for the last BatchNorm and the classifier.
    """
    conv1, conv3 = _count_convs(code)
    return 3 * 3 * cells * (conv1 + conv3) + 3 * 5 + 2 + 2 + 2


def num_macs(
    code: np.ndarray,
    *,
    width: int = 16,
    cells: int = 5,
    resolution: int = 32,
    num_classes: int = 10,
) -> np.ndarray:
    """Multiply-adds of one image ``int64[...]``, equal to the benchmark's FLOPs.

    As there, convolutions and the linear layer (with its bias) count, and BatchNorm,
    ReLU, pooling and sums are free. The tables of the benchmark have 32 pixels, 16 for
    ImageNet16-120.

    Raises:
      ValueError: the resolution is not a positive multiple of 4.
    """
    if resolution < 4 or resolution % 4:
        raise ValueError(f"resolution must be a multiple of 4, got {resolution}")
    conv1, conv3 = _count_convs(code)
    # A stage has twice the channels on a quarter of the pixels: the same arithmetic.
    stage = (width * resolution) ** 2
    reduction = 9 * stage // 2 + 9 * stage + stage // 2
    stem = 27 * width * resolution**2
    head = (4 * width + 1) * num_classes
    return stem + 3 * cells * (conv1 + 9 * conv3) * stage + 2 * reduction + head


def graph(code: np.ndarray) -> Graph:
    """The cell, with the operations on its edges; ``none`` is no edge."""
    _rank(code)
    edges = zip(EDGES, np.asarray(code).tolist(), strict=True)
    return Graph(
        ("input", "1", "2", "output"),
        tuple((*ends, OPS[op]) for ends, op in edges if op != _NONE),
    )


def cost(codes: np.ndarray) -> np.ndarray:
    """Relative time ``float64[...]`` of a cell, to balance devices; not a latency."""
    _rank(codes)
    return _CELL_COST + _OP_COST[np.asarray(codes)].sum(-1)
