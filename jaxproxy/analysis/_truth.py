"""Trained accuracies to compare scores with: users' tables and one PyPI package.

Nothing is downloaded, and no foreign code runs: tables are text files, and the one
pickle is read with two harmless stand-in classes and nothing else.
"""

import importlib.util
import math
import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from jaxproxy.files import Column, Row, read_column
from jaxproxy.options import check_choices
from jaxproxy.spaces import Space

Repeats = Literal["refuse", "mean"]
REPEATS = ("refuse", "mean")
_FORMS = "write FILE.csv:COLUMN, FILE.csv.gz:COLUMN, FILE.json:COLUMN or 'analog'"
_SPEC = re.compile(r"(.+?\.(?:csv|tsv|txt|json)(?:\.gz)?):(.+)", re.IGNORECASE)

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
    """Accuracies of trained architectures, or losses.

    Attributes:
      name: what to call them in a table: the column, or ``analog``.
      accuracy: architecture string -> accuracy, in the unit of the source (percent
        in every public table).
      lower: whether a lower value is a better one, as of losses and perplexities.
      notes: sentences on how the source was read, where it could be read otherwise.
    """

    name: str
    accuracy: Mapping[str, float]
    lower: bool = False
    notes: tuple[str, ...] = ()

    @property
    def oriented(self) -> Mapping[str, float]:
        """Architecture string -> value of which higher is better."""
        if not self.lower:
            return self.accuracy
        return {arch: -value for arch, value in self.accuracy.items()}


def load_truth(
    spec: str,
    *,
    space: Space | None = None,
    lower: bool = False,
    repeats: Repeats = "refuse",
    failures: bool = False,
) -> Truth:
    """Loads the accuracies that a specification names.

    Args:
      spec: ``FILE.csv:COLUMN``, perhaps compressed as ``FILE.csv.gz``, where the
        architecture is in ``arch_str``, ``arch`` or ``architecture``, the first that
        the file has, and cells are separated by ``,``, ``;`` or tabs;
        ``FILE.json:COLUMN`` or ``FILE.json:KEY:COLUMN``, of records, or of an object
        by architecture such as those of NAS-Bench-Suite-Zero; or ``analog``, the
        CIFAR-10 test accuracies of NAS-Bench-201 in the package ``analog-nasbench``,
        retrained for 200 epochs independently of the official ones. Rows without a
        value, or whose training failed (``nan``, ``None``), are left out.
      space: whose architectures they are: then all that its ``from_str`` reads is
        understood, a column ``index`` of official numbers as well.
      lower: whether a lower value is a better one.
      repeats: ``"mean"`` of several rows of an architecture, such as runs of a
        training; by default they are refused.
      failures: keep failed trainings, as NaN.

    Raises:
      ValueError: no such file, column or package; a value that is no finite number; an
        architecture that appears twice, or none of the space. The message says where,
        and what there is.
    """
    check_choices(repeats=(repeats, REPEATS))
    if spec == "analog":
        return Truth("analog", _read_analog(_find_analog()), lower)
    match = _SPEC.fullmatch(spec)
    file, column = match.groups() if match else spec.rpartition(":")[::2]
    if not file or not column:
        raise ValueError(f"unknown truth {spec!r}; {_FORMS}")
    path = Path(file)
    if not _is_file(path):
        raise ValueError(f"there is no file {file!r} (truth {spec!r}); {_FORMS}")
    found = read_column(path, column)
    rows = [row for row in found.rows if row.value is not None]
    if not failures:
        rows = [row for row in rows if not math.isnan(_value(row))]
    if not rows:
        raise ValueError(f"column {found.name!r} of {path} has no value")
    archs, notes = _spelled(path, found, rows, space)
    accuracy, spread = _by_arch(archs, repeats)
    return Truth(found.name, accuracy, lower, (*notes, *spread))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:  # no permission for the folder, a name too long
        raise ValueError(f"cannot read {path}: {error.strerror}") from error


def _value(row: Row) -> float:
    return math.nan if row.value is None else row.value


def _spelled(
    path: Path, found: Column, rows: Sequence[Row], space: Space | None
) -> tuple[list[Row], list[str]]:
    """Returns rows with architectures as their space writes them, and notes."""
    if space is None:
        if found.by_index:
            raise ValueError(
                f"{path} names architectures by index only; give load_truth the space "
                "whose official numbers these are, or add a column 'arch'"
            )
        return [*rows], []
    spelled, errors = [], []
    for row in rows:
        try:
            arch = space.to_str(space.from_str(row.arch))
            spelled.append(row._replace(arch=arch))
        except ValueError as error:
            errors.append(f"{row.place}: {error}")
    if not spelled:
        raise ValueError(
            f"truth {found.name!r} has none of the architectures of {space.name}: "
            f"{errors[0]}"
        )
    notes = []
    if found.by_index:
        notes.append(f"index in {path} is read as the official one of {space.name}")
    if errors:
        notes.append(
            f"{len(errors)} rows of {path} name no architecture of {space.name} and "
            f"are left out; the first is {errors[0]}"
        )
    return spelled, notes


def _by_arch(rows: Sequence[Row], repeats: str) -> tuple[dict[str, float], list[str]]:
    """Returns architecture -> value, and a note if rows were averaged."""
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row.arch, []).append(row)
        if repeats == "refuse" and len(grouped[row.arch]) > 1:
            first = grouped[row.arch][0].place
            raise ValueError(
                f"{row.place} repeats the architecture {row.arch!r} of {first}; for "
                "the mean of several trainings, ask for repeats='mean' (--repeats mean)"
            )
    values = {arch: [_value(row) for row in g] for arch, g in grouped.items()}
    finite = {arch: [v for v in g if not math.isnan(v)] for arch, g in values.items()}
    accuracy = {
        arch: math.fsum(g) / len(g) if g else math.nan for arch, g in finite.items()
    }
    several = [np.array(g) for g in finite.values() if len(g) > 1]
    if not several:
        return accuracy, []
    freedom = sum(len(g) - 1 for g in several)
    spread = math.sqrt(sum(((g - g.mean()) ** 2).sum() for g in several) / freedom)
    sizes = sorted({len(g) for g in finite.values() if g})
    counts = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else f"{sizes[0]}"
    note = (
        f"means of {counts} rows for each of {len(finite)} architectures; the standard "
        f"deviation between rows of one is {spread:.3g} (pooled)"
    )
    return accuracy, [note]


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
