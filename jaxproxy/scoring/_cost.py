"""What proxies cost: the dearest thing that each runs (host code)."""

from collections.abc import Iterator, Sequence

from jaxproxy.measure import Pass, make_passes
from jaxproxy.proxies import Proxy

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
    costs = {cost for one in make_passes(proxy.meters) for cost in _costs(one)}
    return max(costs, key=COSTS.index)


def _costs(one: Pass) -> Iterator[str]:
    yield from (meter.cost for meter in one.whole)
    if one.backward and one.setup.loss == "logit":
        yield "per class"
    elif one.backward:
        yield "per sample" if one.setup.single else "forward and backward"
    elif one.taps:
        yield "forward"


def summary(proxies: Sequence[Proxy]) -> Iterator[str]:
    """Lines on what has no pass to share: programs of their own, and exact counts."""
    own = [proxy.name for proxy in proxies if proxy.program is not None]
    counts = [proxy.name for proxy in proxies if proxy.count is not None]
    if own:
        yield f"by programs of their own: {', '.join(own)}"
    if counts:
        yield f"counted without a network: {', '.join(counts)}"
