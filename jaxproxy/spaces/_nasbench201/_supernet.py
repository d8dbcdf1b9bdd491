"""The supernet of NAS-Bench-201: an edge is the mean of its live operations."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxproxy.measure import (
    Block,
    Draws,
    MeterSet,
    Network,
    Tap,
    network_from_draws,
    scan,
)
from jaxproxy.ops import avg_pool
from jaxproxy.spaces._cell import (
    EDGES,
    Operation,
    mean_of,
    relu_conv_bn,
    run_cell,
    skip,
)
from jaxproxy.spaces._layers import BN, Conv, Convs, tapped_dense
from jaxproxy.spaces._mode import Mode, rescale
from jaxproxy.spaces._nasbench201._network import TinyNetwork, by_cell
from jaxproxy.spaces._records import Task
from jaxproxy.types import Batch, Fidelity


def supernet(
    fidelity: Fidelity, mode: Mode, *, num_classes: int = 10, bare: bool = False
) -> Network:
    """Returns the network of a mask at a fidelity; batches may have any size.

    Args:
      fidelity: C and N.
      mode: of its modules.
      num_classes: outputs.
      bare: whether it is the cells of one stage without a stem.
    """
    make = _BareNetwork if bare else _Supernet
    return network_from_draws(
        lambda draws: make(
            width=fidelity.width,
            cells=fidelity.cells,
            num_classes=num_classes,
            mode=mode,
            draws=draws,
        )
    )


def bare_task(num_classes: int) -> Task:
    """Returns the task of Gaussian images with as many channels as the network."""

    def draw(key: Array, fidelity: Fidelity) -> Batch:
        side = fidelity.resolution
        inputs = Task.of_inputs((side, side, fidelity.width), num_classes)
        return inputs.batch(key, fidelity)

    def numbers(fidelity: Fidelity) -> int:
        return fidelity.width * fidelity.resolution**2

    return Task(num_classes, draw, numbers=numbers)


class _Supernet(TinyNetwork):
    """The network of NAS-Bench-201 with cells of which a mask int32[24] is the code."""

    @staticmethod
    def make_stage(cells: int, channels: int, mode: Mode, draws: Draws) -> Any:
        return _MixedStage(cells, channels, mode, draws)


class _BareNetwork(nnx.Module):
    """N cells, BatchNorm, ReLU, pooling and a matrix: no stem and no reductions.

    References:
      Chen et al., TE-NAS, ICLR 2021, whose linear regions are of such a network.
    """

    def __init__(
        self, *, width: int, cells: int, num_classes: int, mode: Mode, draws: Draws
    ) -> None:
        self.stage = _MixedStage(cells, width, mode, draws)
        self.last = BN(width, mode)
        self.kernel = nnx.Param(mode.draw(draws, (width, num_classes)))
        self.bias = nnx.Param(jnp.zeros(num_classes))

    def __call__(self, x: Array, code: Array, tap: Tap) -> Array:
        """Logits float[B, K] of images float[B, R, R, C] through a mask int32[24]."""
        width = len(self.kernel)
        if x.shape[-1] != width:
            raise ValueError(
                f"without a stem, images have as many channels as the network, {width}"
                f", not {x.shape[-1]}"
            )
        x = self.stage(0, tap("input", x, "input"), code, tap)
        x = tap("lastact.relu", jax.nn.relu(self.last("lastact.bn", x, tap)), "relu")
        x = tap("features", x, "features")
        kernel, bias = self.kernel[...], self.bias[...]
        return tapped_dense("classifier", x.mean((1, 2)), kernel, bias, tap)


class _MixedStage(nnx.Module):
    """The N cells of a stage; every edge has both convolutions, each its BatchNorm.

    Kernels are drawn in the order of the stages of :class:`TinyNetwork`, so that those
    of a seed are the same.
    """

    def __init__(self, cells: int, channels: int, mode: Mode, draws: Draws) -> None:
        self.cells, self.mode = cells, mode
        edges = cells * len(EDGES)
        self.three = Convs(edges, 3, channels, channels, mode, draws)
        self.one = Convs(edges, 1, channels, channels, mode, draws)

    def block(self, code: Array) -> Block:
        """The cells as functions of their parameters and input."""
        return Block(partial(_cell_output, self.mode, code), self.rows())

    def rows(self) -> Any:
        """Parameters of all edges, leaves [N, 6, ...]."""
        return by_cell((self.one.stacked(), self.three.stacked()))

    def __call__(self, first: int, x: Array, code: Array, tap: Tap) -> Array:
        """Output of cells ``first``, ``first + 1``... for float[B, H, W, C]."""

        def cell(x: Array, params: Any, tap: Tap) -> Array:
            x = _cell(self.mode, code, params, x, tap)
            if self.mode.norm == "none":
                x, scale = rescale(x)
                tap("scale", scale[None], "log_scale")
            return tap("", x, "cell")

        names = [f"cells.{first + i}" for i in range(self.cells)]
        return scan(tap, names, cell, x, self.rows())


def _cell(mode: Mode, code: Array, params: Any, x: Array, tap: Tap) -> Array:
    live = code.reshape(len(EDGES), -1)
    return run_cell(x, live, params, _operations(mode), tap, mean_of)


def _cell_output(mode: Mode, code: Array, params: Any, x: Array) -> Array:
    return _cell(mode, code, params, x, Tap(MeterSet(())))


def _operations(mode: Mode) -> Callable[[tuple[Conv, Conv]], list[Operation]]:
    """Returns (both convolutions of an edge) -> its operations but for ``none``."""

    def pool(x: Array, tap: Tap) -> Array:
        return tap("pool", avg_pool(x, 3, padding=1), "pool")

    def make(convs: tuple[Conv, Conv]) -> list[Operation]:
        one, three = (
            partial(relu_conv_bn, conv, mode, 1, prefix=prefix)
            for conv, prefix in zip(convs, ("conv1.", "conv3."), strict=True)
        )
        return [skip, one, three, pool]

    return make
