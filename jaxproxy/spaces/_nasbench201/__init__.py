"""NAS-Bench-201 put together: encoding, network, counts and collapsed form."""

from functools import partial

from jaxproxy.spaces._nasbench201 import _codes as cells
from jaxproxy.spaces._nasbench201._equal_weights import collapsed
from jaxproxy.spaces._nasbench201._network import network
from jaxproxy.spaces._space import Space

__all__ = ["nasbench201"]


def nasbench201(*, num_classes: int = 10, resolution: int = 32) -> Space:
    """NAS-Bench-201: 15,625 cells of four nodes, six edges and five operations.

    Parameters and multiply-adds are those of the trained network of the benchmark,
    with 16 channels and 5 cells per stage.

    Args:
      num_classes: 10, 100 or 120 for CIFAR-10, CIFAR-100 and ImageNet16-120.
      resolution: of the data set, for multiply-adds: 32, or 16 for ImageNet16-120.

    References:
      Dong and Yang, "NAS-Bench-201", ICLR 2020, arXiv:2001.00326.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes must be positive, not {num_classes}")
    return Space(
        name="nasbench201",
        choices=(len(cells.OPS),) * len(cells.EDGES),
        num_classes=num_classes,
        to_str=cells.to_str,
        from_str=cells.from_str,
        canonical=cells.canonical,
        enumerate=cells.enumerate_codes,
        num_params=partial(cells.num_params, num_classes=num_classes),
        num_macs=partial(
            cells.num_macs, num_classes=num_classes, resolution=resolution
        ),
        num_tensors=cells.num_tensors,
        network=partial(network, num_classes=num_classes),
        cost=cells.cost,
        reachable=cells.reachable,
        graph=cells.graph,
        settings={"macs_resolution": resolution},
        collapsed=collapsed,
    )
