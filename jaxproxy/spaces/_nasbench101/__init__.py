"""NAS-Bench-101: its encoding, its network, its exact counts."""

from functools import partial

import numpy as np

from jaxproxy.options import check_counts
from jaxproxy.spaces._nasbench101 import _codes as modules
from jaxproxy.spaces._nasbench101 import _counts as counts
from jaxproxy.spaces._nasbench101 import _strings as strings
from jaxproxy.spaces._nasbench101._canonical import canonical, enumerate_codes
from jaxproxy.spaces._nasbench101._equal_weights import equal_weights
from jaxproxy.spaces._nasbench101._network import check_fidelity, network
from jaxproxy.spaces._records import (
    Constraint,
    Counts,
    Graph,
    Isomorphism,
    Sizes,
    Task,
)
from jaxproxy.spaces._space import Space
from jaxproxy.spaces._strings import Strings
from jaxproxy.types import Fidelity

__all__ = ["nasbench101"]


def nasbench101(*, num_classes: int = 10, resolution: int = 32) -> Space:
    """Returns NAS-Bench-101: 423,624 modules of at most seven vertices and nine edges.

    A code need not be pruned, so that one change leads from any to another graph.
    Codes are sampled uniformly over graphs, not over codes, in their canonical form.

    Parameters and multiply-adds are those of the trained network of the benchmark,
    with 128 channels and three modules per stack.

    Args:
      num_classes: 10 for CIFAR-10.
      resolution: of the data set, for multiply-adds.

    References:
      Ying et al., "NAS-Bench-101", ICML 2019, arXiv:1902.09635.
    """
    check_counts(num_classes=num_classes, resolution=resolution)
    return Space(
        name="nasbench101",
        choices=modules.CHOICES,
        to_str=modules.to_str,
        from_str=modules.from_str,
        strings=Strings(strings.write, strings.read),
        network=partial(network, num_classes=num_classes),
        task=Task(num_classes),
        counts=Counts(
            params=partial(counts.num_params, num_classes=num_classes),
            macs=partial(
                counts.num_macs, num_classes=num_classes, resolution=resolution
            ),
            tensors=counts.num_tensors,
        ),
        constraint=Constraint(modules.valid, modules.explain),
        isomorphism=Isomorphism(canonical, equal_scores=False),
        enumerate=enumerate_codes,
        cost=counts.cost,
        graph=graph,
        equal_weights=equal_weights,
        presets={
            "paper": Fidelity(width=128, cells=3, batch_size=64, resolution=64),
            # The better of two on 200 architectures: benchmarks/nasbench101.py
            "fast": Fidelity(width=12, cells=3, batch_size=8, resolution=16),
        },
        sizes=Sizes.of_images(),
        check_fidelity=check_fidelity,
        settings={"macs_resolution": resolution},
    )


def graph(code: np.ndarray) -> Graph:
    """Drawing of the pruned graph; the input is projected along its edges."""
    matrix, ops = modules.pruned(code)
    edges = zip(*np.nonzero(matrix), strict=True)
    labels = ((int(s), int(t), "" if s else "projection") for s, t in edges)
    return Graph(ops, tuple(labels))
