"""Scorers of all proxies of the table: those with one setup share a program."""

from dataclasses import replace
from functools import cache

from jaxproxy.proxies import PROXIES, Proxy, parse_proxy
from jaxproxy.scoring import Scorer, make_scorer
from jaxproxy.spaces import nasbench201
from jaxproxy.types import Fidelity

SPACE = nasbench201()
SMALL = Fidelity(width=4, cells=1, batch_size=4, resolution=8)
BLOCK_SIZE = 6

# As many batches as zico has, so that both read one pass.
_FEWER_BATCHES = {"xi_gsnr": {"batches": 2}}
# Which need taps that this space does not have.
ELSEWHERE = ("dss",)
_VARIANTS = ("grad_norm(norm=global)",)
TABLE: dict[str, Proxy] = {
    name: replace(make(**_FEWER_BATCHES.get(name, {})), name=name)
    for name, make in PROXIES.items()
    if name not in ELSEWHERE
} | {name: parse_proxy(name) for name in _VARIANTS}


def scorer_of(name: str) -> Scorer:
    """The scorer of a proxy and of those that run on the same."""
    return _scorer(tuple(dict.fromkeys(m.setup.label for m in TABLE[name].meters)))


@cache
def _scorer(setups: tuple[str, ...]) -> Scorer:
    """On one device, so that all architectures pass through the same buffers."""
    proxies = [
        proxy
        for proxy in TABLE.values()
        if tuple(dict.fromkeys(m.setup.label for m in proxy.meters)) == setups
    ]
    return make_scorer(SPACE, proxies, fidelity=SMALL, devices=1, block_size=BLOCK_SIZE)
