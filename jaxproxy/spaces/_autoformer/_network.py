"""The network of AutoFormer: blocks of a supernet, of which an architecture takes some.

The embedding chooses one of three branches, whose arrays have exactly its shape; in it,
a loop over the blocks chooses the attention by its heads and the MLP by its ratio, or
neither beyond the depth. So a supernet of three embeddings, n head counts and m ratios
compiles 3 (n + m) branches, once for all architectures.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from jaxproxy.measure import (
    Draws,
    Network,
    Tap,
    network_from_draws,
    scan,
    switch,
)
from jaxproxy.spaces._autoformer._codes import HEAD_DIM, MAX_DISTANCE, PATCH, Supernet
from jaxproxy.spaces._layers import tapped_dense, tapped_ln
from jaxproxy.spaces._mode import Mode
from jaxproxy.types import Fidelity

_DEVIATION = 0.02
"""Of class token and positions, as the authors draw them."""


class Sizes(NamedTuple):
    """Those of the supernet at a fidelity."""

    embeddings: tuple[int, ...]
    heads: tuple[int, ...]
    ratios: tuple[float, ...]
    depths: tuple[int, ...]
    head_dim: int
    grid: int
    """Patches along a side."""

    @classmethod
    def of(cls, supernet: Supernet, fidelity: Fidelity) -> "Sizes":
        """Returns sizes with heads of dimension ``fidelity.width`` in place of 64."""
        embeddings = tuple(
            (e * fidelity.width + HEAD_DIM // 2) // HEAD_DIM
            for e in supernet.embeddings
        )
        return cls(
            embeddings,
            supernet.heads,
            supernet.ratios,
            supernet.depths,
            fidelity.width,
            fidelity.resolution // PATCH,
        )


def network(
    fidelity: Fidelity, mode: Mode, *, supernet: Supernet, num_classes: int = 1000
) -> Network:
    """Returns the network of a supernet at a fidelity.

    Args:
      fidelity: the width is the dimension of a head, 64 in the network that is trained;
        embeddings shrink with it, rounded. The resolution is a multiple of 16. Cells
        change nothing: the depth is a gene.
      mode: weights are for the matrices of the whole supernet, whose leading rows and
        columns an architecture reads. Positions and class token have deviation .02, and
        are positive under ``"abs"``. LayerNorm has no statistics of a batch, so that
        all norms but ``"none"`` are one.
      supernet: what the genes stand for.
      num_classes: outputs.

    Raises:
      ValueError: a resolution that is not a multiple of 16.
    """
    check_fidelity(fidelity)
    sizes = Sizes.of(supernet, fidelity)
    return network_from_draws(
        lambda draws: VisionTransformer(sizes, num_classes, mode, draws)
    )


def check_fidelity(fidelity: Fidelity) -> None:
    """Raises ValueError for images that patches do not fill."""
    if fidelity.resolution % PATCH:
        raise ValueError(
            f"resolution must be a multiple of {PATCH}, the side of a patch, got "
            f"{fidelity.resolution}"
        )


class VisionTransformer(nnx.Module):
    """Patches, blocks and classifier of a supernet.

    References:
      Chen et al., "AutoFormer", ICCV 2021, arXiv:2107.00651.
    """

    def __init__(
        self, sizes: Sizes, num_classes: int, mode: Mode, draws: Draws
    ) -> None:
        """Draws the parameters of the largest architecture."""
        self.sizes, self.mode = sizes, mode
        e, tokens = max(sizes.embeddings), sizes.grid**2 + 1
        self.patches = nnx.Param(mode.draw(draws, (PATCH, PATCH, 3, e)))
        self.patches_bias = nnx.Param(jnp.zeros(e))
        self.token = nnx.Param(_positions(mode, draws, (e,)))
        self.positions = nnx.Param(_positions(mode, draws, (tokens, e)))
        self.layers = Layers(sizes, mode, draws)
        self.norm = nnx.Param(_unit_and_zero(e))
        self.kernel = nnx.Param(mode.draw(draws, (e, num_classes)))
        self.bias = nnx.Param(jnp.zeros(num_classes))

    def __call__(self, x: Array, code: Array, tap: Tap) -> Array:
        """Logits float[B, K] of images float[B, R, R, 3] through a code int32[G]."""
        side = self.sizes.grid * PATCH
        if x.shape[1:3] != (side, side):
            raise ValueError(
                f"images have {x.shape[1]} x {x.shape[2]} pixels, and the positions "
                f"are those of {side} x {side}, the fidelity's resolution"
            )
        x = tap("input", x, "input")
        branches = [
            functools.partial(self._embedded, e, code) for e in self.sizes.embeddings
        ]
        return switch(tap, code[0], branches, x)

    def _embedded(self, e: int, code: Array, x: Array, tap: Tap) -> Array:
        """Logits of an architecture of embedding ``e``."""
        x = self.mode.rescaled("stem", self._tokens(e, x, tap), tap)
        x = self._through_layers(e, code, tap("stem", x, "stem"), tap)
        x = tapped_ln("norm", x, self.norm[...][:, :e], tap, self.mode.norm)
        x = tap("features", x[:, 1:], "features").mean(1)
        return tapped_dense("head", x, self.kernel[...][:e], self.bias[...], tap)

    def _tokens(self, e: int, x: Array, tap: Tap) -> Array:
        """Class token and patches at their positions, float[B, T, e]."""
        kernel, grid = self.patches[...][..., :e], self.sizes.grid
        kernel = tap.parameter("patches.weight", kernel, "conv_w")
        bias = tap.parameter("patches.bias", self.patches_bias[...][:e], "conv_b")
        # A convolution whose window is its stride is a product with a matrix.
        x = x.reshape(-1, grid, PATCH, grid, PATCH, 3).transpose(0, 1, 3, 2, 4, 5)
        x = x.reshape(-1, grid, grid, PATCH * PATCH * 3) @ kernel.reshape(-1, e)
        x = tap("patches", x + bias, "conv").reshape(-1, grid * grid, e)
        token = tap.parameter("cls_token", self.token[...][:e], "other_w")
        token = jnp.broadcast_to(token, (len(x), 1, e))
        places = self.positions[...][:, :e]
        places = tap.parameter("positions", places, "other_w")
        return jnp.concatenate([token, x], 1) + places[None]

    def _through_layers(self, e: int, code: Array, x: Array, tap: Tap) -> Array:
        """Tokens float[B, T, e] behind the blocks that the architecture has."""
        sizes, num = self.sizes, max(self.sizes.depths)
        depth = jnp.array(sizes.depths)[code[1]]
        used = jnp.arange(num) < depth
        heads = jnp.where(used, code[2 : 2 + num] + 1, 0)
        ratios = jnp.where(used, code[2 + num :] + 1, 0)

        def body(x: Array, layer: tuple[Array, Array, Any], tap: Tap) -> Array:
            gene, ratio, params = layer
            attentions = [
                functools.partial(_attention, h, sizes, self.mode, params)
                for h in sizes.heads
            ]
            x = switch(tap, gene, [_skip, *attentions], x)
            mlps = [
                functools.partial(_mlp, int(e * r), self.mode, params)
                for r in sizes.ratios
            ]
            return switch(tap, ratio, [_skip, *mlps], x)

        names = [f"blocks.{i}" for i in range(num)]
        return scan(tap, names, body, x, (heads, ratios, self.layers.narrow(e)))


class Layers(nnx.Module):
    """Parameters of all blocks of a supernet, stacked along a leading axis."""

    def __init__(self, sizes: Sizes, mode: Mode, draws: Draws) -> None:
        """Draws those of the widest block."""
        num, e, h, d = (
            max(sizes.depths), max(sizes.embeddings), max(sizes.heads), sizes.head_dim
        )  # fmt: skip
        inner, hidden = h * d, int(e * max(sizes.ratios))
        self.norms = nnx.Param(jnp.tile(_unit_and_zero(e), (num, 2, 1, 1)))
        qkv = mode.draw(draws, (num, e, 3 * inner), 1)
        self.qkv = nnx.Param(qkv.reshape(num, e, 3, inner))
        self.qkv_bias = nnx.Param(jnp.zeros((num, 3, inner)))
        self.proj = nnx.Param(mode.draw(draws, (num, inner, e), 1))
        # For keys and values, along rows and columns.
        entries = 2 * MAX_DISTANCE + 2
        self.tables = nnx.Param(_positions(mode, draws, (num, 2, 2, entries, d)))
        self.fc1 = nnx.Param(mode.draw(draws, (num, e, hidden), 1))
        self.fc1_bias = nnx.Param(jnp.zeros((num, hidden)))
        self.fc2 = nnx.Param(mode.draw(draws, (num, hidden, e), 1))
        self.biases = nnx.Param(jnp.zeros((num, 2, e)))

    def narrow(self, e: int) -> dict[str, Array]:
        """What blocks of embedding ``e`` read, by name."""
        return {
            "norms": self.norms[...][..., :e],
            "qkv": self.qkv[...][:, :e],
            "qkv_bias": self.qkv_bias[...],
            "proj": self.proj[...][..., :e],
            "tables": self.tables[...],
            "fc1": self.fc1[...][:, :e],
            "fc1_bias": self.fc1_bias[...],
            "fc2": self.fc2[...][..., :e],
            "biases": self.biases[...][..., :e],
        }


def _skip(x: Array, tap: Tap) -> Array:
    """A block that the architecture does not have."""
    return x


def _attention(
    heads: int, sizes: Sizes, mode: Mode, params: dict[str, Array], x: Array, tap: Tap
) -> Array:
    """Tokens float[B, T, e] plus their attention by some heads."""
    (batch, tokens, e), inner = x.shape, heads * sizes.head_dim
    z = tapped_ln("attn.norm", x, params["norms"][0], tap, mode.norm)
    qkv, bias = params["qkv"][..., :inner], params["qkv_bias"][:, :inner]
    qkv, bias = qkv.reshape(e, 3 * inner), bias.reshape(-1)
    z = tapped_dense("attn.qkv", z, qkv, bias, tap, "attention_w")
    z = z.reshape(batch, tokens, 3, heads, sizes.head_dim)
    q, k, v = z.transpose(2, 0, 3, 1, 4)
    key, value = _relative(params["tables"], sizes.grid, tap)
    logits = jnp.einsum("bhid,bhjd->bhij", q, k) + jnp.einsum("bhid,ijd->bhij", q, key)
    weights = jax.nn.softmax(logits * sizes.head_dim**-0.5)
    z = jnp.einsum("bhij,bhjd->bhid", weights, v)
    z = z + jnp.einsum("bhij,ijd->bhid", weights, value)
    z = z.transpose(0, 2, 1, 3).reshape(batch, tokens, inner)
    z = tap("attn.attention", z, "attention")
    proj, bias = params["proj"][:inner], params["biases"][0]
    x = x + tapped_dense("attn.proj", z, proj, bias, tap, "attention_w")
    return tap("attn", mode.rescaled("attn", x, tap), "cell")


def _mlp(
    hidden: int, mode: Mode, params: dict[str, Array], x: Array, tap: Tap
) -> Array:
    """Tokens float[B, T, e] plus what a layer of hidden units makes of them."""
    z = tapped_ln("mlp.norm", x, params["norms"][1], tap, mode.norm)
    fc1, bias = params["fc1"][:, :hidden], params["fc1_bias"][:hidden]
    z = tapped_dense("mlp.fc1", z, fc1, bias, tap)
    z = tap("mlp.gelu", jax.nn.gelu(z, approximate=False), "gelu")
    x = x + tapped_dense("mlp.fc2", z, params["fc2"][:hidden], params["biases"][1], tap)
    return tap("mlp", mode.rescaled("mlp", x, tap), "cell")


def _relative(tables: Array, grid: int, tap: Tap) -> tuple[Array, Array]:
    """Relative positions float[T, T, d] of keys and of values."""
    rows, columns = _distances(grid)
    found = []
    for name, (by_row, by_column) in zip("kv", tables, strict=True):
        by_row = tap.parameter(f"attn.rel_{name}.rows", by_row, "other_w")
        by_column = tap.parameter(f"attn.rel_{name}.columns", by_column, "other_w")
        found.append(by_row[rows] + by_column[columns])
    return found[0], found[1]


def _distances(grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Entry int[T, T] of the tables of rows and of columns, of query and key.

    The class token, to and from which there is no distance, has entry 0.
    """
    row, column = np.divmod(np.arange(grid * grid), grid)

    def entries(place: np.ndarray) -> np.ndarray:
        distance = np.clip(place - place[:, None], -MAX_DISTANCE, MAX_DISTANCE)
        return np.pad(distance + MAX_DISTANCE + 1, ((1, 0), (1, 0)))

    return entries(row), entries(column)


def _positions(mode: Mode, draws: Draws, shape: tuple[int, ...]) -> Array:
    numbers = draws.normal(math.prod(shape)).reshape(shape)
    return _DEVIATION * (jnp.abs(numbers) if mode.weights == "abs" else numbers)


def _unit_and_zero(e: int) -> Array:
    """Scale and bias of a LayerNorm, float[2, e]."""
    return jnp.stack([jnp.ones(e), jnp.zeros(e)])
