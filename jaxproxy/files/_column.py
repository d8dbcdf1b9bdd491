"""One column of a table, beside the architectures that it is of."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxproxy.files._delimited import Sheet, names_of, parse_sheet
from jaxproxy.files._json import parse_json
from jaxproxy.files._numbers import parse_numbers
from jaxproxy.files._text import read_text

ARCH_COLUMNS = ("arch_str", "arch", "architecture")
"""Names of the column of architectures, in any case; the first that a file has."""
INDEX_COLUMN = "index"
"""What stands for them in a file without: numbers of a benchmark's architectures."""
_KNOWN = (*ARCH_COLUMNS, INDEX_COLUMN)


class Row(NamedTuple):
    """A value of an architecture.

    Attributes:
      arch: as it is written, without spaces around it.
      value: None where the cell is empty, NaN for a failure.
      place: where the row is, as ``"line 3 of FILE"``.
    """

    arch: str
    value: float | None
    place: str


class Column(NamedTuple):
    """What a file says in one column.

    Attributes:
      name: as the file writes it, behind the keys that lead to it, if any were given.
      by_index: whether architectures are numbers in :data:`INDEX_COLUMN`.
      rows: of the file, in its order.
    """

    name: str
    by_index: bool
    rows: list[Row]


def read_column(path: Path, column: str) -> Column:
    """Returns a column of a table, or of JSON.

    Args:
      path: text of cells that are separated by ``,``, ``;`` or tabs, its first line the
        names; or JSON, named ``*.json`` or ``*.json.gz``.
      column: its name; upper and lower case are the same where that is unambiguous. Of
        JSON, keys that lead to it may stand before, as ``cifar10:val_accuracy``.

    Raises:
      ValueError: the file cannot be read, has no such column or no architectures, a row
        has more cells than there are names, or a cell is no number. The message has the
        file and the line.
    """
    text = read_text(path)
    if path.name.removesuffix(".gz").endswith(".json"):
        keys, _, last = column.rpartition(":")
        sheet = parse_json(text, path, keys.split(":") if keys else [], last)
        prefix = f"{keys}:" if keys else ""
    else:
        sheet, last, prefix = parse_sheet(text, path, _KNOWN), column, ""
    arch, by_index = _arch_place(path, sheet)
    place = _find(path, sheet.names, last)
    cells = [row.cell(place) for row in sheet.rows]
    values = parse_numbers(cells, decimal_comma=sheet.delimiter in (";", "\t"))
    rows = [
        Row(row.cell(arch).text, value, row.place)
        for row, value in zip(sheet.rows, values, strict=True)
    ]
    for row in rows:
        if not row.arch and row.value is not None and not math.isnan(row.value):
            raise ValueError(f"{row.place} has a value, but no architecture")
    return Column(
        prefix + sheet.names[place], by_index, [row for row in rows if row.arch]
    )


def read_archs_column(text: str, path: Path) -> list[tuple[str, str]] | None:
    """Returns architecture and place of each row of a table; None if it is none.

    A table is a text whose first line has one of :data:`ARCH_COLUMNS`, or
    :data:`INDEX_COLUMN`.

    Raises:
      ValueError: as :func:`read_column`.
    """
    if not set(_KNOWN).intersection(_lower(names_of(text, _KNOWN))):
        return None
    sheet = parse_sheet(text, path, _KNOWN)
    arch, _ = _arch_place(path, sheet)
    cells = [row.cell(arch) for row in sheet.rows]
    return [(cell.text, cell.place) for cell in cells if cell.text]


def _lower(names: Sequence[str]) -> list[str]:
    return [name.casefold() for name in names]


def _arch_place(path: Path, sheet: Sheet) -> tuple[int, bool]:
    """Returns which column has the architectures, and whether as numbers."""
    names = _lower(sheet.names)
    for name in _KNOWN:
        if name in names:
            return _find(path, sheet.names, name), name == INDEX_COLUMN
    raise ValueError(
        f"{path} has no architecture column {ARCH_COLUMNS}; it has {sheet.names}"
    )


def _find(path: Path, names: list[str], wanted: str) -> int:
    """Returns the place of a column: of that name, or else but for its case."""
    for have, name in ((names, wanted), (_lower(names), wanted.casefold())):
        if have.count(name) == 1:
            return have.index(name)
        if name in have:
            raise ValueError(f"{path} has several columns {wanted!r}: {names}")
    raise ValueError(f"{path} has no column {wanted!r}; it has {names}")
