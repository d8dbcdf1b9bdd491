"""Sizes as proxies: the baselines that every other proxy has to beat."""

import numpy as np

from jaxproxy.proxies._proxy import Proxy, proxy


@proxy
def params() -> Proxy:
    """Trainable parameters of the network that is trained, whatever the fidelity."""
    return Proxy(
        count=lambda space, codes: np.asarray(space.num_params(codes), float),
        reference="number of trainable parameters",
    )


@proxy
def macs() -> Proxy:
    """Multiply-adds of its convolutions and linear layers for one image."""
    return Proxy(
        count=lambda space, codes: np.asarray(space.num_macs(codes), float),
        reference="multiply-adds of convolutions and linear layers",
    )


@proxy
def num_tensors() -> Proxy:
    """Named parameter tensors of the network that is trained: VKDNW's dimension."""
    return Proxy(
        count=lambda space, codes: np.asarray(space.num_tensors(codes), float),
        reference="Tybl and Neumann, VKDNW, 2025, arXiv:2502.04975",
    )
