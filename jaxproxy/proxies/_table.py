"""Every proxy by name, and variants written as text."""

import dataclasses
from collections.abc import Callable, Mapping

from jaxproxy.options import make
from jaxproxy.proxies._accuracy import cv, weight_agnostic
from jaxproxy.proxies._az_nas import az_expressivity, az_progressivity, az_trainability
from jaxproxy.proxies._counts import macs, params
from jaxproxy.proxies._epsinas import epsinas
from jaxproxy.proxies._gradient_statistics import grad_sign, xi_gsnr, zico
from jaxproxy.proxies._intrain import capacity, intrain
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
from jaxproxy.proxies._statistics import participation, variance
from jaxproxy.proxies._vkdnw import num_tensors, vkdnw_entropy
from jaxproxy.proxies._zen import zen

PROXIES: dict[str, Callable[..., Proxy]] = {
    "capacity": capacity,
    "intrain": intrain,
    "epsinas": epsinas,
    "params": params,
    "macs": macs,
    "num_tensors": num_tensors,
    "grad_norm": grad_norm,
    "snip": snip,
    "plain": plain,
    "l2_norm": l2_norm,
    "fisher": fisher,
    "grasp": grasp,
    "synflow": synflow,
    "dss": dss,
    "jacov": jacov,
    "epe_nas": epe_nas,
    "naswot": naswot,
    "linear_regions": linear_regions,
    "swap": swap,
    "ntk": ntk,
    "zen": zen,
    "zico": zico,
    "xi_gsnr": xi_gsnr,
    "grad_sign": grad_sign,
    "az_expressivity": az_expressivity,
    "az_progressivity": az_progressivity,
    "az_trainability": az_trainability,
    "vkdnw_entropy": vkdnw_entropy,
    "meco": meco,
    "cv": cv,
    "weight_agnostic": weight_agnostic,
    "participation": participation,
    "variance": variance,
}


def parse_proxy(
    text: str, table: Mapping[str, Callable[..., Proxy]] = PROXIES
) -> Proxy:
    """The proxy of ``"intrain"`` or ``"intrain(layers=relu,dead=live)"``.

    A variant's name lists the options given, in the order of the signature. Numbers in
    a tuple are joined by ``:``, as in ``epsinas(mode=stable,weights=1e-7:1)``.

    Args:
      text: a name, with or without options.
      table: name -> factory.

    Raises:
      ValueError: unknown proxy, option or value, naming the choices.
    """
    proxy, name = make(text, table, "proxy")
    return dataclasses.replace(proxy, name=name)
