"""What a request would run: passes, what they share, and what they measure (host)."""

from collections.abc import Iterator, Sequence

from rich.table import Table

from jaxproxy.meters import Meter
from jaxproxy.passes import Pass, make_passes
from jaxproxy.proxies import Proxy
from jaxproxy.report import make_table

__all__ = ["COSTS", "cost_class", "inputs_of", "plan_table", "summary"]

COSTS = (
    "count",
    "forward",
    "forward and backward",
    "repeated forward",
    "per sample",
    "per class",
    "second order",
    "own program",
)
"""What a proxy runs for one architecture, roughly from cheap to dear.

``count`` runs no network. ``per sample`` and ``per class`` are a backward pass for each
image, and for each image or batch and each class. An ``own program`` shares nothing.
"""


def cost_class(proxy: Proxy) -> str:
    """The dearest of :data:`COSTS` that a proxy's meters and their setups need."""
    if proxy.count is not None:
        return "count"
    if proxy.program is not None:
        return "own program"
    costs = {cost for run in make_passes(proxy.meters) for cost in _costs(run)}
    return max(costs, key=COSTS.index)


def _costs(run: Pass) -> Iterator[str]:
    yield from (meter.cost for meter in run.whole)
    if run.backward and run.setup.loss == "logit":
        yield "per class"
    elif run.backward:
        yield "per sample" if run.setup.single else "forward and backward"
    elif run.taps:
        yield "forward"


def plan_table(proxies: Sequence[Proxy]) -> Table:
    """One row for every pass: its setup, what it runs, its meters and their proxies."""
    table = make_table(
        "for each architecture and seed",
        *("weights", "input", "BatchNorm", "derivative of", "runs", "meters", "for"),
    )
    for run in make_passes(m for proxy in proxies for m in proxy.meters):
        meters = [_named(meter, run) for meter in run.meters]
        users = [p.name for p in proxies if set(p.meters) & set(run.meters)]
        table.add_row(
            run.setup.weights,
            inputs_of(run),
            run.setup.norm,
            run.setup.loss.replace("_", " ") if _differentiates(run) else "-",
            ", ".join(_runs(run)),
            ", ".join(meters),
            ", ".join(users),
        )
    return table


def summary(proxies: Sequence[Proxy]) -> Iterator[str]:
    """Lines on what has no pass to share: programs of their own, and exact counts."""
    own = [proxy.name for proxy in proxies if proxy.program is not None]
    counts = [proxy.name for proxy in proxies if proxy.count is not None]
    if own:
        yield f"by programs of their own: {', '.join(own)}"
    if counts:
        yield f"counted without a network: {', '.join(counts)}"


def _named(meter: Meter, run: Pass) -> str:
    """Without what the pass says; with the number of batches, if it reads fewer."""
    fewer = run.setup.batches > meter.setup.batches
    name = meter.name.removesuffix(meter.setup.label)
    return f"{name} of the first {meter.setup.batches}" if fewer else name


def inputs_of(run: Pass) -> str:
    """What a pass is shown, in words."""
    setup = run.setup
    count = f"{setup.batches} x " if setup.batches > 1 else ""
    size = f", {setup.batch_size} a batch" if setup.batch_size is not None else ""
    return f"{count}{setup.inputs}{size}{', one by one' if setup.single else ''}"


def _differentiates(run: Pass) -> bool:
    return run.backward or bool(run.whole)


def _runs(run: Pass) -> Iterator[str]:
    times = "for every class, " if run.setup.loss == "logit" else ""
    if run.taps:
        yield f"{times}forward and backward" if run.backward else "forward"
    if run.whole:
        yield "the network as a whole"
