"""Sizes as proxies: the baselines that every other proxy has to beat."""

import numpy as np

from jaxproxy.proxies._proxy import Proxy


def params() -> Proxy:
    """Trainable parameters of the network that is trained, whatever the fidelity."""
    return Proxy(
        "params",
        count=lambda space, codes: np.asarray(space.num_params(codes), float),
        reference="number of trainable parameters",
    )


def macs() -> Proxy:
    """Multiply-adds of its convolutions and linear layers for one image."""
    return Proxy(
        "macs",
        count=lambda space, codes: np.asarray(space.num_macs(codes), float),
        reference="multiply-adds of convolutions and linear layers",
    )
