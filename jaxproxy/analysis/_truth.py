"""Trained accuracies to compare scores with: users' tables and one PyPI package.

Nothing is downloaded, and no foreign code runs: tables are CSV files, and the one
pickle is read with two harmless stand-in classes and nothing else.
"""

import csv
import gzip
import importlib.util
import math
import pickle
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple

from jaxproxy.options import quoted

ARCH_COLUMNS = ("arch_str", "arch", "architecture")
_FORMS = "write FILE.csv:COLUMN, FILE.csv.gz:COLUMN or 'analog'"

_ANALOG_MODULE = "analognasbench"
# What reading anything but the expected pickle can raise.
_UNREADABLE = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
)
_ANALOG_CLASSES = {
    ("analognasbench.data", "Architecture"),
    ("analognasbench.data", "DriftMeasurement"),
}
# The package keys architectures by the numbers of these operations on these edges.
_ANALOG_EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
_ANALOG_OPS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")


class Truth(NamedTuple):
    """Accuracies of trained architectures.

    Attributes:
      name: what to call them in a table: the column, or ``analog``.
      accuracy: architecture string -> accuracy, in the unit of the source (percent
        in every public table).
    """

    name: str
    accuracy: Mapping[str, float]


def load_truth(spec: str, *, failures: bool = False) -> Truth:
    """Loads the accuracies that a specification names.

    Args:
      spec: ``FILE.csv:COLUMN`` or ``FILE.csv.gz:COLUMN``, where the architecture is
        in the first of the columns :data:`ARCH_COLUMNS` that the file has, and rows
        with an empty or ``nan`` value are left out; or ``analog``, the CIFAR-10 test
        accuracies of NAS-Bench-201 in the package ``analog-nasbench``, retrained for
        200 epochs independently of the official ones.
      failures: keep rows whose value is ``nan``, as of a training that failed.

    Raises:
      ValueError: no such file, column or package; a value that is not a number; an
        architecture that appears twice. The message says what there is.
    """
    if spec == "analog":
        return Truth("analog", _read_analog(_find_analog()))
    file, colon, column = spec.rpartition(":")
    if not colon or not file or not column:
        raise ValueError(f"unknown truth {spec!r}; {_FORMS}")
    path = Path(file)
    try:
        if not path.is_file():
            raise ValueError(f"there is no file {file!r} (truth {spec!r}); {_FORMS}")
        return Truth(column, _read_csv(path, column, failures))
    except (OSError, EOFError, zlib.error) as error:  # no permission, a torn archive
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"cannot read {path}: {reason}") from error


def _open_text(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _read_csv(path: Path, column: str, failures: bool) -> dict[str, float]:
    with _open_text(path) as file:
        reader = csv.DictReader(file)
        columns = list(reader.fieldnames or ())
        arch_column = next((name for name in ARCH_COLUMNS if name in columns), None)
        if arch_column is None:
            raise ValueError(
                f"{path} has no architecture column {ARCH_COLUMNS}; it has {columns}"
            )
        if column not in columns:
            raise ValueError(f"{path} has no column {column!r}; it has {columns}")
        accuracy: dict[str, float] = {}
        for row in reader:
            value = _number(row[column], f"line {reader.line_num} of {path}")
            if math.isnan(value) and not (failures and row[column]):
                continue
            if row[arch_column] in accuracy:
                raise ValueError(
                    f"line {reader.line_num} of {path} repeats the architecture "
                    f"{row[arch_column]!r}"
                )
            accuracy[row[arch_column]] = value
    if not accuracy:
        raise ValueError(f"column {column!r} of {path} has no value")
    return accuracy


def _number(text: str | None, place: str) -> float:
    """A cell's number, NaN if the cell is empty or missing."""
    try:
        value = float(text) if text else math.nan
    except ValueError:
        raise ValueError(f"{quoted(text)} in {place} is not a number") from None
    if math.isinf(value):
        raise ValueError(f"{quoted(text)} in {place} is not finite")
    return value


class _Record:
    """Stand-in for the package's classes: holds attributes and does nothing."""


class _RecordUnpickler(pickle.Unpickler):
    """Knows the two classes of the package's file, both as :class:`_Record`."""

    def find_class(self, module: str, name: str) -> type[_Record]:
        """The stand-in, or an error for anything that is not expected."""
        if (module, name) in _ANALOG_CLASSES:
            return _Record
        raise pickle.UnpicklingError(f"unexpected {module}.{name}")


def _find_analog() -> Path:
    """Path of the data file in the installed package, which is not imported."""
    found = importlib.util.find_spec(_ANALOG_MODULE)
    for folder in (found.submodule_search_locations if found else None) or ():
        path = Path(folder) / "data.anb"
        if path.is_file():
            return path
    raise ValueError(
        "truth 'analog' is the data of a package that is not installed here; "
        "pip install analog-nasbench==0.1.3"
    )


def _read_analog(path: Path) -> dict[str, float]:
    try:
        with path.open("rb") as file:
            return dict(_analog_rows(_RecordUnpickler(file).load()))
    except _UNREADABLE as error:
        raise ValueError(
            f"{path} is not the table of analog-nasbench 0.1.3: {error}"
        ) from error


def _analog_rows(table: Mapping[tuple, _Record]) -> Iterator[tuple[str, float]]:
    """Yields official string and accuracy of every record of the unpickled table."""
    for key, record in table.items():
        op = {
            edge: _ANALOG_OPS[number]
            for edge, number in zip(_ANALOG_EDGES, key, strict=True)
        }
        nodes = (
            "".join(f"|{op[source, target]}~{source}" for source in range(target)) + "|"
            for target in (1, 2, 3)
        )
        yield "+".join(nodes), float(record.__dict__["baseline_accuracy"])
