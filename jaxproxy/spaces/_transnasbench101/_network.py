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
    drawn,
    network_from_tapped,
    scan,
    switch,
)
from jaxproxy.spaces._layers import Conv, ConvBN, Convs, Mode, tapped_bn, tapped_conv
from jaxproxy.spaces._transnasbench101._codes import EDGES, TILES, decoder
from jaxproxy.spaces._transnasbench101._heads import make_head
from jaxproxy.types import Fidelity

_ENTRIES = [i for i, (source, _) in enumerate(EDGES) if source == 0]
_OTHERS = [i for i, (source, _) in enumerate(EDGES) if source > 0]


def network(
    fidelity: Fidelity,
    *,
    task: str,
    weights: str = "kaiming",
    norm: str = "batch",
    plain: bool = False,
) -> Network:
    """Network of the space at a fidelity; batches may have any size.

    Args:
      fidelity: ``width`` is the channels behind the stem, 64 in the benchmark;
        ``cells`` is the cells of each of the five modules, of which it has 2.
      task: name in ``TASKS``, whose head it has.
      weights: name in ``setups.WEIGHTS``.
      norm: name in ``setups.NORMS``.
      plain: of convolutions that can be differentiated twice.

    Raises:
      ValueError: a width or resolution that cannot be halved as often as is needed.
    """
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
    return network_from_tapped(
        drawn(
            lambda draws: MicroNet(
                width=fidelity.width,
                cells=fidelity.cells,
                task=task,
                mode=Mode(weights, norm, plain, portable=plain),
                draws=draws,
            )
        )
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


def _normal(x: Array, here: Conv, mode: Mode, tap: Tap) -> Array:
    return tapped_bn("bn", x, here.scale, here.bias, tap, mode.norm)


def _relu_conv_bn(here: Conv, mode: Mode, stride: int, x: Array, tap: Tap) -> Array:
    x = tap("relu", jax.nn.relu(x), "relu")
    if here.kernel.shape[0] == 1:
        x, stride = x[:, ::stride, ::stride], 1
    kernel, portable = here.kernel, mode.portable
    x = tapped_conv("conv", x, kernel, tap, stride=stride, portable=portable)
    return _normal(x, here, mode, tap)


def _reduce(here: Conv, mode: Mode, x: Array, tap: Tap) -> Array:
    """Factorised reduction: half of the channels from pixels one row and column on."""
    x = tap("relu", jax.nn.relu(x), "relu")
    shifted = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))[:, 1::2, 1::2]
    left, right = jnp.split(here.kernel, 2, axis=-1)
    halves = [
        tapped_conv("conv_a", x[:, ::2, ::2], left, tap, portable=mode.portable),
        tapped_conv("conv_b", shifted, right, tap, portable=mode.portable),
    ]
    return _normal(jnp.concatenate(halves, -1), here, mode, tap)


def _names(edges: list[int], prefix: str = "") -> list[str]:
    return [f"{prefix}e{s}{t}" for s, t in (EDGES[i] for i in edges)]


def _inside(
    prefix: str,
    edges: list[int],
    nodes: Array,
    code: Array,
    params: tuple[Conv, Conv],
    mode: Mode,
    tap: Tap,
) -> Array:
    """Nodes float[4, B, H, W, C] with those edges added that keep the shape."""

    def step(nodes: Array, edge: tuple[Any, ...], tap: Tap) -> Array:
        op, source, target, one, three = edge
        branches: list[Callable[[Array, Tap], Array]] = [
            partial(_zero, nodes[0]),
            lambda x, tap: tap("skip", x, "skip"),
            partial(_relu_conv_bn, one, mode, 1),
            partial(_relu_conv_bn, three, mode, 1),
        ]
        x = lax.dynamic_index_in_dim(nodes, source, keepdims=False)
        y = switch(tap, op, branches, x, remat=True)
        y = y + lax.dynamic_index_in_dim(nodes, target, keepdims=False)
        return lax.dynamic_update_index_in_dim(nodes, y, target, 0)

    ends = jnp.array([EDGES[i] for i in edges], jnp.int32).T
    xs = code[np.array(edges)], *ends, *params
    return scan(tap, _names(edges, prefix), step, nodes, xs)


class _Cells(nnx.Module):
    """Cells that keep the shape."""

    def __init__(self, num: int, width: int, mode: Mode, draws: Draws) -> None:
        self.num, self.mode = num, mode
        edges = num * len(EDGES)
        self.one = Convs(edges, 1, width, width, mode, draws)
        self.three = Convs(edges, 3, width, width, mode, draws)

    def __call__(self, first: int, x: Array, code: Array, tap: Tap) -> Array:
        def cell(x: Array, params: tuple[Conv, Conv], tap: Tap) -> Array:
            silent = jnp.zeros((3, *x.shape), x.dtype)
            nodes = jnp.concatenate([x[None], silent])
            edges = list(range(len(EDGES)))
            x = _inside("", edges, nodes, code, params, self.mode, tap)[3]
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
            branches: list[Callable[[Array, Tap], Array]] = [
                partial(_zero, silent),
                partial(_reduce, skip, mode),
                partial(_relu_conv_bn, one, mode, 2),
                partial(_relu_conv_bn, three, mode, 2),
            ]
            y = switch(tap, op, branches, x, remat=True)
            return lax.dynamic_update_index_in_dim(nodes, y, target, 0)

        targets = jnp.array([EDGES[i][1] for i in _ENTRIES], jnp.int32)
        layers = self.skip, self.one, self.three
        xs = code[np.array(_ENTRIES)], targets, *(layer.stacked() for layer in layers)
        nodes = jnp.broadcast_to(silent, (4, *silent.shape))
        nodes = scan(tap, _names(_ENTRIES, f"{name}."), step, nodes, xs)
        params = self.inner_one.stacked(), self.inner_three.stacked()
        nodes = _inside(f"{name}.", _OTHERS, nodes, code, params, mode, tap)
        x = mode.rescaled(f"{name}.output", nodes[3], tap)
        return tap(f"{name}.output", x, "cell")
