"""Text files, tables and JSON that users bring, read in one place (host code)."""

from jaxproxy.files._column import (
    ARCH_COLUMNS,
    INDEX_COLUMN,
    Column,
    Row,
    read_archs_column,
    read_column,
)
from jaxproxy.files._numbers import Cell, parse_numbers
from jaxproxy.files._text import check_ends, decode, read_text

__all__ = [
    "ARCH_COLUMNS",
    "INDEX_COLUMN",
    "Cell",
    "Column",
    "Row",
    "check_ends",
    "decode",
    "parse_numbers",
    "read_archs_column",
    "read_column",
    "read_text",
]
