"""Numbers as people and spreadsheets write them; what could be two is refused."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

_FAILED = {"nan", "none", "null", "na", "n/a", "#n/a"}
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# 93,512 and 93.512: three digits behind a mark may be thousands, or decimals.
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)


class Cell(NamedTuple):
    """One cell of a column.

    Attributes:
      text: as it is written, without spaces around it.
      place: where it is, as ``"line 3 of FILE"``.
    """

    text: str
    place: str


def parse_numbers(
    cells: Sequence[Cell], *, decimal_comma: bool = False
) -> list[float | None]:
    """Returns the numbers of a column: None for an empty cell, NaN for a failure.

    ``nan``, ``None``, ``null``, ``NA`` and ``N/A`` in any case are failures. A percent
    sign is dropped, ``90%`` being 90, but must then be in every cell.

    Args:
      cells: of the whole column, since some marks are read by what others say.
      decimal_comma: whether ``93,5`` may be a number, as in files separated by
        ``;`` or tabs.

    Raises:
      ValueError: a cell that is no finite number, or could be two different ones.
    """
    filled = [cell for cell in cells if cell.text and not _is_failure(cell)]
    percents = [cell for cell in filled if cell.text.endswith("%")]
    if percents and len(percents) < len(filled):
        bare = next(cell for cell in filled if not cell.text.endswith("%"))
        raise ValueError(
            f"{bare.text!r} in {bare.place} has no percent sign, but "
            f"{percents[0].text!r} in {percents[0].place} has; write one unit"
        )
    numerals = [
        Cell(cell.text.removesuffix("%").rstrip(), cell.place) for cell in filled
    ]
    comma = _uses_commas(numerals, decimal_comma)
    values = iter([_number(cell, comma) for cell in numerals])
    return [
        None if not cell.text else math.nan if _is_failure(cell) else next(values)
        for cell in cells
    ]


def _is_failure(cell: Cell) -> bool:
    return cell.text.casefold() in _FAILED


def _uses_commas(cells: Sequence[Cell], decimal_comma: bool) -> bool:
    """Returns whether decimals are behind commas.

    Raises:
      ValueError: that cannot be told, or commas are none in this file.
    """
    commas = [cell for cell in cells if "," in cell.text]
    dots = [cell for cell in cells if "." in cell.text]
    if commas and not decimal_comma:
        raise ValueError(
            f"{commas[0].text!r} in {commas[0].place} is not a number: write a decimal "
            "point; decimal commas are read in files separated by ';' or tabs only"
        )
    if commas and dots:
        raise ValueError(
            f"{commas[0].text!r} in {commas[0].place} has a comma, and "
            f"{dots[0].text!r} in {dots[0].place} a point; write decimals in one way"
        )
    # In a file of decimal points, whole numbers beside 1.234 tell of thousands; in one
    # of decimal commas, nothing does if every cell has three digits behind its comma.
    marked = commas or dots
    mixed = commas or any(_WHOLE.fullmatch(cell.text) for cell in cells)
    unclear = bool(marked) and all(_GROUPED.fullmatch(cell.text) for cell in marked)
    if decimal_comma and mixed and unclear:
        raise ValueError(
            f"{marked[0].text!r} in {marked[0].place} may be thousands or decimals; "
            "write numbers without marks of thousands, with a decimal point, and "
            "separate cells by ','"
        )
    return bool(commas)


def _number(cell: Cell, comma: bool) -> float:
    text = cell.text.replace(",", ".") if comma else cell.text
    if _NUMBER.fullmatch(text) and math.isfinite(value := float(text)):
        return value
    if _INFINITE.fullmatch(text) or _NUMBER.fullmatch(text):
        raise ValueError(
            f"{cell.text!r} in {cell.place} is not finite; write nan for a training "
            "that failed"
        )
    raise ValueError(f"{cell.text!r} in {cell.place} is not a number")
