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

from jaxproxy.columns import Column, archs_of, score_columns, subsets, truth_column
from jaxproxy.ensembles import ENSEMBLES
from jaxproxy.proxies import PROXIES, Proxy
from jaxproxy.rank import MEASURES, correlate
from jaxproxy.spaces import SPACES, Space
from jaxproxy.store import Run
from jaxproxy.truth import Truth
from jaxproxy.variants import choices

if TYPE_CHECKING:
    from jaxproxy.score import Scorer

__all__ = [
    "catalogue",
    "compare",
    "correlation_tables",
    "correlations",
    "make_console",
    "make_table",
    "proxy_table",
    "request",
    "settings",
    "speed",
    "to_json",
    "top_table",
]

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
    """How every proxy and ensemble of a run ranks, against every truth.

    Args:
      run: a run with finished parts.
      truths: architectures that a truth does not have are left out and counted.
      num_bootstrap: resamples for the intervals; 0 for none.

    Returns:
      Records with ``truth``, ``proxy``, ``ranked_among`` (for an ensemble, of how many
      architectures its ranks are, whatever the set; None for a proxy), ``set``
      (``"all"``, or ``"reachable"`` for the subset without unreachable operations),
      ``num_unknown`` (architectures without an accuracy) and the fields of
      :class:`~jaxproxy.rank.Correlation`.

    Raises:
      ValueError: a truth has none of the architectures.
      StoreError: the run cannot be read.
    """
    columns, archs = score_columns(run), archs_of(run)
    sets = subsets(run, archs)
    records = []
    for truth in truths:
        accuracy = truth_column(run, archs, truth)
        for label, members in sets.items():
            found = compare(columns, accuracy, members, num_bootstrap=num_bootstrap)
            records += [{**record, "set": label} for record in found]
    return records


def compare(
    columns: Sequence[Column],
    accuracy: Column,
    members: np.ndarray,
    *,
    num_bootstrap: int = 0,
) -> Iterator[dict[str, Any]]:
    """Records as those of :func:`correlations`, without ``set``, for each column.

    Args:
      columns: scores of N architectures.
      accuracy: of the same.
      members: bool[N], the set to report on.
      num_bootstrap: resamples for the intervals; 0 for none.
    """
    rows, missing = accuracy.valid & members, members & ~accuracy.valid
    for column in columns:
        found = correlate(
            column.values[rows],
            column.valid[rows],
            accuracy.values[rows],
            higher_is_better=column.higher_is_better,
            num_bootstrap=num_bootstrap,
        )
        yield {
            "truth": accuracy.name,
            "proxy": column.name,
            "ranked_among": column.ranked_among,
            "num_unknown": int(missing.sum()),
            **asdict(found),
        }


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
        table = make_table(title, "proxy", *columns)
        for row in rows:
            among = row["ranked_among"]
            name = row["proxy"] + (f" (ranked among {among})" if among else "")
            table.add_row(*map(Text, (name, *_cells(row))))
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
    """For each column, how many scores are invalid, and how far seeds spread."""
    seeds = run.manifest["scorer"]["seeds"]
    headers = ["proxy", "invalid", "lowest", "median", "highest"]
    if len(seeds) > 1:
        headers.append(f"mean standard error ({len(seeds)} seeds)")
    table = make_table("scores", *headers)
    for column in score_columns(run):
        score = column.values[column.valid]
        stats = np.quantile(score, [0, 0.5, 1]) if len(score) else [np.nan] * 3
        cells = [str(int((~column.valid).sum())), *(f"{stat:.5g}" for stat in stats)]
        if len(seeds) > 1:
            cells.append(_spread(run, column))
        table.add_row(*(Text(cell) for cell in (column.label, *cells)))
    return table


def _spread(run: Run, column: Column) -> str:
    """Mean standard error over seeds; an ensemble has none, it ranks their means."""
    if column.ranked_among:
        return ""
    error = run.table([f"{column.name}_se"])[0].to_numpy()[column.valid]
    return f"{error.mean() if len(error) else np.nan:.3g}"


def top_table(run: Run, by: str | None = None, num: int = 10) -> Table:
    """The best architectures by one column, with the scores of all.

    Args:
      run: a run with finished parts.
      by: name of a proxy or ensemble; the first proxy by default.
      num: how many architectures.
    """
    columns = {column.name: column for column in score_columns(run)}
    chosen = columns[by] if by in columns else next(iter(columns.values()))
    order = np.argsort(-chosen.oriented, kind="stable")  # NaN comes last
    best = order[: min(num, int(chosen.valid.sum()))]
    archs = archs_of(run)
    title, labels = f"best by {chosen.label}", [c.label for c in columns.values()]
    table = make_table(title, "", *labels, "architecture")
    for place, row in enumerate(best, 1):
        scores = (f"{column.values[row]:.5g}" for column in columns.values())
        table.add_row(*map(Text, (str(place), *scores, archs[row])))
    return table


def make_table(title: str, *headers: str) -> Table:
    """An empty table: names to the left, numbers to the right."""
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
    users = [
        p.name
        for p in scorer.proxies
        if any(meter.setup.inputs == "images" for meter in p.meters)
        or (p.program is not None and p.inputs == "images")
    ]
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
    """Lines that list proxies, ensembles, spaces and presets."""
    yield "proxies, with defaults and choices of options; write name(option=value,...)"
    for name, factory in PROXIES.items():
        yield f"  {name}{_options(factory)}"
        for option, values in choices(factory).items():
            yield f"      {option}: {' '.join(values)}"
        yield f"      {factory().reference}"
    yield "ensembles of ranks, which a run with their components shows"
    for name, ensemble in ENSEMBLES.items():
        yield f"  {name}: {' '.join(ensemble.components)}"
        yield f"      {ensemble.reference}"
    yield "spaces"
    for name, make in SPACES.items():
        space = make()
        what = "codes, not all valid" if space.constrained else "architectures"
        num = space.num_archs
        yield f"  {name}{_options(make)}: {num if num < 1e12 else f'{num:.1e}'} {what}"
        for preset, fidelity in space.presets.items():
            yield f"      {preset}: {_words(asdict(fidelity))}"


def _words(fidelity: dict[str, int]) -> str:
    return ", ".join(f"{k.replace('_', ' ')} {value}" for k, value in fidelity.items())


def _options(factory: Callable[..., Proxy | Space]) -> str:
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
