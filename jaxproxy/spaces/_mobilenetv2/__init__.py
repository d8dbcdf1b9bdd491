"""The MobileNetV2 space: its encoding, its network, exact counts and budgets."""

from functools import partial

from jaxproxy.options import check_counts
from jaxproxy.spaces._mobilenetv2 import _codes as host
from jaxproxy.spaces._mobilenetv2 import _strings as strings
from jaxproxy.spaces._mobilenetv2 import _tables as tables
from jaxproxy.spaces._mobilenetv2._budget import make_constraint
from jaxproxy.spaces._mobilenetv2._device import (
    make_device_functions,
    mobilenetv2_mutation,
)
from jaxproxy.spaces._mobilenetv2._network import check_fidelity, network
from jaxproxy.spaces._records import Counts, Isomorphism, Sizes, Task
from jaxproxy.spaces._space import Space
from jaxproxy.spaces._strings import Strings
from jaxproxy.types import Fidelity

__all__ = ["mobilenetv2", "mobilenetv2_mutation"]

_PRESETS = {
    "paper": Fidelity(width=16, cells=5, batch_size=64, resolution=224),
    "fast": Fidelity(width=4, cells=5, batch_size=8, resolution=32),
}


def mobilenetv2(
    *,
    num_classes: int = 1000,
    resolution: int = 224,
    max_macs: int | None = None,
    max_params: int | None = None,
    skips: bool = True,
) -> Space:
    """Returns ZenNAS' ImageNet space: widths, kernels, expansions, depths, six stages.

    Parameters and multiply-adds are those of the network without the projections that
    ZenNAS puts, for training, beside blocks that change the shape. Architectures above
    a budget are none.

    Args:
      num_classes: outputs.
      resolution: of the images, for multiply-adds; a multiple of 32.
      max_macs: most multiply-adds of an image.
      max_params: most parameters.
      skips: whether a block adds its input to an output of the same shape. ZenNAS
        scores architectures without.

    Raises:
      ValueError: a wrong number, or a budget that no architecture keeps.

    References:
      Lin et al., "Zen-NAS", ICCV 2021, arXiv:2102.01063; Li et al., "ZiCo", ICLR 2023,
      arXiv:2301.11300; Lee and Ham, "AZ-NAS", CVPR 2024, arXiv:2403.19232.
    """
    check_counts(num_classes=num_classes, resolution=resolution)
    sizes = {
        "max_macs": partial(
            host.num_macs, resolution=resolution, num_classes=num_classes
        ),
        "max_params": partial(host.num_params, num_classes=num_classes),
    }
    given = {"max_macs": max_macs, "max_params": max_params}
    budgets = {name: most for name, most in given.items() if most is not None}
    return Space(
        name="mobilenetv2",
        choices=host.CHOICES,
        to_str=strings.to_str,
        from_str=strings.from_str,
        strings=Strings(tables.write, tables.read),
        network=partial(network, num_classes=num_classes, skips=skips),
        task=Task(num_classes),
        counts=Counts(sizes["max_params"], sizes["max_macs"], host.num_tensors),
        on_device=make_device_functions(
            budgets, resolution=resolution, num_classes=num_classes
        ),
        constraint=make_constraint(budgets, sizes) if budgets else None,
        isomorphism=Isomorphism(host.canonical),
        cost=host.cost,
        graph=host.graph,
        presets=_PRESETS,
        sizes=Sizes.of_images(4),
        check_fidelity=check_fidelity,
        settings={"macs_resolution": resolution, "skips": skips, **budgets},
    )
