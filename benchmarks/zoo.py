"""Twelve unlike image classifiers in plain Flax, which know nothing of jaxproxy."""

from collections.abc import Callable

import jax
from flax import linen, nnx

Array = jax.Array


class ResNet(linen.Module):
    """Three stages of basic residual blocks (He et al., CVPR 2016)."""

    blocks: int
    width: int

    @linen.compact
    def __call__(self, x: Array) -> Array:
        """Logits float[B, 10] of float[B, R, R, 3]."""
        x = linen.relu(self._conv_bn(x, self.width, 3, 1))
        for stage in range(3):
            for block in range(self.blocks):
                stride = 2 if stage and not block else 1
                channels = self.width * 2**stage
                y = linen.relu(self._conv_bn(x, channels, 3, stride))
                y = self._conv_bn(y, channels, 3, 1)
                if x.shape != y.shape:
                    x = self._conv_bn(x, channels, 1, stride)
                x = linen.relu(x + y)
        return linen.Dense(10)(x.mean((1, 2)))

    def _conv_bn(self, x: Array, channels: int, size: int, stride: int) -> Array:
        x = linen.Conv(channels, (size, size), (stride, stride), use_bias=False)(x)
        return linen.BatchNorm(use_running_average=False)(x)


class ConvNeXt(linen.Module):
    """Depthwise 7x7 convolutions between wide layers (Liu et al., CVPR 2022)."""

    blocks: int
    width: int

    @linen.compact
    def __call__(self, x: Array) -> Array:
        """Logits float[B, 10] of float[B, R, R, 3]."""
        x = linen.LayerNorm()(linen.Conv(self.width, (2, 2), (2, 2))(x))
        for stage in range(2):
            channels = self.width * 2**stage
            if stage:
                x = linen.Conv(channels, (2, 2), (2, 2))(linen.LayerNorm()(x))
            for _ in range(self.blocks):
                y = linen.Conv(channels, (7, 7), feature_group_count=channels)(x)
                y = linen.gelu(linen.Dense(4 * channels)(linen.LayerNorm()(y)))
                x = x + linen.Dense(channels)(y)
        return linen.Dense(10)(linen.LayerNorm()(x.mean((1, 2))))


class ViT(linen.Module):
    """Patches of 4x4 pixels, attention (Dosovitskiy et al., ICLR 2021)."""

    blocks: int
    width: int

    @linen.compact
    def __call__(self, x: Array) -> Array:
        """Logits float[B, 10] of float[B, R, R, 3]."""
        x = linen.Conv(self.width, (4, 4), (4, 4))(x)
        x = x.reshape(len(x), -1, self.width)
        x = x + self.param("position", linen.initializers.normal(0.02), x.shape[1:])
        for _ in range(self.blocks):
            y = linen.LayerNorm()(x)
            x = x + linen.MultiHeadDotProductAttention(num_heads=4)(y, y)
            y = linen.gelu(linen.Dense(4 * self.width)(linen.LayerNorm()(x)))
            x = x + linen.Dense(self.width)(y)
        return linen.Dense(10)(linen.LayerNorm()(x).mean(1))


class Mixer(linen.Module):
    """Matrices over pixels and over channels (Tolstikhin et al., NeurIPS 2021)."""

    blocks: int
    width: int

    @linen.compact
    def __call__(self, x: Array) -> Array:
        """Logits float[B, 10] of float[B, R, R, 3]."""
        x = linen.Conv(self.width, (4, 4), (4, 4))(x)
        x = x.reshape(len(x), -1, self.width)
        for _ in range(self.blocks):
            y = linen.LayerNorm()(x).swapaxes(1, 2)
            y = linen.Dense(x.shape[1])(linen.gelu(linen.Dense(2 * x.shape[1])(y)))
            x = x + y.swapaxes(1, 2)
            y = linen.gelu(linen.Dense(2 * self.width)(linen.LayerNorm()(x)))
            x = x + linen.Dense(self.width)(y)
        return linen.Dense(10)(linen.LayerNorm()(x).mean(1))


class VGG(nnx.Module):
    """Convolutions one after another (Simonyan and Zisserman, ICLR 2015)."""

    def __init__(self, widths: tuple[int, ...], rngs: nnx.Rngs) -> None:
        """Draws the parameters of as many layers as widths."""
        inputs = (3, *widths[:-1])
        self.convs = nnx.List(
            [nnx.Conv(i, o, (3, 3), rngs=rngs) for i, o in zip(inputs, widths)]  # noqa: B905
        )
        self.norms = nnx.List([nnx.BatchNorm(n, rngs=rngs) for n in widths])
        self.head = nnx.Linear(widths[-1], 10, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """Logits float[B, 10] of float[B, R, R, 3]."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = nnx.relu(norm(conv(x), use_running_average=False))
            x = nnx.max_pool(x, (2, 2), (2, 2))
        return self.head(x.mean((1, 2)))


class Separable(nnx.Module):
    """Depthwise and 1x1 convolutions (Howard et al., MobileNets, 2017)."""

    def __init__(self, blocks: int, width: int, rngs: nnx.Rngs) -> None:
        """Draws the parameters."""
        self.stem = nnx.Conv(3, width, (3, 3), strides=2, rngs=rngs)
        self.depthwise = nnx.List(
            [
                nnx.Conv(width, width, (3, 3), feature_group_count=width, rngs=rngs)
                for _ in range(blocks)
            ]
        )
        self.pointwise = nnx.List(
            [nnx.Conv(width, width, (1, 1), rngs=rngs) for _ in range(blocks)]
        )
        self.norms = nnx.List([nnx.BatchNorm(width, rngs=rngs) for _ in range(blocks)])
        self.head = nnx.Linear(width, 10, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """Logits float[B, 10] of float[B, R, R, 3]."""
        x = self.stem(x)
        layers = zip(self.depthwise, self.pointwise, self.norms, strict=True)
        for depthwise, pointwise, norm in layers:
            y = pointwise(depthwise(x))
            x = x + jax.nn.relu6(norm(y, use_running_average=False))
        return self.head(x.mean((1, 2)))


class Attention(nnx.Module):
    """A vision transformer in the other dialect."""

    def __init__(self, blocks: int, width: int, rngs: nnx.Rngs) -> None:
        """Draws the parameters."""
        self.patch = nnx.Conv(3, width, (4, 4), strides=4, rngs=rngs)
        self.norms = nnx.List([nnx.LayerNorm(width, rngs=rngs) for _ in range(blocks)])
        self.attentions = nnx.List(
            [nnx.MultiHeadAttention(4, width, decode=False, rngs=rngs)
             for _ in range(blocks)]
        )  # fmt: skip
        self.layers = nnx.List(
            [nnx.Linear(width, width, rngs=rngs) for _ in range(blocks)]
        )
        self.head = nnx.Linear(width, 10, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """Logits float[B, 10] of float[B, R, R, 3]."""
        x = self.patch(x)
        x = x.reshape(len(x), -1, x.shape[-1])
        parts = zip(self.norms, self.attentions, self.layers, strict=True)
        for norm, attention, layer in parts:
            x = x + attention(norm(x))
            x = x + nnx.gelu(layer(x))
        return self.head(x.mean(1))


class MLP(nnx.Module):
    """Two matrices."""

    def __init__(self, inputs: int, width: int, rngs: nnx.Rngs) -> None:
        """Draws the parameters."""
        self.hidden = nnx.Linear(inputs, width, rngs=rngs)
        self.head = nnx.Linear(width, 10, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """Logits float[B, 10] of float[B, R, R, 3]."""
        return self.head(nnx.relu(self.hidden(x.reshape(len(x), -1))))


def zoo(side: int) -> dict[str, linen.Module | Callable[[nnx.Rngs], nnx.Module]]:
    """Twelve models for images of ``side`` pixels; of two, only the dialect differs."""
    return {
        "resnet-1x16": ResNet(1, 16),
        "resnet-2x16": ResNet(2, 16),
        "resnet-1x32": ResNet(1, 32),
        "convnext-1x16": ConvNeXt(1, 16),
        "convnext-2x32": ConvNeXt(2, 32),
        "vit-2x32": ViT(2, 32),
        "vit-4x64": ViT(4, 64),
        "mixer-2x32": Mixer(2, 32),
        "vgg-nnx": lambda rngs: VGG((16, 32, 64), rngs),
        "separable-nnx": lambda rngs: Separable(3, 32, rngs),
        "attention-nnx": lambda rngs: Attention(2, 32, rngs),
        "mlp-nnx": lambda rngs: MLP(3 * side**2, 64, rngs),
    }
