"""The network of TransNAS-Bench-101's micro space: six operations, an argument.

An edge is a ``switch`` over the operations; the edges of a cell, and the equal cells of
a resolution, are a ``scan``.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax

from jaxproxy.measure import (
    Draws,
    Network,
    Tap,
    network_from_draws,
    scan,
    switch,
)
from jaxproxy.spaces._cell import (
    EDGES,
    Operation,
    edge_names,
    none,
    relu_conv_bn,
    run_cell,
    run_edges,
    skip,
)
from jaxproxy.spaces._layers import Conv, ConvBN, Convs, tapped_bn, tapped_conv
from jaxproxy.spaces._mode import Mode
from jaxproxy.spaces._transnasbench101._codes import TILES, decoder
from jaxproxy.spaces._transnasbench101._heads import make_head
from jaxproxy.types import Fidelity

_ENTRIES = [i for i, (source, _) in enumerate(EDGES) if source == 0]
_OTHERS = [i for i, (source, _) in enumerate(EDGES) if source > 0]


def network(fidelity: Fidelity, mode: Mode, *, task: str) -> Network:
    """Returns the network of the space at a fidelity; batches may have any size.

    Args:
      fidelity: ``width`` is the channels behind the stem, 64 in the benchmark;
        ``cells`` is the cells of each of the five modules, of which it has 2.
      mode: of its modules.
      task: name in ``TASKS``, whose head it has.

    Raises:
      ValueError: as :func:`check_fidelity`.
    """
    check_fidelity(fidelity, task=task)
    return network_from_draws(
        lambda draws: MicroNet(
            width=fidelity.width,
            cells=fidelity.cells,
            task=task,
            mode=mode,
            draws=draws,
        )
    )


def check_fidelity(fidelity: Fidelity, *, task: str) -> None:
    """Raises ValueError for what cannot be halved as often as a task needs."""
    if fidelity.width % 2:
        raise ValueError(
            "transnasbench101_micro has half of width in its stem, so width must be "
            f"even, not {fidelity.width}"
        )
    if decoder(task, fidelity.width) and fidelity.resolution % 32:
        raise ValueError(
            f"the decoder of {task} doubles a 32nd of resolution five times, so "
            f"resolution must be a multiple of 32, not {fidelity.resolution}"
        )


class MicroNet(nnx.Module):
    """Stem, five modules of equal cells, and the head of a task.

    The nine tiles of a jigsaw are images of their own but for the head, to BatchNorm
    too; the benchmark shows it the tiles of each place apart.

    References:
      Duan et al., "TransNAS-Bench-101", CVPR 2021, arXiv:2105.11871.
    """

    def __init__(
        self, *, width: int, cells: int, task: str, mode: Mode, draws: Draws
    ) -> None:
        """Draws the parameters of all operations."""
        self.mode, self.tiled, base = mode, task == "jigsaw", width
        self.stem = nnx.List(
            [
                ConvBN(3, 3, width // 2, mode, draws, stride=2),
                ConvBN(3, width // 2, width, mode, draws, stride=2),
            ]
        )
        strided, equal = [], []
        # A module that halves the resolution, and one that keeps it but for the last.
        for num in (2 * cells - 1, 2 * cells - 1, cells - 1):
            strided.append(_StridedCell(width, mode, draws))
            width *= 2
            equal.append(_Cells(num, width, mode, draws) if num else None)
        self.strided, self.equal = nnx.List(strided), nnx.List(equal)
        self.head = make_head(task, base, mode, draws)

    def __call__(self, x: Array, code: Array, tap: Tap) -> Array:
        """Outputs of images float[B, R, R, 3] through a code int32[6].

        They are float[B, K], or float[B, R, R, K] of a decoder. A jigsaw takes tiles
        float[B, 9, R, R, 3].

        Raises:
          ValueError: there are no tiles.
        """
        x = tap("input", x, "input")
        if self.tiled:
            x = _each_tile(x)
        x = self.mode.rescaled("stem.0", self.stem[0]("stem.0", x, tap), tap)
        x = tap("stem.relu", jax.nn.relu(x), "relu")
        x = self.mode.rescaled("stem.1", self.stem[1]("stem.1", x, tap), tap)
        x = tap("stem", x, "stem")
        first = 0
        for strided, equal in zip(self.strided, self.equal, strict=True):
            x = strided(f"cells.{first}", x, code, tap)
            first += 1
            if equal is not None:
                x = equal(first, x, code, tap)
                first += equal.num
        x = tap("features", x, "features")
        return self.head("head", x, tap)


def _each_tile(x: Array) -> Array:
    if x.ndim != 5 or x.shape[1] != TILES:
        raise ValueError(
            f"jigsaw takes {TILES} tiles of each image, float[B, {TILES}, R, R, 3], "
            f"not {list(x.shape)}"
        )
    return x.reshape(-1, *x.shape[2:])


def _zero(like: Array, x: Array, tap: Tap) -> Array:
    return tap("none", jnp.zeros_like(like), "none")


def _operations(mode: Mode) -> Callable[[tuple[Conv, Conv]], list[Operation]]:
    """Returns (two convolutions) -> the operations that keep the shape."""

    def make(convs: tuple[Conv, Conv]) -> list[Operation]:
        return [none, skip, *(partial(relu_conv_bn, conv, mode, 1) for conv in convs)]

    return make


def _reduce(here: Conv, mode: Mode, x: Array, tap: Tap) -> Array:
    """Factorised reduction: half of the channels from pixels one row and column on."""
    x = tap("relu", jax.nn.relu(x), "relu")
    shifted = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))[:, 1::2, 1::2]
    left, right = jnp.split(here.kernel, 2, axis=-1)
    halves = [
        tapped_conv("conv_a", x[:, ::2, ::2], left, tap, portable=mode.plain),
        tapped_conv("conv_b", shifted, right, tap, portable=mode.plain),
    ]
    x = jnp.concatenate(halves, -1)
    return tapped_bn("bn", x, here.scale, here.bias, tap, mode.norm)


class _Cells(nnx.Module):
    """Cells that keep the shape."""

    def __init__(self, num: int, width: int, mode: Mode, draws: Draws) -> None:
        self.num, self.mode = num, mode
        edges = num * len(EDGES)
        self.one = Convs(edges, 1, width, width, mode, draws)
        self.three = Convs(edges, 3, width, width, mode, draws)

    def __call__(self, first: int, x: Array, code: Array, tap: Tap) -> Array:
        def cell(x: Array, params: tuple[Conv, Conv], tap: Tap) -> Array:
            x = run_cell(x, code, params, _operations(self.mode), tap)
            return tap("output", self.mode.rescaled("output", x, tap), "cell")

        both = self.one.stacked(), self.three.stacked()
        params = jax.tree.map(lambda v: v.reshape(self.num, -1, *v.shape[1:]), both)
        names = [f"cells.{first + i}" for i in range(self.num)]
        return scan(tap, names, cell, x, params)


class _StridedCell(nnx.Module):
    """Cell that halves the resolution and doubles the channels."""

    def __init__(self, width: int, mode: Mode, draws: Draws) -> None:
        self.mode, num = mode, len(_ENTRIES)
        # The factorised reduction has half of the channels from each of two kernels.
        self.skip = Convs(num, 1, width, 2 * width, mode, draws)
        self.one = Convs(num, 1, width, 2 * width, mode, draws)
        self.three = Convs(num, 3, width, 2 * width, mode, draws)
        self.inner_one = Convs(len(_OTHERS), 1, 2 * width, 2 * width, mode, draws)
        self.inner_three = Convs(len(_OTHERS), 3, 2 * width, 2 * width, mode, draws)

    def __call__(self, name: str, x: Array, code: Array, tap: Tap) -> Array:
        mode, outputs = self.mode, self.one.kernel.shape[-1]
        sides = (-(-x.shape[1] // 2), -(-x.shape[2] // 2))
        silent = jnp.zeros((x.shape[0], *sides, outputs), x.dtype)

        def step(nodes: Array, edge: tuple[Any, ...], tap: Tap) -> Array:
            op, target, skip, one, three = edge
            branches: list[Operation] = [
                partial(_zero, silent),
                partial(_reduce, skip, mode),
                partial(relu_conv_bn, one, mode, 2),
                partial(relu_conv_bn, three, mode, 2),
            ]
            y = switch(tap, op, branches, x, remat=True)
            return lax.dynamic_update_index_in_dim(nodes, y, target, 0)

        targets = jnp.array([EDGES[i][1] for i in _ENTRIES], jnp.int32)
        layers = self.skip, self.one, self.three
        xs = code[np.array(_ENTRIES)], targets, *(layer.stacked() for layer in layers)
        nodes = jnp.broadcast_to(silent, (4, *silent.shape))
        nodes = scan(tap, edge_names(_ENTRIES, f"{name}."), step, nodes, xs)
        params = self.inner_one.stacked(), self.inner_three.stacked()
        nodes = run_edges(
            f"{name}.", _OTHERS, nodes, code, params, _operations(mode), tap
        )
        x = mode.rescaled(f"{name}.output", nodes[3], tap)
        return tap(f"{name}.output", x, "cell")
