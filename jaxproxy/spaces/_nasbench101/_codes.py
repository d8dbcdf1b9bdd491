"""NAS-Bench-101 on the host: codes, matrices, strings, hashes and exact counts.

A module has up to seven vertices: 0 is its input, 6 its output, and those between apply
an operation of :data:`OPS`. A code is ``int32[26]``: the 21 entries above the diagonal
of the 7x7 adjacency matrix, row by row, and the operations of vertices 1 to 5. Vertices
that are on no path from input to output are pruned, so that a graph of fewer vertices
has codes too; their genes mean nothing. A code is an architecture if there is a path
and its pruned graph has at most nine edges, which is the benchmark's own rule; before
pruning there may be more.

The network: a 3x3 convolution to 128 channels with BatchNorm and ReLU; three stacks of
three modules; a 2x2 max-pooling between stacks, after which channels double; global
average pooling and a linear layer. In a module, the vertices that feed the output share
its channels evenly, the first ones getting one more each where that leaves a rest; any
other has as many as the widest that it feeds. A vertex sums a projection of the
module's input (a 1x1 convolution with BatchNorm and ReLU), if that feeds it, and its
other predecessors, cut to its channels. The output concatenates what feeds it, and adds
a projection of the input, if that feeds it as well.

Functions take one code or any array of codes, genes last, unless they say otherwise.

References:
  Ying et al., "NAS-Bench-101", ICML 2019, arXiv:1902.09635.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxproxy.options import quoted
from jaxproxy.spaces._nasbench101._forms import matrix_and_ops

OPS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
INPUT, OUTPUT = "input", "output"
NUM_VERTICES = 7
INTERIOR = NUM_VERTICES - 2
MAX_EDGES = 9
MAX_SHARES = MAX_EDGES // 2
"""Vertices that can feed the output: each takes two edges at least."""
SOURCES, TARGETS = np.triu_indices(NUM_VERTICES, 1)
CHOICES = (2,) * len(SOURCES) + (len(OPS),) * INTERIOR

_CONV3, _CONV1, _POOL = range(len(OPS))
_EXAMPLE = "011/001/000:input|conv3x3-bn-relu|output"


class Modules(NamedTuple):
    """Pruned graphs of codes."""

    matrix: np.ndarray
    """bool[..., 7, 7], no edges at a vertex that is on no path."""
    ops: np.ndarray
    """int[..., 5], of vertices 1 to 5."""
    live: np.ndarray
    """bool[..., 7], which vertices are on a path; none, if there is no path."""


def _split(code: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matrix bool[..., 7, 7] and operations int[..., 5]; ValueError if wrong."""
    code = np.asarray(code)
    if not np.issubdtype(code.dtype, np.integer) or code.shape[-1:] != (len(CHOICES),):
        raise ValueError(
            f"a NAS-Bench-101 code is integer[..., {len(CHOICES)}], "
            f"got {code.dtype}{list(code.shape)}"
        )
    for what, genes, num in (
        ("edges", code[..., : len(SOURCES)], 2),
        ("operations", code[..., len(SOURCES) :], len(OPS)),
    ):
        wrong = genes[(genes < 0) | (genes >= num)]
        if wrong.size:
            raise ValueError(f"{what} are 0 to {num - 1}, got {wrong[0]}")
    matrix = np.zeros((*code.shape[:-1], NUM_VERTICES, NUM_VERTICES), bool)
    matrix[..., SOURCES, TARGETS] = code[..., : len(SOURCES)]
    return matrix, code[..., len(SOURCES) :]


def join(matrix: np.ndarray, ops: np.ndarray) -> np.ndarray:
    """Codes int32[..., 26] of [..., 7, 7] matrices and operations [..., 5]."""
    edges = matrix[..., SOURCES, TARGETS]
    return np.concatenate([edges, ops], -1).astype(np.int32)


def modules(code: np.ndarray) -> Modules:
    """Pruned graphs; without edges where there is no path."""
    matrix, ops = _split(code)
    fed, read = np.zeros((2, *matrix.shape[:-1]), bool)
    fed[..., 0] = read[..., -1] = True
    for v in range(1, NUM_VERTICES):
        fed[..., v] = (fed & matrix[..., v]).any(-1)
        back = NUM_VERTICES - 1 - v
        read[..., back] = (read & matrix[..., back, :]).any(-1)
    live = fed & read
    return Modules(matrix & live[..., None] & live[..., None, :], ops, live)


def valid(code: np.ndarray) -> np.ndarray:
    """Which codes have a path and at most nine edges after pruning, bool[...]."""
    matrix, _, live = modules(code)
    return live[..., 0] & (matrix.sum((-2, -1)) <= MAX_EDGES)


def explain(code: np.ndarray) -> str:
    """Why one code is no architecture."""
    matrix, _, live = modules(code)
    if not live[0]:
        return "there is no path from input to output"
    return f"its pruned graph has {matrix.sum()} edges, more than {MAX_EDGES}"


def prune(matrix: np.ndarray, ops: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Matrix int32[V, V] and operations of the vertices on a path, ends included.

    Args:
      matrix: [V, V] of 0 and 1 above the diagonal, V from 2 to 7.
      ops: of all vertices, ``"input"`` first and ``"output"`` last.

    Raises:
      ValueError: as :func:`from_matrix`.
    """
    return pruned(from_matrix(matrix, ops))


def pruned(code: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """As :func:`prune`, of one code; nothing if there is no path."""
    matrix, ops, live = modules(code)
    names = (INPUT, *(OPS[op] for op in ops), OUTPUT)
    kept = np.flatnonzero(live)
    return matrix[np.ix_(kept, kept)].astype(np.int32), tuple(names[v] for v in kept)


def from_matrix(matrix: np.ndarray, ops: Sequence[str]) -> np.ndarray:
    """Code ``int32[26]`` of a graph of two to seven vertices.

    Of fewer than seven, the last ones before the output are on no path.

    Args:
      matrix: [V, V] of 0 and 1, edges from rows to columns.
      ops: of all vertices, ``"input"`` first and ``"output"`` last.

    Raises:
      ValueError: a matrix that is not square, has another entry or one on or below the
        diagonal; too many vertices or edges; an unknown operation, or another number of
        them; no path from input to output.
    """
    matrix = np.asarray(matrix)
    num = len(matrix) if matrix.ndim else 0
    if matrix.shape != (num, num) or not 2 <= num <= NUM_VERTICES:
        raise ValueError(
            f"a matrix is square with 2 to {NUM_VERTICES} vertices, "
            f"got shape {list(matrix.shape)}"
        )
    if not np.isin(matrix, (0, 1)).all():
        raise ValueError(f"entries are 0 or 1, got {matrix.tolist()}")
    if np.tril(matrix).any():
        raise ValueError(
            "edges go from a vertex to a later one: the matrix is zero on and below "
            f"its diagonal, got {matrix.astype(int).tolist()}"
        )
    if len(ops) != num or (ops[0], ops[-1]) != (INPUT, OUTPUT):
        raise ValueError(
            f"operations of {num} vertices are 'input', {num - 2} of {OPS} and "
            f"'output', got {list(ops)}"
        )
    for op in ops[1:-1]:
        if op not in OPS:
            raise ValueError(f"unknown operation {quoted(op)}; choose from {OPS}")
    places = [*range(num - 1), NUM_VERTICES - 1]
    full = np.zeros((NUM_VERTICES, NUM_VERTICES), int)
    full[np.ix_(places, places)] = matrix
    dead = [_CONV3] * (NUM_VERTICES - num)
    code = join(full, np.array([*map(OPS.index, ops[1:-1]), *dead], int))
    if not valid(code):
        raise ValueError(f"this is no architecture of NAS-Bench-101: {explain(code)}")
    return code


def to_str(code: np.ndarray) -> str:
    """``0110000/.../0000000:input|conv3x3-bn-relu|...|output`` of one code ``[26]``.

    All seven vertices are there, so that the code comes back.
    """
    if np.ndim(code) != 1:
        raise ValueError(
            f"to_str takes one code [26], got shape {list(np.shape(code))}"
        )
    matrix, ops = _split(code)
    rows = ("".join(map(str, row)) for row in matrix.astype(int))
    names = (INPUT, *(OPS[op] for op in ops), OUTPUT)
    return f"{'/'.join(rows)}:{'|'.join(names)}"


def from_str(arch: str) -> np.ndarray:
    """Code ``int32[26]`` of rows of a matrix and operations, of two to seven vertices.

    Python text of both is read as well, in the forms that the errors name.

    Raises:
      ValueError: a malformed string, or what :func:`from_matrix` refuses.
    """
    if (pair := matrix_and_ops(arch)) is not None:
        return _from_pair(arch, np.array(pair[0]), pair[1])
    rows, colon, names = arch.strip().partition(":")
    lines = rows.split("/")
    square = all(len(line) == len(lines) for line in lines)
    if not colon or not square or not set(rows) <= set("01/"):
        raise ValueError(
            f"{quoted(arch)} is not a square matrix of 0 and 1, a colon and "
            "operations, "
            f"as in {_EXAMPLE!r}"
        )
    matrix = np.array([list(map(int, line)) for line in lines])
    return _from_pair(arch, matrix, names.split("|"))


def _from_pair(arch: str, matrix: np.ndarray, ops: Sequence[str]) -> np.ndarray:
    try:
        return from_matrix(matrix, ops)
    except ValueError as error:
        raise ValueError(f"{quoted(arch)}: {error}") from None


def module_hash(code: np.ndarray) -> str:
    """The benchmark's hash of one code's pruned graph, 32 hexadecimal digits.

    Graphs have equal hashes if, and only if, they are isomorphic with their operations.

    Raises:
      ValueError: there is no path.
    """
    matrix, ops = pruned(code)
    if not len(matrix):
        raise ValueError(f"{to_str(code)} has no hash: {explain(code)}")
    labels = [-1, *map(OPS.index, ops[1:-1]), -2]
    degrees = zip(matrix.sum(1).tolist(), matrix.sum(0).tolist(), labels, strict=True)
    hashes = [_md5(str(vertex)) for vertex in degrees]

    def concatenated(neighbours: np.ndarray) -> str:
        return "".join(sorted(hashes[v] for v in np.flatnonzero(neighbours)))

    for _ in ops:
        hashes = [
            _md5(f"{concatenated(matrix[:, v])}|{concatenated(matrix[v])}|{own}")
            for v, own in enumerate(hashes)
        ]
    return _md5(str(sorted(hashes)))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def vertex_channels(matrix: np.ndarray, channels: int) -> np.ndarray:
    """Channels int64[..., 5] of vertices 1 to 5 of pruned graphs; 0 of pruned ones.

    Args:
      matrix: bool[..., 7, 7], pruned.
      channels: of the module's output.
    """
    feeds = matrix[..., 1:-1, -1]
    num = np.maximum(feeds.sum(-1, keepdims=True), 1)
    extra = np.cumsum(feeds, -1) <= channels % num
    width = np.where(feeds, channels // num + extra, 0)
    for v in range(INTERIOR - 2, -1, -1):
        widest = (width * matrix[..., v + 1, 1:-1]).max(-1)
        width[..., v] = np.where(feeds[..., v], width[..., v], widest)
    return width
