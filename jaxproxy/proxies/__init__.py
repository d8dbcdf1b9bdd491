"""Zero-cost proxies, one family of papers per file.

The imports of this file are the list: what is imported here is in :data:`PROXIES`, in
this order, and can be had by name.
"""

# ruff: noqa: F401, I001

from collections.abc import Callable

from jaxproxy.proxies._intrain import capacity, intrain
from jaxproxy.proxies._epsinas import epsinas
from jaxproxy.proxies._counts import params, macs, num_tensors
from jaxproxy.proxies._saliency import (
    grad_norm,
    snip,
    plain,
    l2_norm,
    fisher,
    grasp,
    synflow,
    dss,
)
from jaxproxy.proxies._jacobian import jacov, epe_nas
from jaxproxy.proxies._patterns import naswot, linear_regions, swap
from jaxproxy.proxies._ntk import ntk
from jaxproxy.proxies._zen import zen
from jaxproxy.proxies._gradient_statistics import zico, xi_gsnr, grad_sign
from jaxproxy.proxies._az_nas import (
    az_expressivity,
    az_progressivity,
    az_trainability,
)
from jaxproxy.proxies._vkdnw import vkdnw_entropy
from jaxproxy.proxies._meco import meco
from jaxproxy.proxies._accuracy import cv, weight_agnostic
from jaxproxy.proxies._statistics import participation, variance

from jaxproxy.proxies import _variants
from jaxproxy.proxies._epsinas import grey_images
from jaxproxy.proxies._epsinas_weights import search_weights
from jaxproxy.proxies._intrain import gamma, gradient_health
from jaxproxy.proxies._proxy import Proxy, is_factory, proxy
from jaxproxy.proxies._statistics import STATISTICS
from jaxproxy.proxies._variants import Table, Variant

PROXIES: dict[str, Callable[..., Proxy]] = {
    name: value for name, value in [*globals().items()] if is_factory(value)
}
"""Every proxy by name: the factories that this file imports."""

__all__ = [
    "PROXIES",
    "STATISTICS",
    "Proxy",
    "Variant",
    "gamma",
    "gradient_health",
    "grey_images",
    "parse_proxy",
    "proxy",
    "search_weights",
    "variants",
    *PROXIES,
]


def parse_proxy(text: str, table: Table = PROXIES) -> Proxy:
    """Returns the proxy of ``"intrain"`` or ``"intrain(layers=relu,dead=live)"``.

    A variant's name lists the options given, in the order of the signature. Numbers in
    a tuple are joined by ``:``, as in ``epsinas(mode=stable,weights=1e-7:1)``.

    Args:
      text: a name, with or without options.
      table: name -> factory.

    Raises:
      ValueError: unknown proxy, option or value, naming the choices.
    """
    return _variants.make_proxy(text, table)


def variants(of: str | Callable[..., Proxy]) -> list[Variant]:
    """Returns every declared variant of a proxy.

    Options that are written stay as they are.

    Args:
      of: as :func:`parse_proxy` reads it, such as ``"intrain"`` or
        ``"intrain(dead=live)"``; or a factory of one's own, all of whose options have
        defaults.

    Raises:
      ValueError: no such proxy, or no option with declared choices is left.
    """
    if isinstance(of, str):
        return _variants.make_variants(of, PROXIES)
    name = of().name.partition("(")[0]
    return _variants.make_variants(name, {name: of})
