"""Other forms of NAS-Bench-101's modules: Python text of matrices and operations."""

import math
import re
from typing import Any

from jaxproxy.options import quoted
from jaxproxy.spaces._texts import are_integers, parse_literal

_MATRIX = ("module_adjacency", "matrix", "adjacency", "adjacency_matrix")
_OPS = ("module_operations", "ops", "operations")
# The order in which NASLib numbers operations.
NASLIB_OPS = ("input", "output", "maxpool3x3", "conv1x1-bn-relu", "conv3x3-bn-relu")
_SPEC = re.compile(r"(?:\w+\.)*ModelSpec\s*\(")
FORMS = (
    "read are '011/001/000:input|conv3x3-bn-relu|output', Python text (matrix, "
    "operations), ModelSpec(matrix=..., ops=...), the benchmark's dict of "
    "module_adjacency and module_operations, and NASLib's tuple of n * n + n integers"
)


def matrix_and_ops(arch: str) -> tuple[list[list[int]], list[str]] | None:
    """Returns what Python text says, None if it is none.

    Raises:
      ValueError: it is, but of another form.
    """
    text = arch.strip()
    spec = _SPEC.match(text)
    if spec:
        inside = re.sub(r"\b(?:matrix|ops)\s*=", "", text[spec.end() :])
        text = f"({inside}"
    elif text[:1] not in ("(", "[", "{"):
        return None
    found = parse_literal(text)
    if are_integers(found):
        pair = _of_naslib([*found])
    elif isinstance(found, dict):
        pair = _one_of(found, _MATRIX), _one_of(found, _OPS)
    else:
        pair = found if isinstance(found, list | tuple) and len(found) == 2 else None
    if pair is None or not _fits(*pair):
        raise ValueError(f"{quoted(arch)} is no module; {FORMS}")
    matrix, ops = pair
    return [[int(entry) for entry in row] for row in matrix], [*ops]


def _one_of(found: dict[Any, Any], names: tuple[str, ...]) -> Any:
    """Returns the value of the only one of some names that a dict has."""
    values = [found[name] for name in names if name in found]
    return values[0] if len(values) == 1 else None


def _of_naslib(numbers: list[int]) -> tuple[list[list[int]], list[str]] | None:
    """Returns a matrix by rows and its operations: n * n + n numbers."""
    n = (math.isqrt(1 + 4 * len(numbers)) - 1) // 2
    ops = numbers[n * n :]
    if n * (n + 1) != len(numbers) or not all(0 <= op < 5 for op in ops):
        return None
    rows = [numbers[n * row : n * (row + 1)] for row in range(n)]
    return rows, [NASLIB_OPS[op] for op in ops]


def _fits(matrix: Any, ops: Any) -> bool:
    """Returns whether these are a square of zeros and ones, and texts."""
    return (
        isinstance(matrix, list | tuple)
        and all(isinstance(row, list | tuple) for row in matrix)
        and all(len(row) == len(matrix) for row in matrix)
        and all(entry in (0, 1) for row in matrix for entry in row)
        and isinstance(ops, list | tuple)
        and all(isinstance(op, str) for op in ops)
    )
