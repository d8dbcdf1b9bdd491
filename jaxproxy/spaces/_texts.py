"""Python text of other libraries: literals, and nothing that runs."""

import ast
import re
from typing import Any

_LONGEST = 100_000
_ARRAY = re.compile(r"\b(?:np\.|numpy\.)?array\(")
_DTYPE = re.compile(r",\s*dtype\s*=\s*[\w.]+")


def parse_literal(text: str) -> Any:
    """Returns what Python text of numbers, strings, lists, tuples and dicts is.

    NumPy's ``array([[0, 1]], dtype=int8)`` is its list. Returns None if it is none.
    """
    if len(text) > _LONGEST:
        return None
    text = _DTYPE.sub("", _ARRAY.sub("(", text))
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def are_integers(values: Any) -> bool:
    """Returns whether these are a list or tuple of integers."""
    return isinstance(values, list | tuple) and all(
        isinstance(value, int) and not isinstance(value, bool) for value in values
    )
