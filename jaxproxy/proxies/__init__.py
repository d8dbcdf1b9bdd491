"""Zero-cost proxies, one family of papers per file."""

from jaxproxy.proxies._accuracy import cv, weight_agnostic
from jaxproxy.proxies._az_nas import az_expressivity, az_progressivity, az_trainability
from jaxproxy.proxies._counts import macs, params
from jaxproxy.proxies._epsinas import epsinas, grey_images
from jaxproxy.proxies._epsinas_weights import search_weights
from jaxproxy.proxies._gradient_statistics import grad_sign, xi_gsnr, zico
from jaxproxy.proxies._intrain import capacity, gamma, gradient_health, intrain
from jaxproxy.proxies._jacobian import epe_nas, jacov
from jaxproxy.proxies._meco import meco
from jaxproxy.proxies._patterns import linear_regions, naswot, ntk, swap
from jaxproxy.proxies._proxy import Proxy
from jaxproxy.proxies._saliency import (
    dss,
    fisher,
    grad_norm,
    grasp,
    l2_norm,
    plain,
    snip,
    synflow,
)
from jaxproxy.proxies._statistics import STATISTICS, participation, variance
from jaxproxy.proxies._table import PROXIES, parse_proxy
from jaxproxy.proxies._variants import Variant, choices, variants
from jaxproxy.proxies._vkdnw import num_tensors, vkdnw_entropy
from jaxproxy.proxies._zen import zen

__all__ = [
    "PROXIES",
    "STATISTICS",
    "Proxy",
    "Variant",
    "az_expressivity",
    "az_progressivity",
    "az_trainability",
    "capacity",
    "choices",
    "cv",
    "dss",
    "epe_nas",
    "epsinas",
    "fisher",
    "gamma",
    "grad_norm",
    "grad_sign",
    "gradient_health",
    "grasp",
    "grey_images",
    "intrain",
    "jacov",
    "l2_norm",
    "linear_regions",
    "macs",
    "meco",
    "naswot",
    "ntk",
    "num_tensors",
    "params",
    "parse_proxy",
    "participation",
    "plain",
    "search_weights",
    "snip",
    "swap",
    "synflow",
    "variance",
    "variants",
    "vkdnw_entropy",
    "weight_agnostic",
    "xi_gsnr",
    "zen",
    "zico",
]
