"""NAS-Bench-Macro put together: encoding, network and counts."""

from functools import partial

from jaxproxy.spaces import _nasbench_macro as host
from jaxproxy.spaces._nasbench_macro_net import network
from jaxproxy.spaces._space import Space
from jaxproxy.types import Fidelity

_PRESETS = {
    "paper": Fidelity(width=32, cells=1, batch_size=64, resolution=64),
    "fast": Fidelity(width=8, cells=1, batch_size=8, resolution=16),
}


def nasbench_macro() -> Space:
    """NAS-Bench-Macro: eight mobile blocks or identities, 6,561 architectures.

    Parameters and multiply-adds are those of the trained network, for CIFAR-10.

    References:
      Su et al., "Prioritized architecture sampling with Monte-Carlo tree search", CVPR
      2021, arXiv:2103.11922.
    """
    num_classes = 10
    return Space(
        name="nasbench_macro",
        choices=(len(host.BLOCKS),) * host.NUM_LAYERS,
        num_classes=num_classes,
        to_str=host.to_str,
        from_str=host.from_str,
        enumerate=host.enumerate_codes,
        num_params=host.num_params,
        num_macs=host.num_macs,
        num_tensors=host.num_tensors,
        network=partial(network, num_classes=num_classes),
        cost=host.cost,
        presets=_PRESETS,
        graph=host.graph,
    )
