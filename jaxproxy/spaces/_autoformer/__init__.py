"""AutoFormer: its encoding, its network, its exact counts."""

from functools import partial

import numpy as np

from jaxproxy.options import check_choices, check_counts
from jaxproxy.spaces._autoformer import _codes as host
from jaxproxy.spaces._autoformer import _strings as strings
from jaxproxy.spaces._autoformer._network import check_fidelity, network
from jaxproxy.spaces._records import Counts, Isomorphism, Sizes, Task
from jaxproxy.spaces._space import Space
from jaxproxy.spaces._strings import Strings
from jaxproxy.types import Fidelity

__all__ = ["autoformer"]


def autoformer(
    *, size: str = "tiny", num_classes: int = 1000, resolution: int = 224
) -> Space:
    """Returns AutoFormer: vision transformers that differ in heads, MLPs and depth.

    The activations of their dense layers are of kind ``linear``: InTrain and capacity
    want ``layers=linear``, for the patch embedding is the only convolution.

    Args:
      size: which supernet, ``"tiny"``, ``"small"`` or ``"base"``.
      num_classes: 1000 for ImageNet.
      resolution: of the data set, for multiply-adds and positions.

    Raises:
      ValueError: an unknown size, no class, or a resolution that patches of 16 pixels
        do not fill.

    References:
      Chen et al., "AutoFormer", ICCV 2021, arXiv:2107.00651.
    """
    check_choices(size=(size, host.SUPERNETS))
    check_counts(num_classes=num_classes, resolution=resolution)
    if resolution < host.PATCH or resolution % host.PATCH:
        raise ValueError(
            f"resolution must be a multiple of {host.PATCH}, got {resolution}"
        )
    supernet = host.SUPERNETS[size]
    counted = {"num_classes": num_classes, "resolution": resolution}
    num_macs = partial(host.num_macs, supernet, **counted)
    return Space(
        name="autoformer",
        choices=supernet.choices,
        to_str=partial(host.to_str, supernet),
        from_str=partial(host.from_str, supernet),
        strings=Strings(
            partial(strings.write, supernet), partial(strings.read, supernet)
        ),
        network=partial(network, supernet=supernet, num_classes=num_classes),
        task=Task(num_classes),
        counts=Counts(
            params=partial(host.num_params, supernet, **counted),
            macs=num_macs,
            tensors=partial(host.num_tensors, supernet),
        ),
        isomorphism=Isomorphism(partial(host.canonical, supernet)),
        cost=lambda codes: np.asarray(num_macs(codes), float),
        graph=partial(host.graph, supernet),
        presets={
            "paper": Fidelity(width=64, cells=1, batch_size=64, resolution=64),
            "fast": Fidelity(width=16, cells=1, batch_size=16, resolution=64),
        },
        sizes=Sizes.of_images(16, repeats=False),
        check_fidelity=check_fidelity,
        settings={"size": size, "macs_resolution": resolution},
    )
