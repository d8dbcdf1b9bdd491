"""How the declared variants of a proxy rank, from the readings of one run (host)."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from jaxproxy.analysis._columns import Column, archs_of, reachable, truth_column
from jaxproxy.analysis._correlations import Record, compare
from jaxproxy.analysis._rescore import evaluate
from jaxproxy.analysis._truth import Truth
from jaxproxy.proxies import Proxy, variants
from jaxproxy.runs import Run

SETS = ("all", "reachable")


@dataclass(frozen=True)
class Ablation:
    """The variants of a proxy that a run allows, and what it lacks for the others.

    Attributes:
      records: of each variant, best tau first for each truth.
      options: name of a variant -> the choice of each option.
      left_out: meter that the run has not taken -> number of variants that need it.
      num_left_out: variants left out; some may need several meters.
    """

    records: list[Record]
    options: dict[str, dict[str, str | bool]]
    left_out: dict[str, int]
    num_left_out: int


def ablate(
    run: Run,
    proxy: str | Callable[..., Proxy],
    truths: Sequence[Truth],
    *,
    subset: str = "all",
    num_bootstrap: int = 0,
) -> Ablation:
    """Correlations of every declared variant whose meters the run has.

    Args:
      run: a run with readings.
      proxy: a name, a variant whose written options stay as they are, or a factory of
        one's own.
      truths: accuracies to rank against.
      subset: ``"all"``, or ``"reachable"``: without unreachable operations.
      num_bootstrap: resamples for the intervals; 0 for none.

    Raises:
      ValueError: unknown subset, no variant to evaluate, or a truth that has none of
        the architectures.
      StoreError: the run cannot be read, or has no readings.
    """
    if subset not in SETS:
        raise ValueError(f"unknown set {subset!r}; choose from {SETS}")
    taken = set(run.manifest["scorer"].get("meters", ()))
    grid = variants(proxy)
    missing = [{m.name for m in v.proxy.meters} - taken for v in grid]
    kept = [v for v, m in zip(grid, missing, strict=True) if v.proxy.score and not m]
    left_out = dict(Counter(name for names in missing for name in sorted(names)))
    if not kept:
        name = grid[0].proxy.name.partition("(")[0] if callable(proxy) else proxy
        raise ValueError(
            f"{run.path} has no readings for any variant of {name!r}; the missing "
            f"meters are {sorted(left_out)}"
        )
    columns = []
    scores = evaluate(run, [variant.proxy for variant in kept])
    for variant in kept:
        name, higher = variant.proxy.name, variant.proxy.higher_is_better
        values = scores[name]
        columns.append(Column(name, values, np.isfinite(values), higher))
    archs = archs_of(run)
    members = np.ones(len(archs), bool)
    if subset == "reachable":
        members = reachable(run, archs)
    records = []
    for truth in truths:
        accuracy = truth_column(run, archs, truth)
        rows = [
            *compare(
                columns, accuracy, members, label=subset, num_bootstrap=num_bootstrap
            )
        ]
        taus = [record.tau for record in rows]
        best_first = np.argsort(np.negative(taus), kind="stable")  # NaN comes last
        records += [rows[place] for place in best_first]
    options = {variant.proxy.name: variant.options for variant in kept}
    return Ablation(records, options, left_out, len(grid) - len(kept))
