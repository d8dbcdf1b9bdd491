"""TransNAS-Bench-101's micro space: encoding, network, exact counts, tasks."""

from functools import partial

from jaxproxy.options import check_choices
from jaxproxy.spaces._records import Counts, Sizes
from jaxproxy.spaces._space import Space
from jaxproxy.spaces._strings import listed_strings
from jaxproxy.spaces._transnasbench101 import _codes as host
from jaxproxy.spaces._transnasbench101._network import check_fidelity, network
from jaxproxy.spaces._transnasbench101._tasks import make_task
from jaxproxy.types import Fidelity

__all__ = ["transnasbench101_micro"]

_PRESETS = {
    "paper": Fidelity(width=64, cells=2, batch_size=64, resolution=64),
    "fast": Fidelity(width=8, cells=1, batch_size=8, resolution=32),
}


def transnasbench101_micro(*, task: str = "class_object") -> Space:
    """Returns TransNAS-Bench-101's micro space: six operations, 4,096 cells.

    Parameters and multiply-adds are those of the trained network, on images of 256
    pixels or nine tiles of 64. Noise and losses are those of the task:

    * ``class_object``, ``class_scene``: cross-entropy with random classes, where the
      benchmark has soft labels.
    * ``jigsaw``: tiles float[B, 9, R, R, 3], the resolution being a tile's, and
      cross-entropy with random permutations. Meters take a tile for an image.
    * ``room_layout``: mean squared error of random targets float[B, 9].
    * ``autoencoder``, ``normal``: mean absolute error of the image itself and of random
      targets float[B, R, R, 3]. The benchmark adds a hundredth of an adversarial loss;
      InTrain has the mean squared error.
    * ``segmentsemantic``: cross-entropy of all pixels with random classes int32[B, R,
      R]; InTrain has the mean squared error.

    Args:
      task: name in ``TASKS``.

    References:
      Duan et al., "TransNAS-Bench-101", CVPR 2021, arXiv:2105.11871.
    """
    check_choices(task=(task, host.TASKS))
    return Space(
        name="transnasbench101_micro",
        choices=(len(host.OPS),) * host.NUM_GENES,
        to_str=host.to_str,
        from_str=host.from_str,
        strings=listed_strings((len(host.OPS),) * host.NUM_GENES, host.to_str),
        network=partial(network, task=task),
        task=make_task(task),
        counts=Counts(
            params=partial(host.num_params, task=task),
            macs=partial(host.num_macs, task=task),
            tensors=partial(host.num_tensors, task=task),
        ),
        enumerate=host.enumerate_codes,
        cost=partial(host.cost, task=task),
        reachable=host.reachable,
        graph=host.graph,
        presets=_PRESETS,
        sizes=Sizes.of_images(4),
        check_fidelity=partial(check_fidelity, task=task),
        settings={"task": task},
    )
