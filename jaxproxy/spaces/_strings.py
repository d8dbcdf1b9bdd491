"""Strings of many codes at once: genes in a row are looked up in a table of texts.

One code after another takes tens of microseconds in Python, most of it checks of one
small array. Here arrays are checked as a whole, and a code costs a few look-ups.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np


class Strings(NamedTuple):
    """How a space writes and reads the strings of many codes at once.

    Both must agree with ``to_str`` and ``from_str``, which are the definition.
    """

    write: Callable[[np.ndarray], list[str]]
    """Codes int[N, G] with genes in range -> N strings."""
    read: Callable[[Sequence[str]], tuple[np.ndarray, np.ndarray]]
    """N strings -> codes int32[N, G], and which of them were read, bool[N]; any other
    string is left to ``from_str``, and so is one that is no architecture."""


class TextTable:
    """The texts of all values of some genes in a row, and the genes of a text."""

    def __init__(self, choices: Sequence[int], text: Callable[..., str]) -> None:
        """Writes all texts.

        Args:
          choices: number of values of each of the k genes.
          text: k genes -> their text; no two of them share one.
        """
        genes = [*itertools.product(*map(range, choices))]
        self.texts = [text(*values) for values in genes]
        self._ranks = {text: rank for rank, text in enumerate(self.texts)}
        self._genes = np.array(genes, np.int32).reshape(len(genes), len(choices))
        # Genes are the digits of a text's number, the first gene counting most.
        self._places = [math.prod(choices[i + 1 :]) for i in range(len(choices))]

    def write(self, genes: np.ndarray) -> Iterator[str]:
        """Returns the texts of genes int[N, k]."""
        ranks = genes.astype(np.int64) @ np.array(self._places, np.int64)
        return map(self.texts.__getitem__, ranks.tolist())

    def ranks(self, texts: Iterable[str]) -> np.ndarray:
        """Returns the numbers of texts int64[N], -1 for one that is none."""
        get = self._ranks.get
        return np.array([get(text, -1) for text in texts], np.int64)

    def genes(self, ranks: np.ndarray) -> np.ndarray:
        """Returns the genes int32[N, k] of numbers of texts, any where that is -1."""
        return self._genes[ranks]


class _Lazy:
    """Tables that are made once.

    A function with a cache could not be sent to other processes: it is pickled by the
    name of the function without.
    """

    def __init__(self, make: Callable[[], Sequence[TextTable]]) -> None:
        self._make = make

    @cached_property
    def tables(self) -> Sequence[TextTable]:
        return self._make()


def write_tables(
    tables: Sequence[TextTable], codes: np.ndarray, separator: str
) -> list[str]:
    """Returns the strings of codes int[N, G], whose genes tables share in order."""
    columns, first = [], 0
    for table in tables:
        width = table.genes(np.zeros(0, int)).shape[1]
        columns.append(table.write(codes[:, first : first + width]))
        first += width
    return [*map(separator.join, zip(*columns, strict=True))]


def read_tables(
    tables: Sequence[TextTable], columns: Iterable[Iterable[str]]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns codes int32[N, G] of a column of texts for each table, and which fit."""
    pairs = zip(tables, columns, strict=True)
    ranks = [table.ranks(column) for table, column in pairs]
    genes = [table.genes(rank) for table, rank in zip(tables, ranks, strict=True)]
    return np.concatenate(genes, axis=1), np.all(np.array(ranks) >= 0, axis=0)


def listed_strings(choices: Sequence[int], to_str: Callable[..., str]) -> Strings:
    """Returns how strings are written and read of which a table can hold all.

    Args:
      choices: number of values of each gene.
      to_str: code int[G] -> its string.
    """
    return split_strings(
        lambda: [TextTable(choices, lambda *genes: to_str(np.array(genes)))], "\0"
    )


def split_strings(
    make_tables: Callable[[], Sequence[TextTable]], separator: str
) -> Strings:
    """Returns how strings are written and read that are words with a separator.

    Args:
      make_tables: the tables of the words in order; made when they are first needed.
      separator: which is in no word.
    """
    lazy = _Lazy(make_tables)

    def write(codes: np.ndarray) -> list[str]:
        return write_tables(lazy.tables, codes, separator)

    def read(archs: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        tables = lazy.tables
        none = [""] * len(tables)
        words = (arch.split(separator) for arch in archs)
        rows = [row if len(row) == len(tables) else none for row in words]
        # Without strings there would be no columns either.
        columns = zip(*rows, strict=True) if rows else [()] * len(tables)
        return read_tables(tables, columns)

    return Strings(write, read)
