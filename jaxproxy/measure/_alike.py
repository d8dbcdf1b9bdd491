"""Whether two functions do the same, as far as can be told."""

import functools
import inspect
from collections.abc import Iterable
from types import FunctionType


def alike(
    one: object, other: object, compared: frozenset[tuple[int, int]] = frozenset()
) -> bool:
    """Returns whether two values are equal, or two functions do the same.

    Functions do, if they were made by the same lines and close over alike values: two
    calls of ``def scale(c): return lambda x: c * x`` with equal c. Others may, but
    nobody can tell.

    Args:
      one: a value or function.
      other: another.
      compared: pairs that are being compared, for functions that refer to themselves.
    """
    pair = (id(one), id(other))
    if one is other or pair in compared:
        return True
    inside = functools.partial(_all_alike, compared=compared | {pair})
    if isinstance(one, functools.partial) and isinstance(other, functools.partial):
        return inside(
            (one.func, one.args, one.keywords), (other.func, other.args, other.keywords)
        )
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return inside(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and inside(
            one.values(), [other[key] for key in one]
        )
    if inspect.isfunction(one) and inspect.isfunction(other):
        same_lines = one.__code__ == other.__code__
        same_globals = one.__globals__ is other.__globals__
        return same_lines and same_globals and inside(_bound(one), _bound(other))
    try:
        return type(one) is type(other) and bool(one == other)
    except (TypeError, ValueError):  # arrays, whose comparison is no truth value
        return False


def _all_alike(
    some: Iterable[object],
    others: Iterable[object],
    compared: frozenset[tuple[int, int]],
) -> bool:
    some, others = [*some], [*others]
    return len(some) == len(others) and all(
        alike(a, b, compared) for a, b in zip(some, others, strict=True)
    )


def _bound(function: FunctionType) -> list[object]:
    """Returns all values that a function's code refers to but its globals."""
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(cell.cell_contents)
        except ValueError:  # a variable that is assigned later
            cells.append(None)
    return [cells, function.__defaults__, function.__kwdefaults__]
