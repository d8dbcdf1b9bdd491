"""Cells that are separated by commas, semicolons or tabs, below a line of names."""

import csv
import io
import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from jaxproxy.files._numbers import Cell

DELIMITERS = (",", ";", "\t")
# Spreadsheets may say in a line of its own what separates the others.
_SEPARATOR = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)


class SheetRow(NamedTuple):
    """Cells of a row, and where it is."""

    cells: list[str]
    place: str

    def cell(self, column: int) -> Cell:
        """Returns the cell of a column, empty if the row ends before it."""
        text = self.cells[column].strip() if column < len(self.cells) else ""
        return Cell(text, self.place)


class Sheet(NamedTuple):
    """A table as text.

    Attributes:
      names: of its columns.
      rows: with at most as many cells as there are names.
      delimiter: what separates cells; empty for JSON.
    """

    names: list[str]
    rows: list[SheetRow]
    delimiter: str


def parse_sheet(text: str, path: Path, known: Collection[str]) -> Sheet:
    """Returns the table that a text is.

    Args:
      text: of the whole file.
      path: of the file, for messages.
      known: names, in lower case, of which the first line should have one: that tells
        what separates cells.

    Raises:
      ValueError: a row has more cells than there are names, or a cell is too long.
    """
    lines, first, delimiter = _start(text, known)
    reader = csv.reader(
        io.StringIO("".join(lines[first:]), newline=""),
        delimiter=delimiter,
        skipinitialspace=True,
    )
    try:
        names = [name.strip() for name in next(reader, [])]
        rows = [
            SheetRow(cells, f"line {first + reader.line_num} of {path}")
            for cells in reader
            if any(cell.strip() for cell in cells)
        ]
    except csv.Error as error:
        raise ValueError(f"line {first + reader.line_num} of {path}: {error}") from None
    for row in rows:
        if any(cell.strip() for cell in row.cells[len(names) :]):
            raise ValueError(
                f"{row.place} has {len(row.cells)} cells, but there are {len(names)} "
                f"names {names}; put quotes around a cell with {delimiter!r} in it"
            )
    return Sheet(names, rows, delimiter)


def names_of(text: str, known: Collection[str]) -> list[str]:
    """Returns the names that the first line of a text would have as a table."""
    lines, first, delimiter = _start(text, known)
    return _split(lines[first], delimiter) if first < len(lines) else []


def _start(text: str, known: Collection[str]) -> tuple[list[str], int, str]:
    """Returns lines, which of them has the names, and what separates cells."""
    lines = text.splitlines(keepends=True)
    first = next((i for i, line in enumerate(lines) if line.strip()), len(lines))
    said = _SEPARATOR.fullmatch(lines[first]) if first < len(lines) else None
    if said:
        return lines, first + 1, said[1]
    header = lines[first] if first < len(lines) else ""
    split = {delimiter: _split(header, delimiter) for delimiter in DELIMITERS}
    for delimiter, names in split.items():
        if len(names) > 1 and any(name.casefold() in known for name in names):
            return lines, first, delimiter
    return lines, first, max(split, key=lambda delimiter: len(split[delimiter]))


def _split(line: str, delimiter: str) -> list[str]:
    reader = csv.reader([line], delimiter=delimiter, skipinitialspace=True)
    return [name.strip() for name in next(reader, [])]
