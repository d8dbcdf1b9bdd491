"""Models of tokens, series, sets and latents that people publish, in plain Flax.

Counts by hand are written as in ``real_images``.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen, nnx
from real_images import Real

Array = jax.Array
VOCABULARY, LENGTH = 11, 6
TOKENS = jnp.full((4, LENGTH), VOCABULARY - 1)


class Decoder(linen.Module):
    """A language model with causal attention (Radford et al., 2019)."""

    @linen.compact
    def __call__(self, tokens: Array) -> Array:
        """Logits of the next token float[B, T, 11] of int[B, T]."""
        embed = linen.Embed(VOCABULARY, 8)
        normal = linen.initializers.normal(0.02)
        x = embed(tokens) + self.param("position", normal, (LENGTH, 8))[None]
        mask = linen.make_causal_mask(tokens)
        for _ in range(2):
            y = linen.LayerNorm()(x)
            x = x + linen.MultiHeadDotProductAttention(2)(y, mask=mask)
            y = linen.gelu(linen.Dense(32)(linen.LayerNorm()(x)))
            x = x + linen.Dense(8)(y)
        return embed.attend(linen.LayerNorm()(x))


class Lstm(linen.Module):
    """The class of a series by the last state of an LSTM."""

    @linen.compact
    def __call__(self, x: Array) -> Array:
        """Logits float[B, 5] of float[B, T, 3]."""
        return linen.Dense(5)(linen.RNN(linen.LSTMCell(8))(x)[:, -1])


class Generator(linen.Module):
    """Images of latents by transposed convolutions (Radford et al., ICLR 2016)."""

    @linen.compact
    def __call__(self, z: Array) -> Array:
        """Float[B, 8, 8, 3] of float[B, 6]."""

        def norm(x: Array) -> Array:
            return linen.relu(linen.BatchNorm(use_running_average=False)(x))

        x = norm(linen.Dense(2 * 2 * 8, use_bias=False)(z).reshape(len(z), 2, 2, 8))
        x = linen.ConvTranspose(4, (4, 4), (2, 2), use_bias=False)(x)
        return jnp.tanh(linen.ConvTranspose(3, (4, 4), (2, 2))(norm(x)))


class PointNet(linen.Module):
    """The class of a set of points, whatever their order (Qi et al., CVPR 2017)."""

    @linen.compact
    def __call__(self, points: Array) -> Array:
        """Logits float[B, 5] of float[B, N, 3]."""
        x = linen.relu(linen.Dense(8)(points))
        x = linen.relu(linen.Dense(16)(x)).max(1)
        return linen.Dense(5)(linen.relu(linen.Dense(8)(x)))


class Experts(linen.Module):
    """A mixture of four experts, all of them run (Shazeer et al., ICLR 2017)."""

    @linen.compact
    def __call__(self, x: Array) -> Array:
        """Logits float[B, 5] of float[B, 6]."""
        draw = linen.initializers.lecun_normal(batch_axis=0)
        x = linen.relu(linen.Dense(8)(x))
        first = self.param("first", draw, (4, 8, 16))
        second = self.param("second", draw, (4, 16, 8))
        y = linen.relu(jnp.einsum("bi,eio->ebo", x, first))
        y = jnp.einsum("ebi,eio->ebo", y, second)
        gates = linen.softmax(linen.Dense(4, use_bias=False)(x))
        return linen.Dense(5)(x + jnp.einsum("be,ebo->bo", gates, y))


class Block(nnx.Module):
    """Attention and a layer after it, each beside a skip."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        """Draws the weights."""
        self.before = nnx.LayerNorm(8, rngs=rngs)
        self.attend = nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)
        self.after = nnx.LayerNorm(8, rngs=rngs)
        self.up = nnx.Linear(8, 16, rngs=rngs)
        self.down = nnx.Linear(16, 8, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """Float[B, T, 8] of float[B, T, 8]."""
        x = x + self.attend(self.before(x))
        return x + self.down(nnx.gelu(self.up(self.after(x))))


class ScannedTransformer(nnx.Module):
    """Three blocks as one stack, whose activations are computed twice."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        """Draws the weights of all blocks at once."""

        @nnx.split_rngs(splits=3)
        @nnx.vmap(in_axes=(0,), out_axes=0)
        def stack(rngs: nnx.Rngs) -> Block:
            return Block(rngs)

        self.embed = nnx.Linear(3, 8, rngs=rngs)
        self.blocks = stack(rngs)
        self.head = nnx.Linear(8, 5, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """Logits float[B, 5] of float[B, T, 3]."""

        @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
        @nnx.remat
        def step(x: Array, block: Block) -> Array:
            return block(x)

        return self.head(step(self.embed(x), self.blocks).mean(1))


class Half(linen.Module):
    """A convolutional network whose weights and activations are bfloat16."""

    @linen.compact
    def __call__(self, x: Array) -> Array:
        """Logits bfloat16[B, 5] of float[B, 8, 8, 3]."""
        half: dict[str, Any] = {"dtype": jnp.bfloat16, "param_dtype": jnp.bfloat16}
        for width in (8, 16):
            x = linen.Conv(width, (3, 3), use_bias=False, **half)(x)
            x = linen.relu(linen.BatchNorm(use_running_average=False, **half)(x))
        return linen.Dense(5, **half)(x.mean((1, 2)))


class Classifier(nnx.Module):
    """A perceptron whose weights are given, as after training."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        """Draws the weights."""
        self.body = nnx.Linear(6, 16, rngs=rngs)
        self.head = nnx.Linear(16, 5, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """Logits float[B, 5] of float[B, 6]."""
        return self.head(nnx.relu(self.body(x)))


def sequence_models() -> dict[str, Real]:
    """Returns models of tokens, series, sets and latents."""
    attention = 4 * (8 * 8 + 8)
    series = jnp.zeros((4, LENGTH, 3))
    flat = jnp.zeros((4, 6))
    return {
        "gpt": Real(
            Decoder(),
            TOKENS,
            11 * 8 + 6 * 8 + 2 * (32 + attention + (8 * 32 + 32) + (32 * 8 + 8)) + 16,
            # Six tokens; the table of tokens is multiplied only as the head.
            2 * (6 * 4 * 64 + 2 * 6 * 6 * 8 + 6 * 2 * 8 * 32) + 6 * 8 * 11,
            {"loss": "cross_entropy"},
        ),
        "lstm": Real(
            Lstm(),
            series,
            4 * (3 * 8) + 4 * (8 * 8 + 8) + (8 * 5 + 5),
            6 * 4 * (3 * 8 + 8 * 8) + 8 * 5,
            {},
        ),
        "generator": Real(
            Generator(),
            flat,
            6 * 32 + 16 + 16 * 8 * 4 + 8 + (16 * 4 * 3 + 3),
            # Every pixel of 2x2 and of 4x4 meets the whole window of 4x4.
            6 * 32 + 4 * 16 * 8 * 4 + 16 * 16 * 4 * 3,
            {"loss": "mse"},
        ),
        "pointnet": Real(
            PointNet(),
            series,
            (3 * 8 + 8) + (8 * 16 + 16) + (16 * 8 + 8) + (8 * 5 + 5),
            6 * (3 * 8 + 8 * 16) + 16 * 8 + 8 * 5,
            {},
        ),
        "experts": Real(
            Experts(),
            flat,
            (6 * 8 + 8) + 4 * 8 * 16 + 4 * 16 * 8 + 8 * 4 + (8 * 5 + 5),
            6 * 8 + 2 * 4 * 8 * 16 + 8 * 4 + 4 * 8 + 8 * 5,
            {},
        ),
        "nnx_scan_remat": Real(
            ScannedTransformer,
            series,
            (3 * 8 + 8)
            + 3 * (32 + attention + (8 * 16 + 16) + (16 * 8 + 8))
            + (8 * 5 + 5),
            6 * 3 * 8 + 3 * (6 * 4 * 64 + 2 * 6 * 6 * 8 + 6 * 2 * 8 * 16) + 8 * 5,
            {},
        ),
        "bfloat16": Real(
            Half(),
            jnp.zeros((4, 8, 8, 3)),
            27 * 8 + 16 + 72 * 16 + 32 + (16 * 5 + 5),
            64 * 27 * 8 + 64 * 72 * 16 + 16 * 5,
            {},
        ),
        "pretrained": Real(
            Classifier(nnx.Rngs(7)), flat, (6 * 16 + 16) + (16 * 5 + 5), 6 * 16 + 80, {}
        ),
    }
