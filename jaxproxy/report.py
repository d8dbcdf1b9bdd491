"""What a run found, as records and as tables for people (host code)."""

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from jaxproxy.proxies import PROXIES, Proxy
from jaxproxy.rank import MEASURES, correlate
from jaxproxy.spaces import SPACES
from jaxproxy.store import Run
from jaxproxy.truth import Truth
from jaxproxy.types import PRESETS

if TYPE_CHECKING:
    from jaxproxy.score import Scorer

__all__ = [
    "MIN_SUBSET_RUN",
    "catalogue",
    "correlation_tables",
    "correlations",
    "make_console",
    "proxy_table",
    "request",
    "settings",
    "speed",
    "to_json",
    "top_table",
]

#: From this many architectures on, the subset without unreachable operations is
#: reported as well: part of the literature reports nothing else.
MIN_SUBSET_RUN = 1000

_HEADERS = {
    "tau": "tau",
    "rho": "rho",
    "tau_top10": "tau\n10 %",
    "rho_top10": "rho\n10 %",
    "top10_top10": "top10\n/10 %",
    "top64_top5": "top64\n/5 %",
    "ndcg1000": "nDCG\n1000",
}
_CAPTION = (
    "tau 10 %, rho 10 %: among the truly best 10 %. top10/10 %: share of them in the "
    "predicted best 10 %. top64/5 %: how many of the 64 best predicted are truly in "
    "the best 5 %. ties: pairs with equal scores."
)


def make_console() -> Console:
    """Standard output; where it is no terminal, lines as long as they need to be."""
    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, width=220)


def correlations(
    run: Run, truths: Sequence[Truth], *, num_bootstrap: int = 0
) -> list[dict[str, Any]]:
    """How every proxy of a run ranks, against every truth.

    Args:
      run: a run with finished parts.
      truths: architectures that a truth does not have are left out and counted.
      num_bootstrap: resamples for the intervals; 0 for none.

    Returns:
      Records with ``truth``, ``proxy``, ``set`` (``"all"``, or ``"reachable"`` for the
      subset without unreachable operations), ``num_unknown`` (architectures without an
      accuracy) and the fields of :class:`~jaxproxy.rank.Correlation`.

    Raises:
      ValueError: a truth has none of the architectures.
      StoreError: the run cannot be read.
    """
    names = run.manifest["scorer"]["proxies"]
    table = run.table(["arch", *names, *(f"{name}_valid" for name in names)])
    archs = table["arch"].to_pylist()
    sets = _sets(run.manifest["scorer"]["space"], archs)
    records = []
    for truth in truths:
        accuracy = np.array([truth.accuracy.get(arch, np.nan) for arch in archs])
        known = ~np.isnan(accuracy)
        if not known.any():
            raise ValueError(
                f"truth {truth.name!r} has none of the {len(archs)} architectures of "
                f"{run.path}, such as {archs[0]!r}"
            )
        for label, members in sets.items():
            rows = known & members
            for name in names:
                found = correlate(
                    table[name].to_numpy()[rows],
                    table[f"{name}_valid"].to_numpy()[rows],
                    accuracy[rows],
                    higher_is_better=_higher_is_better(run, name),
                    num_bootstrap=num_bootstrap,
                )
                missing = int((members & ~known).sum())
                labels = {"truth": truth.name, "proxy": name, "set": label}
                records.append({**labels, "num_unknown": missing, **asdict(found)})
    return records


def _sets(space_name: str, archs: Sequence[str]) -> dict[str, np.ndarray]:
    sets = {"all": np.ones(len(archs), bool)}
    if len(archs) >= MIN_SUBSET_RUN and space_name in SPACES:
        space = SPACES[space_name]()
        members = np.array([space.reachable(space.from_str(a)) for a in archs], bool)
        if not members.all():
            sets["reachable"] = members
    return sets


def _higher_is_better(run: Run, name: str) -> bool:
    return name not in run.manifest["scorer"].get("lower_is_better", ())


def correlation_tables(records: Sequence[dict[str, Any]]) -> Iterator[RenderableType]:
    """One table for each truth and set, a row for each proxy."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault((record["truth"], record["set"]), []).append(record)
    for (truth, label), rows in groups.items():
        where = "" if label == "all" else " without unreachable operations"
        missing = rows[0]["num_unknown"]
        unknown = f" ({missing} more have no accuracy)" if missing else ""
        title = f"{truth}: {rows[0]['n']} architectures{where}{unknown}"
        columns = ("valid", "cover-\nage %", *_HEADERS.values(), "ties\n%")
        table = _table(title, "proxy", *columns)
        for row in rows:
            table.add_row(*map(Text, (row["proxy"], *_cells(row))))
        yield table
    intervals = "Below a number: its 95 % interval." if records[0]["intervals"] else ""
    yield f"{_CAPTION} {intervals}".rstrip()


def _cells(row: dict[str, Any]) -> Iterator[str]:
    yield str(row["num_valid"])
    yield f"{100 * row['coverage']:.1f}"
    for measure in MEASURES:
        digits = 1 if measure == "top64_top5" else 3
        numbers = (row[measure], *row["intervals"].get(measure, ()))
        yield "\n".join(f"{number:.{digits}f}" for number in numbers)
    yield f"{100 * row['score_ties']:.2f}"


def proxy_table(run: Run) -> Table:
    """For each proxy, how many scores are invalid, and how far seeds spread."""
    names, seeds = run.manifest["scorer"]["proxies"], run.manifest["scorer"]["seeds"]
    headers = ["proxy", "invalid", "lowest", "median", "highest"]
    if len(seeds) > 1:
        headers.append(f"mean standard error ({len(seeds)} seeds)")
    table = _table("scores", *headers)
    for name in names:
        columns = run.table([name, f"{name}_valid", f"{name}_se"])
        score, valid, error = (column.to_numpy() for column in columns)
        score, error = score[valid], error[valid]
        stats = np.quantile(score, [0, 0.5, 1]) if len(score) else [np.nan] * 3
        cells = [str(int((~valid).sum())), *(f"{stat:.5g}" for stat in stats)]
        if len(seeds) > 1:
            cells.append(f"{error.mean() if len(error) else np.nan:.3g}")
        table.add_row(*(Text(cell) for cell in (name, *cells)))
    return table


def top_table(run: Run, num: int = 10) -> Table:
    """The best architectures by the first proxy, with the scores of all."""
    names = run.manifest["scorer"]["proxies"]
    rows = run.table(["arch", *names, f"{names[0]}_valid"])
    score = rows[names[0]].to_numpy()
    sign = -1 if _higher_is_better(run, names[0]) else 1
    order = np.argsort(sign * score, kind="stable")
    best = order[rows[f"{names[0]}_valid"].to_numpy()[order]][:num]
    table = _table(f"best by {names[0]}", "", *names, "architecture")
    for place, row in enumerate(rows.take(best).to_pylist(), 1):
        scores = (f"{row[name]:.5g}" for name in names)
        table.add_row(*map(Text, (str(place), *scores, row["arch"])))
    return table


def _table(title: str, *headers: str) -> Table:
    table = Table(
        title=Text(title, "bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=0,
    )
    for header in headers:
        if header in ("proxy", "architecture"):
            table.add_column(header, overflow="fold", min_width=16)
        else:
            width = max(map(len, header.split("\n")))
            table.add_column(
                Text(header), justify="right", overflow="fold", min_width=min(width, 10)
            )
    return table


def request(scorer: "Scorer", num: int, with_images: bool) -> Iterator[str]:
    """What is about to be scored, and what the user may not expect."""
    where = f"{scorer.num_devices} device{'s' * (scorer.num_devices > 1)}"
    yield f"{num} architectures of {scorer.space.name} on {where}"
    users = [p.name for p in scorer.proxies if p.program and p.inputs == "images"]
    if users and not with_images:
        yield f"no --images: 64 grey images, dark to light, for {', '.join(users)}"
    elif with_images and not users:
        yield "no proxy uses the images: they take Gaussian noise"


def settings(run: Run) -> str:
    """Fidelity and seeds of a run, in words."""
    scorer = run.manifest["scorer"]
    seeds = f"{len(scorer['seeds'])} seed{'s' * (len(scorer['seeds']) > 1)}"
    return f"fidelity {_words(scorer['fidelity'])}; {seeds}"


def speed(num: int, finished: int, seconds: float) -> str:
    """How fast ``num`` architectures went, of which some were ``finished`` before."""
    new = num - finished
    before = f", {finished} of them before" if finished else ""
    rate = f"{new} in {seconds:.1f} s, {new / seconds:.4g} a second with compilation"
    return f"{num} architectures scored{before}; {rate}"


def catalogue() -> Iterator[str]:
    """Lines that list proxies, spaces and presets."""
    yield "proxies, with options and defaults; write name(option=value,...)"
    for name, factory in PROXIES.items():
        yield f"  {name}{_options(factory)}"
        yield f"      {factory().reference}"
    yield "spaces"
    for name, make in SPACES.items():
        yield f"  {name}: {make().num_archs} architectures"
    yield "presets of fidelity"
    for name, fidelity in PRESETS.items():
        yield f"  {name}: {_words(asdict(fidelity))}"


def _words(fidelity: dict[str, int]) -> str:
    return ", ".join(f"{k.replace('_', ' ')} {value}" for k, value in fidelity.items())


def _options(factory: Callable[..., Proxy]) -> str:
    def write(value: Any) -> str:
        return ":".join(map(str, value)) if isinstance(value, tuple) else str(value)

    options = inspect.signature(factory).parameters.values()
    text = ",".join(f"{option.name}={write(option.default)}" for option in options)
    return f"({text})" if text else ""


def to_json(value: Any) -> Any:
    """The value with None for NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
