"""What proxies cost: the dearest thing that each runs (host code)."""

from collections.abc import Iterator, Sequence

from jaxproxy.measure import make_passes
from jaxproxy.proxies import Proxy

COSTS = (
    "count",
    "forward",
    "forward and backward",
    "repeated forward",
    "per sample",
    "per class",
    "second order",
)
"""What a proxy runs for one architecture, roughly from cheap to dear.

``count`` runs no network. ``per sample`` and ``per class`` are a backward pass for each
image, and for each image or batch and each class.
"""


def cost_class(proxy: Proxy) -> str:
    """Returns the dearest of :data:`COSTS` that a proxy's meters and setups need."""
    if proxy.count is not None:
        return "count"
    costs = {cost for one in make_passes(proxy.meters) for cost in one.costs}
    return max(costs, key=COSTS.index)


def summary(proxies: Sequence[Proxy]) -> Iterator[str]:
    """Yields a line on what has no pass to share: exact counts."""
    counts = [proxy.name for proxy in proxies if proxy.count is not None]
    if counts:
        yield f"counted without a network: {', '.join(counts)}"
