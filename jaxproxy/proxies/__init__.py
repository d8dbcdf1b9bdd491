"""Zero-cost proxies, one family of papers per file."""

from jaxproxy.proxies._counts import macs, params
from jaxproxy.proxies._epsinas import epsinas, grey_images
from jaxproxy.proxies._epsinas_weights import search_weights
from jaxproxy.proxies._intrain import capacity, gamma, gradient_health, intrain
from jaxproxy.proxies._proxy import Proxy
from jaxproxy.proxies._readings import SPREAD, STATISTICS, participation, variance
from jaxproxy.proxies._table import PROXIES, parse_proxy

__all__ = [
    "PROXIES",
    "SPREAD",
    "STATISTICS",
    "Proxy",
    "capacity",
    "epsinas",
    "gamma",
    "gradient_health",
    "grey_images",
    "intrain",
    "macs",
    "params",
    "parse_proxy",
    "participation",
    "search_weights",
    "variance",
]
