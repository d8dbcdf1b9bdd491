"""Tables that stay readable where the terminal is narrow (host code)."""

from collections.abc import Iterator

from rich import box
from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

from jaxproxy.options import printable

_NAMES = ("proxy", "method", "architecture")
_LISTS = ("meters", "for")  # columns of words that may take many lines
_LEAST = 24  # characters of a name in a row of a table, at least
_LONG = 12  # characters of a header that has a line of its own in a record


class Report:
    """A table, or a record for each row where the table would be too narrow to read.

    Names stand to the left and may take two lines; what controls a terminal is escaped
    in all cells. A cell of several lines is a number above the ends of its interval.
    """

    def __init__(self, title: str, *headers: str) -> None:
        """Has no rows yet."""
        self._title, self._headers = printable(title), headers
        self._rows: list[tuple[str, ...]] = []

    def add_row(self, *cells: str) -> None:
        """Appends a row, a cell for each header."""
        self._rows.append(tuple(map(_lines, cells)))

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[Table | Text]:
        """Yields what Rich prints."""
        if self._width() <= options.max_width:
            yield self._table()
            return
        yield Text(self._title, "bold")
        for row in self._rows:
            yield from map(Text, self._record(row, options.max_width))
        yield Text()

    def _table(self) -> Table:
        table = Table(
            title=Text(self._title, "bold"),
            title_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            padding=0,
        )
        for place, header in enumerate(self._headers):
            if header in _NAMES:
                width = min(16, self._natural(place))
                table.add_column(header, overflow="fold", min_width=width)
            else:
                width = min(self._natural(place), 10)
                text = Text(_lines(header))
                table.add_column(
                    text, justify="right", overflow="fold", min_width=width
                )
        for row in self._rows:
            table.add_row(*map(Text, row))
        return table

    def _natural(self, place: int) -> int:
        """Returns the width of a column whose cells are not folded."""
        cells = (self._headers[place], *(row[place] for row in self._rows))
        return max(len(line) for cell in cells for line in cell.split("\n"))

    def _width(self) -> int:
        """Returns how wide the table has to be; a name may take two lines."""
        total = len(self._headers) + 1
        for place, header in enumerate(self._headers):
            width = self._natural(place)
            if header in _NAMES:
                width = min(width, max(_LEAST, -(-width // 2)))
            total += min(width, _LEAST) if header in _LISTS else width
        return total

    def _record(self, row: tuple[str, ...], width: int) -> Iterator[str]:
        """Yields the lines of a row: its names, and under them what it has."""
        pairs = list(zip(map(_flat, self._headers), row, strict=True))
        heads = [header in (*_NAMES, "") for header, _ in pairs]
        name = " ".join(
            cell for (_, cell), head in zip(pairs, heads, strict=True) if head
        )
        # Not wrapped as text: an architecture is one word, which is cut where it must.
        yield from (name[i : i + width] for i in range(0, len(name), width))
        rest = [pair for pair, head in zip(pairs, heads, strict=True) if not head]
        apart = any(len(header) > _LONG for header, _ in rest)
        line = ""
        for header, cell in rest:
            text = f"{header}: {_interval(cell)}"
            if line and (apart or len(line) + 2 + len(text) > width):
                yield line
                line = ""
            line = f"{line}, {text}" if line else f"    {text}"
        yield line


def _lines(text: str) -> str:
    """Returns a text of several lines, each printable."""
    return "\n".join(map(printable, text.split("\n")))


def _flat(header: str) -> str:
    return printable(header.replace("-\n", "").replace("\n", " "))


def _interval(cell: str) -> str:
    value, *ends = cell.split("\n")
    return f"{value} ({' to '.join(ends)})" if ends else value
