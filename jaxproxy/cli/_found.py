"""Records and tables of what a search found."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from jaxproxy.runs import Run
    from jaxproxy.scoring import LiveSearch, Scorer
    from jaxproxy.spaces import Space


def winner(space: "Space", scorer: "Scorer", found: "LiveSearch") -> dict[str, Any]:
    """Returns the record of the best.

    Raises:
      ValueError: nothing had a score.
    """
    import numpy as np

    names, core = [proxy.name for proxy in scorer.proxies], found.core
    if not math.isfinite(core.fitness):
        raise ValueError(
            f"none of {int(core.told)} architectures has a valid score by "
            f"{' and '.join(names)}"
        )
    code = np.asarray(core.code)
    arch, table = space.to_str(code), found.run.table(["arch", *names])
    row = table["arch"].to_pylist().index(arch)
    # As they are stored: the search knows them in float32.
    scores = {name: table[name][row].as_py() for name in names}
    several = {"score": float(core.fitness), "scores": scores}
    return {
        "arch": arch,
        **(several if len(names) > 1 else {"score": scores[names[0]]}),
        "params": int(space.num_params(code)),
        "macs": int(space.num_macs(code)) if _counts_macs(space) else None,
        "evaluations": int(core.told),
    }


def front_records(
    space: "Space",
    names: Sequence[str],
    run: "Run",
    costs: Mapping[str, float] | None,
    *,
    weighs: bool,
) -> list[dict[str, Any]]:
    """Returns ``{arch, <column>: score, cost}`` of the Pareto front of a run.

    Costs are multiply-adds, or parameters, where a search that weighs them has no table
    of others.
    """
    import numpy as np

    from jaxproxy.analysis import archs_of, front

    if weighs and costs is None:
        archs = list(dict.fromkeys(archs_of(run)))
        codes = space.from_strs(archs)
        count = space.num_macs if _counts_macs(space) else space.num_params
        costs = dict(zip(archs, np.asarray(count(codes)).tolist(), strict=True))
    return [
        {"arch": one.arch, **one.scores} | ({"cost": one.cost} if weighs else {})
        for one in front(run, names, costs if weighs else None)
    ]


def front_tables(
    records: Sequence[dict[str, Any]], cost: str
) -> "Iterator[RenderableType]":
    """Yields a table of a front, nothing for none."""
    if not records:
        return
    from jaxproxy.cli._report import Report

    names = {"arch": "architecture", "cost": cost}
    headers = [names.get(name, name) for name in records[0]]
    table = Report(f"front of {len(records)}", *headers)
    for record in records:
        arch, *values = record.values()
        table.add_row(arch, *(f"{value:.6g}" for value in values))
    yield table


def _counts_macs(space: "Space") -> bool:
    return space.counts is not None and space.counts.macs is not None
