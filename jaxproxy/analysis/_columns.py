"""Columns over the architectures of a run: scores, ensembles, counts, truths (host)."""

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxproxy.analysis._ensembles import ENSEMBLES
from jaxproxy.options import quoted
from jaxproxy.proxies import parse_proxy
from jaxproxy.spaces import SPACES, Space

if TYPE_CHECKING:
    from jaxproxy.analysis._truth import Truth
    from jaxproxy.runs import Run


# Options that older runs wrote as words, as their columns still are.
_TODAY = {"relative=yes": "relative=True", "relative=no": "relative=False"}

#: From this many architectures on, the subset without unreachable operations is
#: reported as well: part of the literature reports nothing else.
MIN_SUBSET_RUN = 1000


class Column(NamedTuple):
    """One number for each of N architectures.

    Attributes:
      name: of a proxy, an ensemble or a truth.
      values: float64[N], as it was computed.
      valid: bool[N], false where a score is not finite or an accuracy not known.
      higher_is_better: whether a high value predicts a high accuracy.
      ranked_among: N for an ensemble, whose values depend on the set; None otherwise.
    """

    name: str
    values: np.ndarray
    valid: np.ndarray
    higher_is_better: bool = True
    ranked_among: int | None = None

    @property
    def oriented(self) -> np.ndarray:
        """float64[N], higher is better, NaN where not valid."""
        sign = 1 if self.higher_is_better else -1
        return np.where(self.valid, sign * self.values, np.nan)

    @property
    def label(self) -> str:
        """Name, and how many architectures an ensemble ranks."""
        among = f" (ranked among {self.ranked_among})" if self.ranked_among else ""
        return self.name + among


def score_columns(run: "Run") -> list[Column]:
    """The proxies of a run, and every ensemble whose components it has.

    An ensemble is valid everywhere: what a component cannot score ranks last in it.

    Raises:
      StoreError: the run cannot be read.
    """
    scorer = run.manifest["scorer"]
    names, lower = scorer["proxies"], scorer.get("lower_is_better", ())
    table = run.table([*names, *(f"{name}_valid" for name in names)])
    columns = [
        Column(
            _today(name),
            table[name].to_numpy(),
            table[f"{name}_valid"].to_numpy(),
            name not in lower,
        )
        for name in names
    ]
    oriented = {column.name: column.oriented for column in columns}
    n = len(table)
    for name, ensemble in ENSEMBLES.items():
        if name not in oriented and oriented.keys() >= {*ensemble.components}:
            score = ensemble.score(oriented)
            columns.append(Column(name, score, np.ones(n, bool), ranked_among=n))
    return columns


def _today(name: str) -> str:
    """Returns the name that a stored proxy has today."""
    for old, new in _TODAY.items():
        name = name.replace(old, new)
    return name


def archs_of(run: "Run") -> list[str]:
    """Architecture strings, N of them, in the order of the request."""
    return run.table(["arch"])["arch"].to_pylist()


def count_column(run: "Run", archs: Sequence[str], name: str) -> Column:
    """An exact count such as ``"params"`` of N architectures of a run's space.

    Raises:
      ValueError: no count, or a run whose space is not in ``SPACES``.
    """
    proxy = parse_proxy(name)
    if proxy.count is None:
        raise ValueError(f"proxy {quoted(name)} is no exact count of an architecture")
    space = _space(run)
    codes = space.from_strs(archs)
    values = np.asarray(proxy.count(space, codes), float)
    return Column(proxy.name, values, np.isfinite(values), proxy.higher_is_better)


def truth_column(run: "Run", archs: Sequence[str], truth: "Truth") -> Column:
    """Accuracies of N architectures of a run, NaN where the truth has none.

    Raises:
      ValueError: the truth has none of them.
    """
    names = names_in(run, archs, truth.accuracy)
    check_truth(truth, names, str(run.path))
    accuracy = np.array([truth.accuracy.get(name, np.nan) for name in names])
    return Column(truth.name, accuracy, ~np.isnan(accuracy), not truth.lower)


def check_truth(truth: "Truth", archs: Sequence[str], where: str) -> None:
    """Raises ValueError for a truth that knows none of some architectures.

    Args:
      truth: accuracies, perhaps of another space.
      archs: architecture strings.
      where: what they are of, for the message.
    """
    if all(np.isnan(truth.accuracy.get(arch, np.nan)) for arch in archs):
        other = next(iter(truth.accuracy), "")
        raise ValueError(
            f"truth {truth.name!r} has none of the {len(archs)} architectures of "
            f"{where}, such as {quoted(archs[0])}; it has such as {quoted(other)}"
        )


def names_in(run: "Run", archs: Sequence[str], table: Mapping[str, float]) -> list[str]:
    """Returns what a table may call N architectures of a run.

    A run keeps the strings that it was given; a table that was loaded for a space has
    those that the space writes.
    """
    space = space_of(run) if any(arch not in table for arch in archs) else None
    if space is None:
        return [*archs]
    return [arch if arch in table else _respelled(space, arch) for arch in archs]


def _respelled(space: Space, arch: str) -> str:
    try:
        return space.to_str(space.from_str(arch))
    except ValueError:  # of a run that another version wrote
        return arch


def reachable(run: "Run", archs: Sequence[str]) -> np.ndarray:
    """Which of N architectures have no unreachable operation, bool[N].

    Raises:
      ValueError: a run whose space is not in ``SPACES``.
    """
    space = _space(run)
    return np.asarray(space.reachable(space.from_strs(archs)), bool)


def subsets(run: "Run", archs: Sequence[str]) -> dict[str, np.ndarray]:
    """Sets to report on, bool[N]: ``all``, and ``reachable`` if there are enough."""
    sets = {"all": np.ones(len(archs), bool)}
    if len(archs) >= MIN_SUBSET_RUN and is_known(run):
        members = reachable(run, archs)
        if not members.all():
            sets["reachable"] = members
    return sets


def _space(run: "Run") -> Space:
    scorer = run.manifest["scorer"]
    if not is_known(run):
        raise ValueError(
            f"{run.path} is of space {scorer['space']!r}; known are {sorted(SPACES)}"
        )
    recorded = {**scorer, "resolution": scorer.get("macs_resolution")}
    name = scorer["space"]
    options = inspect.signature(SPACES[name]).parameters
    given = {o: recorded[o] for o in options if recorded.get(o) is not None}
    return SPACES[name](**given)


def space_of(run: "Run") -> Space | None:
    """Returns the space of a run, None if it is not one of ``SPACES``."""
    return _space(run) if is_known(run) else None


def is_known(run: "Run") -> bool:
    """Returns whether the space of a run is one of ``SPACES``."""
    return run.manifest["scorer"]["space"] in SPACES
