"""NATS-Bench's size space: its encoding, its network, its exact counts."""

from functools import partial

from jaxproxy.options import check_counts
from jaxproxy.spaces._natsbench_sss import _codes as host
from jaxproxy.spaces._natsbench_sss._network import check_fidelity, network
from jaxproxy.spaces._records import Counts, Sizes, Task
from jaxproxy.spaces._space import Space
from jaxproxy.spaces._strings import split_strings
from jaxproxy.types import Fidelity

__all__ = ["natsbench_sss"]

_PRESETS = {
    "paper": Fidelity(width=16, cells=1, batch_size=64, resolution=64),
    "fast": Fidelity(width=4, cells=1, batch_size=8, resolution=16),
}


def natsbench_sss(*, num_classes: int = 10, resolution: int = 32) -> Space:
    """Returns NATS-Bench's size space: five widths from 8 to 64, 32,768 architectures.

    Parameters and multiply-adds are those of the trained network of the benchmark.

    Args:
      num_classes: 10, 100 or 120 for CIFAR-10, CIFAR-100 and ImageNet16-120.
      resolution: of the data set, for multiply-adds: 32, or 16 for ImageNet16-120.

    References:
      Dong et al., "NATS-Bench", TPAMI 2021, arXiv:2009.00437.
    """
    check_counts(num_classes=num_classes, resolution=resolution)
    return Space(
        name="natsbench_sss",
        choices=(len(host.WIDTHS),) * host.NUM_LAYERS,
        to_str=host.to_str,
        from_str=host.from_str,
        strings=split_strings(host.width_tables, ":"),
        network=partial(network, num_classes=num_classes),
        task=Task(num_classes),
        counts=Counts(
            params=partial(host.num_params, num_classes=num_classes),
            macs=partial(host.num_macs, num_classes=num_classes, resolution=resolution),
            tensors=host.num_tensors,
        ),
        enumerate=host.enumerate_codes,
        cost=host.cost,
        graph=host.graph,
        presets=_PRESETS,
        sizes=Sizes.of_images(2),
        check_fidelity=check_fidelity,
        settings={"macs_resolution": resolution},
    )
