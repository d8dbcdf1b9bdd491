"""Strings of many modules of NAS-Bench-101 at once, of two to seven vertices."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from jaxproxy.spaces._nasbench101._codes import (
    CHOICES,
    INPUT,
    NUM_VERTICES,
    OPS,
    OUTPUT,
    SOURCES,
    TARGETS,
)
from jaxproxy.spaces._strings import TextTable, read_tables, write_tables


class _Form(NamedTuple):
    """Strings of modules of V vertices, as ``0110/0010/0001/0000:input|...|output``."""

    rows: int
    """Where the third row of the matrix begins in a string."""
    colon: int
    """Where the operations begin."""
    tables: tuple[TextTable, TextTable, TextTable]
    """The first two rows of the matrix, the others and the colon, the operations."""
    genes: np.ndarray
    """Which genes of a code the tables have, in this order; others are 0."""


@cache
def _form(num: int) -> _Form:
    """Returns the strings of ``num`` vertices; of rows, 2,048 and 1,024 at most."""

    def rows(first: int, last: int) -> tuple[tuple[int, ...], TextTable]:
        ends = [(s, t) for s in range(first, last) for t in range(s + 1, num)]

        def text(*edges: int) -> str:
            matrix = np.zeros((num, num), int)
            for end, edge in zip(ends, edges, strict=True):
                matrix[end] = edge
            lines = ("".join(map(str, row)) for row in matrix[first:last].tolist())
            return "/".join(lines) + (":" if last == num else "/")

        return tuple(_gene(*end, num) for end in ends), TextTable(
            (2,) * len(ends), text
        )

    def operations(*ops: int) -> str:
        return "|".join((INPUT, *(OPS[op] for op in ops), OUTPUT))

    cut = min(2, num - 1)
    (upper, head), (lower, tail) = rows(0, cut), rows(cut, num)
    names = TextTable((len(OPS),) * (num - 2), operations)
    genes = (*upper, *lower, *(len(SOURCES) + v for v in range(num - 2)))
    begin = cut * (num + 1)
    return _Form(begin, num * (num + 1), (head, tail, names), np.array(genes))


def _gene(source: int, target: int, num: int) -> int:
    """Returns the gene of an edge of ``num`` vertices, the last of which is the output.

    Vertices that are missing come before the output: of three, an edge from 1 to 2 is
    that from 1 to 6.
    """
    target = NUM_VERTICES - 1 if target == num - 1 else target
    return int(np.flatnonzero((source == SOURCES) & (target == TARGETS))[0])


def write(codes: np.ndarray) -> list[str]:
    """Strings of codes int[N, 26], with all seven vertices."""
    return write_tables(_form(NUM_VERTICES).tables, codes, "")


def read(archs: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Codes int32[N, 26], valid or not, of strings, and which were read, bool[N]."""
    codes = np.zeros((len(archs), len(CHOICES)), np.int32)
    known = np.zeros(len(archs), bool)
    ends = np.array([arch.find(":") + 1 for arch in archs], int)
    for num in range(2, NUM_VERTICES + 1):
        form = _form(num)
        rows = np.flatnonzero(ends == form.colon)
        some = [archs[row] for row in rows.tolist()]
        cuts = slice(form.rows), slice(form.rows, form.colon), slice(form.colon, None)
        genes, fits = read_tables(form.tables, ([s[cut] for s in some] for cut in cuts))
        codes[np.ix_(rows, form.genes)] = genes
        known[rows] = fits
    return codes, known
