"""Tables in JSON: records, or objects whose keys are architectures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxproxy.files._delimited import Sheet, SheetRow

_FORM = (
    'a list of records {"arch": ..., "COLUMN": ...}, or an object '
    '{"ARCH": {"COLUMN": ...}}, below keys such as a data set'
)
_SCORE = "score"
"""NAS-Bench-Suite-Zero's scores are objects of a score and a time."""


def parse_json(text: str, path: Path, keys: Sequence[str], column: str) -> Sheet:
    """Returns the table that JSON is.

    Args:
      text: of the whole file.
      path: of the file, for messages.
      keys: that lead to the table; where there is one key only, it need not be given.
      column: that is wanted, for messages.

    Raises:
      ValueError: it is no JSON, no table, repeats a key, or has several tables and
        ``keys`` does not say which.
    """
    try:
        found = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        reason = str(error) or "it is nested too deep"
        raise ValueError(f"{path} is not JSON: {reason}") from None
    left, passed = list(keys), list[str]()
    while _is_branch(found) and not _is_table(found):
        if left and left[0] in found:
            key = left.pop(0)
        elif len(found) == 1:
            key = next(iter(found))
        else:
            break
        found = found[key]
        passed.append(key)
    if left or not _is_table(found):
        raise ValueError(_problem(path, found, left, passed, column))
    return _sheet(path, found)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns an object of which no key is given twice: JSON would keep the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"it repeats the key {twice!r}")
    return found


def _is_branch(found: Any) -> bool:
    """Returns whether all that is in an object has parts itself."""
    return (
        isinstance(found, dict)
        and bool(found)
        and all(isinstance(value, dict | list) for value in found.values())
    )


def _is_table(found: Any) -> bool:
    """Returns whether this is a list of records, or architectures with columns."""
    if isinstance(found, list):
        return all(isinstance(record, dict) for record in found)
    if not _is_branch(found):
        return False
    records = [record for record in found.values() if record]
    return bool(records) and all(
        isinstance(record, dict) and any(map(_is_cell, record.values()))
        for record in records
    )


def _is_cell(value: Any) -> bool:
    return not isinstance(value, dict | list) or _is_score(value)


def _is_score(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _SCORE in value
        and value.keys() <= {_SCORE, "time"}
        and not isinstance(value[_SCORE], dict | list)
    )


def _problem(
    path: Path, found: Any, left: list[str], passed: list[str], column: str
) -> str:
    where = f"{path}" + (f" below {':'.join(passed)!r}" if passed else "")
    if _is_branch(found) and not _is_table(found):
        some = ", ".join(map(repr, list(found)[:8]))
        missing = f"no key {left[0]!r}" if left else f"{len(found)} keys"
        example = ":".join([*passed, str(next(iter(found))), column])
        return f"{where} has {missing}: choose from {some}, as FILE.json:{example}"
    if left:
        return f"{where} has no key {left[0]!r}; it is a table there"
    return f"{where} is no table: it must be {_FORM}"


def _sheet(path: Path, found: list[dict] | dict[str, dict]) -> Sheet:
    if isinstance(found, list):
        names = list(dict.fromkeys(key for record in found for key in record))
        rows = [
            (record, f"record {number} of {path}")
            for number, record in enumerate(found, 1)
        ]
    else:
        columns = (key for record in found.values() for key in record)
        names = ["arch", *dict.fromkeys(key for key in columns if key != "arch")]
        rows = [
            ({**record, "arch": arch}, f"{arch!r} of {path}")
            for arch, record in found.items()
        ]
    return Sheet(
        names,
        [
            SheetRow([_cell(row[name]) if name in row else "" for name in names], place)
            for row, place in rows
        ],
        "",
    )


def _cell(value: Any) -> str:
    """Returns a value as text; a missing one is an empty cell, and null a failure."""
    if _is_score(value):
        value = value[_SCORE]
    return value if isinstance(value, str) else repr(value)
