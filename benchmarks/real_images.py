"""Image models that people publish, in plain Flax and tiny, with counts by hand.

Parameters and multiply-adds of one input are written as arithmetic: one product per
layer, in the order of the calls, ``pixels * window * inputs * outputs``.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen

Array = jax.Array
IMAGES = (4, 8, 8, 3)
"""Shape of a batch of images."""


class Real(NamedTuple):
    """A model, how it is used, and what its counts are by hand."""

    model: Any
    x: Array
    num_params: int
    num_macs: int
    use: dict[str, Any]
    """Keyword arguments of ``jaxproxy.population``."""


class ResNet(linen.Module):
    """Two basic blocks whose last normalisation starts at zero (Goyal et al., 2017)."""

    scale: Any = linen.initializers.zeros

    @linen.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Logits float[B, 5] of float[B, 8, 8, 3]."""

        def conv_bn(x: Array, size: int, **norm: Any) -> Array:
            x = linen.Conv(8, (size, size), use_bias=False)(x)
            return linen.BatchNorm(use_running_average=not train, **norm)(x)

        x = linen.relu(conv_bn(x, 3))
        for _ in range(2):
            y = linen.relu(conv_bn(x, 3))
            x = linen.relu(x + conv_bn(y, 3, scale_init=self.scale))
        return linen.Dense(5)(x.mean((1, 2)))


class EfficientNet(linen.Module):
    """An inverted residual with squeeze and excitation (Tan and Le, ICML 2019)."""

    @linen.compact
    def __call__(self, x: Array) -> Array:
        """Logits float[B, 5] of float[B, 8, 8, 3]."""

        def norm(x: Array) -> Array:
            return linen.BatchNorm(use_running_average=False)(x)

        x = linen.swish(norm(linen.Conv(4, (3, 3), (2, 2), use_bias=False)(x)))
        y = linen.swish(norm(linen.Conv(16, (1, 1), use_bias=False)(x)))
        y = linen.Conv(16, (3, 3), feature_group_count=16, use_bias=False)(y)
        y = linen.swish(norm(y))
        gate = linen.swish(linen.Conv(2, (1, 1))(y.mean((1, 2), keepdims=True)))
        y = y * linen.sigmoid(linen.Conv(16, (1, 1))(gate))
        x = x + norm(linen.Conv(4, (1, 1), use_bias=False)(y))
        return linen.Dense(5)(x.mean((1, 2)))


class UNet(linen.Module):
    """Down, up by a transposed convolution, and a skip between (MICCAI 2015)."""

    @linen.compact
    def __call__(self, x: Array) -> Array:
        """Float[B, 8, 8, 2] of float[B, 8, 8, 3]."""
        high = linen.relu(linen.Conv(4, (3, 3))(x))
        low = linen.relu(linen.Conv(6, (3, 3))(linen.max_pool(high, (2, 2), (2, 2))))
        up = linen.ConvTranspose(4, (2, 2), (2, 2))(low)
        x = linen.relu(linen.Conv(4, (3, 3))(jnp.concatenate([high, up], -1)))
        return linen.Conv(2, (1, 1))(x)


class ViT(linen.Module):
    """Patches, a class token, dropout and attention (Dosovitskiy et al., ICLR 2021)."""

    @linen.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Logits float[B, 5] of float[B, 8, 8, 3]."""

        def drop(x: Array) -> Array:
            return linen.Dropout(0.1, deterministic=not train)(x)

        normal = linen.initializers.normal(0.02)
        x = linen.Conv(8, (4, 4), (4, 4))(x).reshape(len(x), 4, 8)
        first = self.param("token", linen.initializers.zeros, (1, 1, 8))
        x = jnp.concatenate([jnp.broadcast_to(first, (len(x), 1, 8)), x], 1)
        x = drop(x + self.param("position", normal, (1, 5, 8)))
        for _ in range(2):
            x = x + drop(linen.MultiHeadDotProductAttention(2)(linen.LayerNorm()(x)))
            y = linen.gelu(linen.Dense(16)(linen.LayerNorm()(x)))
            x = x + drop(linen.Dense(8)(y))
        return linen.Dense(5)(linen.LayerNorm()(x)[:, 0])


class ConvNeXt(linen.Module):
    """Depthwise convolutions and a scale for each layer (Liu et al., CVPR 2022)."""

    @linen.compact
    def __call__(self, x: Array) -> Array:
        """Logits float[B, 5] of float[B, 8, 8, 3]."""
        x = linen.LayerNorm()(linen.Conv(8, (2, 2), (2, 2))(x))
        for block in range(2):
            y = linen.Conv(8, (3, 3), feature_group_count=8)(x)
            y = linen.Dense(32)(linen.LayerNorm()(y))
            y = linen.Dense(8)(linen.gelu(y))
            small = linen.initializers.constant(1e-6)
            x = x + y * self.param(f"scale{block}", small, (8,))
        return linen.Dense(5)(linen.LayerNorm()(x.mean((1, 2))))


class Mixer(linen.Module):
    """Layers over tokens and over channels in turn (Tolstikhin et al., 2021)."""

    @linen.compact
    def __call__(self, x: Array) -> Array:
        """Logits float[B, 5] of float[B, 8, 8, 3]."""

        def mlp(x: Array, hidden: int) -> Array:
            y = linen.gelu(linen.Dense(hidden)(x))
            return linen.Dense(x.shape[-1])(y)

        x = linen.Conv(8, (2, 2), (2, 2))(x).reshape(len(x), 16, 8)
        for _ in range(2):
            y = linen.LayerNorm()(x).swapaxes(1, 2)
            x = x + mlp(y, 6).swapaxes(1, 2)
            x = x + mlp(linen.LayerNorm()(x), 12)
        return linen.Dense(5)(linen.LayerNorm()(x).mean(1))


def image_models() -> dict[str, Real]:
    """Returns models of 8x8 colour images."""
    x = jnp.zeros(IMAGES)
    train = {"call": {"train": True}}
    attention = 3 * (8 * 8 + 8) + (8 * 8 + 8)
    return {
        "resnet_zero": Real(
            ResNet(),
            x,
            27 * 8 + 4 * (72 * 8) + 5 * (8 + 8) + (8 * 5 + 5),
            64 * 27 * 8 + 4 * (64 * 72 * 8) + 8 * 5,
            train,
        ),
        "efficientnet": Real(
            EfficientNet(),
            x,
            (27 * 4 + 2 * 4)
            + (4 * 16 + 2 * 16)
            + (9 * 16 + 2 * 16)
            + (16 * 2 + 2)
            + (2 * 16 + 16)
            + (16 * 4 + 2 * 4)
            + (4 * 5 + 5),
            16 * (27 * 4 + 4 * 16 + 9 * 16 + 16 * 4) + 16 * 2 + 2 * 16 + 4 * 5,
            {},
        ),
        "unet": Real(
            UNet(),
            x,
            (27 * 4 + 4) + (36 * 6 + 6) + (4 * 6 * 4 + 4) + (72 * 4 + 4) + (4 * 2 + 2),
            # Transposed, every input of 4x4 meets the whole window of 2x2.
            64 * 27 * 4 + 16 * 36 * 6 + 16 * 4 * 6 * 4 + 64 * 72 * 4 + 64 * 4 * 2,
            {"loss": "mse"},
        ),
        "vit": Real(
            ViT(),
            x,
            (48 * 8 + 8)
            + (8 + 5 * 8)
            + 2 * (2 * 16 + attention + (8 * 16 + 16) + (16 * 8 + 8))
            + 16
            + (8 * 5 + 5),
            # Of five tokens: projections, products of tokens with tokens, two layers.
            4 * 48 * 8 + 2 * (5 * 4 * 64 + 2 * 5 * 5 * 8 + 5 * 2 * 8 * 16) + 8 * 5,
            train,
        ),
        "convnext": Real(
            ConvNeXt(),
            x,
            (12 * 8 + 8)
            + 16
            + 2 * ((9 * 8 + 8) + 16 + (8 * 32 + 32) + (32 * 8 + 8) + 8)
            + 16
            + (8 * 5 + 5),
            16 * 12 * 8 + 2 * 16 * (9 * 8 + 2 * 8 * 32) + 8 * 5,
            {},
        ),
        "mixer": Real(
            Mixer(),
            x,
            (12 * 8 + 8)
            + 2 * (32 + (16 * 6 + 6) + (6 * 16 + 16) + (8 * 12 + 12) + (12 * 8 + 8))
            + 16
            + (8 * 5 + 5),
            16 * 12 * 8 + 2 * (8 * 2 * 16 * 6 + 16 * 2 * 8 * 12) + 8 * 5,
            {},
        ),
    }
