"""Tables and captions for people (host code)."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from rich.console import RenderableType

from jaxproxy.analysis import (
    MEASURES,
    Ablation,
    BestOf,
    Column,
    Matrix,
    Record,
    Simulated,
    archs_of,
    score_columns,
)
from jaxproxy.cli._report import Report
from jaxproxy.measure import EqualWeightsPass, Meter, Pass, make_passes
from jaxproxy.proxies import Proxy
from jaxproxy.runs import Run, Status, is_alive

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


_PARTIAL_CAPTION = (
    "Correlation of what is left of the ranks of score and accuracy when the ranks of "
    "the counts are regressed out: 0 for a proxy that only counts. -: it is a function "
    "of them."
)


def correlation_tables(records: Sequence[Record]) -> Iterator[RenderableType]:
    """One table for each truth and set, a row for each proxy."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record.truth, record.set), []).append(record)
    for (truth, label), rows in groups.items():
        where = "" if label == "all" else " without unreachable operations"
        missing = rows[0].num_unknown
        unknown = f" ({missing} more have no accuracy)" if missing else ""
        good = ", lower is better" if rows[0].lower else ""
        title = f"{truth}{good}: {rows[0].n} architectures{where}{unknown}"
        finds = ("best of\n1000",) if rows[0].n >= 1_000 else ()
        columns = ("valid", "cover-\nage %", *_HEADERS.values(), *finds, "ties\n%")
        table = Report(title, "proxy", *columns)
        for row in rows:
            among = row.ranked_among
            name = row.proxy + (f" (ranked among {among})" if among else "")
            table.add_row(name, *_cells(row))
        yield table
    intervals = "Below a number: its 95 % interval." if records[0].intervals else ""
    yield f"{_CAPTION} {intervals}".rstrip()


def _cells(row: Record) -> Iterator[str]:
    yield str(row.num_valid)
    yield f"{100 * row.coverage:.1f}"
    for measure in MEASURES:
        digits = 1 if measure == "top64_top5" else 3
        numbers = (getattr(row, measure), *row.intervals.get(measure, ()))
        yield "\n".join(f"{number:.{digits}f}" for number in numbers)
    if row.n >= 1_000:
        yield _in_unit(row.best_of1000)
    yield f"{100 * row.score_ties:.2f}"


def _in_unit(truth: float, std: float | None = None) -> str:
    """Returns percents with two digits, and losses or fractions with four."""
    digits = 2 if not abs(truth) < 10 else 4
    return f"{truth if std is None else std:.{digits}f}"


def _with_std(mean: float, std: float) -> str:
    return f"{_in_unit(mean)} ± {_in_unit(mean, std)}"


def best_of_tables(records: Sequence[BestOf]) -> Iterator[RenderableType]:
    """One table for each truth, a row for each proxy, and what it says."""
    for within, truth in dict.fromkeys((r.within, r.truth) for r in records):
        own = [r for r in records if (r.within, r.truth) == (within, truth)]
        sizes = list(dict.fromkeys(record.n for record in own))
        budget = "" if within == 1 else f", budget {within:.0%}"
        table = Report(f"{truth}{budget}", "proxy", *(f"best of {n}" for n in sizes))
        for proxy in dict.fromkeys(record.proxy for record in own):
            found = [record for record in own if record.proxy == proxy]
            cells = (_with_std(record.mean, record.std) for record in found)
            table.add_row(proxy, *cells)
        yield table
    yield (
        "Truth of the first by score of N random architectures: mean and standard "
        "deviation over all samples. ceiling: the best of the sample."
    )


def simulated_tables(records: Sequence[Simulated]) -> Iterator[RenderableType]:
    """One table for each truth, a row for each method, and what it says."""
    for truth in dict.fromkeys(record.truth for record in records):
        own = [record for record in records if record.truth == truth]
        marks = list(dict.fromkeys(record.evaluations for record in own))
        headers = (*(f"after {mark}" for mark in marks), "best seen")
        table = Report(truth, "method", *headers)
        for method in dict.fromkeys(record.method for record in own):
            found = [record for record in own if record.method == method]
            cells = [_with_std(record.mean, record.std) for record in found]
            last = _in_unit(found[-1].best_seen_mean)
            table.add_row(method, *cells, last)
        yield table
    yield (
        "Truth of the best by what the search saw: mean and standard deviation over "
        "runs. best seen: the best truth of all that was scored, which no user knows."
    )


def proxy_table(run: Run) -> Report:
    """For each column, how many scores are invalid, and how far seeds spread."""
    seeds = run.manifest["scorer"]["seeds"]
    headers = ["proxy", "invalid", "lowest", "median", "highest"]
    if len(seeds) > 1:
        headers.append(f"mean standard error ({len(seeds)} seeds)")
    table = Report("scores", *headers)
    for column in score_columns(run):
        score = column.values[column.valid]
        stats = np.quantile(score, [0, 0.5, 1]) if len(score) else [np.nan] * 3
        cells = [str(int((~column.valid).sum())), *(f"{stat:.5g}" for stat in stats)]
        if len(seeds) > 1:
            cells.append(_spread(run, column))
        table.add_row(column.label, *cells)
    return table


def _spread(run: Run, column: Column) -> str:
    """Mean standard error over seeds; an ensemble has none, it ranks their means."""
    if column.ranked_among:
        return ""
    error = run.table([f"{column.name}_se"])[0].to_numpy()[column.valid]
    return f"{error.mean() if len(error) else np.nan:.3g}"


def top_table(run: Run, by: str | None = None, num: int = 10) -> Report:
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
    table = Report(title, "", *labels, "architecture")
    for place, row in enumerate(best, 1):
        scores = (f"{column.values[row]:.5g}" for column in columns.values())
        table.add_row(str(place), *scores, archs[row])
    return table


def matrix_tables(found: Matrix) -> Iterator[RenderableType]:
    """The matrix, and for each truth the partial correlations."""
    numbers = [str(place) for place in range(1, len(found.names) + 1)]
    table = Report(f"{found.measure} between columns", "", "proxy", *numbers)
    for number, name, row in zip(numbers, found.names, found.values, strict=True):
        table.add_row(number, name, *map(_rho, row))
    yield table
    for name, among in found.ranked_among.items():
        yield f"{name} is ranked among {among} architectures."
    sizes = [size for row in found.num_valid for size in row]
    if min(sizes) < max(sizes):
        counts = f"{min(sizes)} to {max(sizes)}"
        yield f"Each pair: the {counts} architectures that are valid in both columns."
    given = " and ".join(found.given)
    for truth in dict.fromkeys(record.truth for record in found.partial):
        headers = ("proxy", "archs", "rho", f"rho given {given}")
        table = Report(f"{truth}: beyond {given}", *headers)
        for record in found.partial:
            if record.truth == truth:
                rhos = map(_rho, (record.rho, record.partial_rho))
                table.add_row(record.proxy, str(record.n), *rhos)
        yield table
    if found.partial:
        yield _PARTIAL_CAPTION


def _rho(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def ablation_tables(ablation: Ablation) -> Iterator[RenderableType]:
    """A table for each truth, best tau first, and what was left out."""
    yield from correlation_tables(ablation.records)
    if ablation.num_left_out:
        yield f"{ablation.num_left_out} more variants need meters that the run lacks:"
    for meter, number in ablation.left_out.items():
        yield f"  {meter}: {number} variants"


def plan_table(proxies: Sequence[Proxy]) -> Report:
    """Returns a row for every pass: its setup, its costs, its meters, their proxies."""
    table = Report(
        "for each architecture and seed",
        *("weights", "input", "BatchNorm", "derivative of", "runs", "meters", "for"),
    )
    for one in make_passes(m for proxy in proxies for m in proxy.meters):
        users = [p.name for p in proxies if set(p.meters) & set(one.meters)]
        equal = isinstance(one, EqualWeightsPass)
        table.add_row(
            "two constants" if equal else one.setup.weights,
            one.inputs,
            one.setup.norm,
            one.derivative,
            one.runs,
            ", ".join(_named(meter, one) for meter in one.meters),
            ", ".join(users),
        )
    return table


def _named(meter: Meter, one: Pass) -> str:
    """Without what the pass says; with the number of batches, if it reads fewer."""
    fewer = one.setup.batches > meter.setup.batches
    name = meter.name.removesuffix(meter.setup.label)
    return f"{name} of the first {meter.setup.batches}" if fewer else name


def worker_table(status: Status, now: float) -> RenderableType:
    """A row for each worker: what it said last, and when."""
    table = Report("", "worker", "state", "host", "parts", "archs", "a second", "said")
    for worker in status.workers:
        silent = worker.state == "working" and not is_alive(worker, now)
        table.add_row(
            worker.name,
            "silent" if silent else worker.state,
            worker.host,
            str(worker.parts),
            str(worker.archs),
            f"{worker.rate:.3g}" if math.isfinite(worker.rate) else "-",
            f"{max(0, now - worker.updated):.0f} s ago",
        )
    return table
