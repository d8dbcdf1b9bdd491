"""The network of NAS-Bench-101, the code an argument."""

import jax
from flax import nnx
from jax import Array

from jaxproxy.measure import Draws, Network, Tap, network_from_draws
from jaxproxy.ops import max_pool
from jaxproxy.spaces._layers import ConvBN, Linear
from jaxproxy.spaces._mode import Mode
from jaxproxy.spaces._nasbench101._codes import MAX_SHARES
from jaxproxy.spaces._nasbench101._graph import pruned_graph
from jaxproxy.spaces._nasbench101._stack import Stack
from jaxproxy.types import Fidelity

_STACKS = 3


def network(fidelity: Fidelity, mode: Mode, *, num_classes: int = 10) -> Network:
    """Returns the network of the space at a fidelity; batches may have any size.

    Args:
      fidelity: ``width`` are the channels of the stem and the first stack, 128 in the
        trained network, and ``cells`` the modules of each stack, 3 there.
      mode: of its modules.
      num_classes: outputs.

    Raises:
      ValueError: as :func:`check_fidelity`.
    """
    check_fidelity(fidelity)
    return network_from_draws(
        lambda draws: ModuleNetwork(
            width=fidelity.width,
            cells=fidelity.cells,
            num_classes=num_classes,
            mode=mode,
            draws=draws,
        )
    )


def check_fidelity(fidelity: Fidelity) -> None:
    """Raises ValueError for fewer channels than the four vertices that share them.

    Or for images that two poolings cannot halve.
    """
    if fidelity.width < MAX_SHARES:
        raise ValueError(
            f"nasbench101 needs a width of at least {MAX_SHARES}, since as many "
            f"vertices can share the channels, got {fidelity.width}"
        )
    if fidelity.resolution % 4:
        raise ValueError(
            "two poolings of nasbench101 halve the images, so resolution must be a "
            f"multiple of 4, not {fidelity.resolution}"
        )


class ModuleNetwork(nnx.Module):
    """All operations of all vertices of three stacks of modules, at all their widths.

    Every architecture reads the same parameters; kernels of one vertex at several
    widths begin with the same random numbers, scaled for their fan-in. BatchNorm scales
    are one, biases zero.

    References:
      Ying et al., "NAS-Bench-101", ICML 2019, arXiv:1902.09635.
    """

    def __init__(
        self, *, width: int, cells: int, num_classes: int, mode: Mode, draws: Draws
    ) -> None:
        """Draws the parameters of ``cells`` modules a stack."""
        self.mode = mode
        self.stem = ConvBN(3, 3, width, mode, draws)
        inputs = [width, width, 2 * width]
        self.stacks = nnx.List(
            [
                Stack(i, inputs[i], width << i, cells, mode, draws)
                for i in range(_STACKS)
            ]
        )
        self.classifier = Linear(width << (_STACKS - 1), num_classes, mode, draws)

    def __call__(self, x: Array, code: Array, tap: Tap) -> Array:
        """Logits float[B, K] of images float[B, R, R, 3] through a code int32[26]."""
        graph = pruned_graph(code)
        x = self.stem("stem", tap("input", x, "input"), tap)
        x = tap("stem.relu", jax.nn.relu(x), "relu")
        x = tap("stem", self.mode.rescaled("stem", x, tap), "stem")
        for i, stack in enumerate(self.stacks):
            if i:
                x = tap(f"pools.{i - 1}", max_pool(x, 2, stride=2), "pool")
            x = stack(x, graph, tap)
        x = tap("features", x, "features")
        return self.classifier("classifier", x.mean((1, 2)), tap)
