"""NAS-Bench-201: its encoding, its network, its exact counts."""

from dataclasses import replace
from functools import partial

from jaxproxy.options import check_counts
from jaxproxy.spaces._nasbench201 import _forms as forms
from jaxproxy.spaces._nasbench201 import _masks as masks
from jaxproxy.spaces._nasbench201._canonical import canonical
from jaxproxy.spaces._nasbench201._codes import (
    EDGES,
    OPS,
    enumerate_codes,
    graph,
    node_tables,
    reachable,
    to_str,
)
from jaxproxy.spaces._nasbench201._counts import (
    cost,
    num_macs,
    num_params,
    num_tensors,
)
from jaxproxy.spaces._nasbench201._equal_weights import equal_weights
from jaxproxy.spaces._nasbench201._network import network
from jaxproxy.spaces._nasbench201._supernet import bare_task, supernet
from jaxproxy.spaces._records import Constraint, Counts, Isomorphism, Sizes, Task
from jaxproxy.spaces._space import Space
from jaxproxy.spaces._strings import split_strings
from jaxproxy.types import Fidelity

__all__ = ["nasbench201", "nasbench201_supernet"]


def nasbench201(*, num_classes: int = 10, resolution: int = 32) -> Space:
    """Returns NAS-Bench-201: 15,625 cells of four nodes, six edges, five operations.

    Parameters and multiply-adds are those of the trained network of the benchmark,
    with 16 channels and 5 cells per stage.

    Args:
      num_classes: 10, 100 or 120 for CIFAR-10, CIFAR-100 and ImageNet16-120.
      resolution: of the data set, for multiply-adds: 32, or 16 for ImageNet16-120.

    References:
      Dong and Yang, "NAS-Bench-201", ICLR 2020, arXiv:2001.00326.
    """
    check_counts(num_classes=num_classes, resolution=resolution)
    return Space(
        name="nasbench201",
        choices=(len(OPS),) * len(EDGES),
        to_str=to_str,
        from_str=forms.from_str,
        network=partial(network, num_classes=num_classes),
        task=Task(num_classes),
        counts=Counts(
            params=partial(num_params, num_classes=num_classes),
            macs=partial(num_macs, num_classes=num_classes, resolution=resolution),
            tensors=num_tensors,
        ),
        strings=split_strings(node_tables, "+"),
        isomorphism=Isomorphism(canonical),
        enumerate=enumerate_codes,
        cost=cost,
        reachable=reachable,
        graph=graph,
        equal_weights=equal_weights,
        sizes=Sizes.of_images(),
        check_fidelity=_check_fidelity,
        settings={"macs_resolution": resolution},
    )


def nasbench201_supernet(
    *, num_classes: int = 10, resolution: int = 32, bare: bool = False
) -> Space:
    """Returns NAS-Bench-201's supernet: each edge the mean of its live operations.

    A code is a mask of zeros and ones, a gene for each of four operations on each of
    six edges, ``none`` left out; every edge has at least one. Where it has exactly one,
    the network is that of :func:`nasbench201` with the same weights, and so is the
    string: ``nasbench201().from_str(space.to_str(mask))`` is its code.

    The mean is the softmax of equal logits. TE-NAS draws its logits from a normal
    distribution with a deviation of a thousandth, which nothing is known to need.

    Args:
      num_classes: as in :func:`nasbench201`.
      resolution: as in :func:`nasbench201`.
      bare: one stage of cells without a stem, in which TE-NAS counts linear regions:
        images have as many channels as the network, and any resolution.

    References:
      Chen et al., "Neural architecture search on ImageNet in four GPU hours", ICLR
      2021, arXiv:2102.11535.
    """
    check_counts(num_classes=num_classes, resolution=resolution)
    count = {"num_classes": num_classes}
    macs = partial(num_macs, **count, resolution=resolution)
    counts = Counts(
        params=partial(masks.added, partial(num_params, **count)),
        macs=partial(masks.added, macs),
        tensors=partial(masks.added, num_tensors),
    )
    space = Space(
        name="nasbench201_supernet",
        choices=(2,) * masks.NUM_GENES,
        to_str=masks.to_str,
        from_str=forms.mask_from_str,
        network=partial(supernet, num_classes=num_classes, bare=bare),
        task=bare_task(num_classes) if bare else Task(num_classes),
        strings=split_strings(masks.node_tables, "+"),
        counts=None if bare else counts,
        constraint=Constraint(masks.valid, masks.explain),
        cost=partial(masks.added, cost),
        graph=masks.graph,
        sizes=Sizes.of_images(),
        settings={"macs_resolution": resolution, "bare": bare},
    )
    return space if bare else replace(space, check_fidelity=_check_fidelity)


def _check_fidelity(fidelity: Fidelity) -> None:
    if fidelity.resolution % 4:
        raise ValueError(
            "two stages of nasbench201 halve the images, so resolution must be a "
            f"multiple of 4, not {fidelity.resolution}"
        )
