"""InTrain of MobileNetV2 networks in eager PyTorch, on one thread.

Started by ``mobilenetv2.py``; see ``torch_turns.py``. An architecture is the channels
of the stem and of the last layer, and its blocks
``[stride, kernel, inputs, hidden, outputs]``.
"""

import torch
from peer_torch import Conv, Linear
from torch import Tensor, nn
from torch_turns import norm, serve


class Depthwise(Conv):
    """A kernel for each channel."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        """Pads symmetrically."""
        nn.Conv2d.__init__(
            self, channels, channels, kernel, stride, kernel // 2, groups=channels,
            bias=False,
        )  # fmt: skip


class Block(nn.Module):
    """Inverted residual block and ReLU."""

    def __init__(
        self, stride: int, kernel: int, inputs: int, hidden: int, outputs: int
    ) -> None:
        """Adds the input if the shapes agree."""
        super().__init__()
        self.skips = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            Conv(inputs, hidden, 1), norm(hidden), nn.ReLU(inplace=True),
            Depthwise(hidden, kernel, stride), norm(hidden), nn.ReLU(inplace=True),
            Conv(hidden, outputs, 1), norm(outputs),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W]."""
        y = self.layers(x)
        return torch.relu(x + y if self.skips else y)


def network(arch: dict, num_classes: int) -> nn.Module:
    """Of an architecture of the job."""
    stem, last, blocks = arch["stem"], arch["last"], arch["blocks"]
    return nn.Sequential(
        Conv(3, stem, 3, 2), norm(stem), nn.ReLU(inplace=True),
        *(Block(*block) for block in blocks),
        Conv(blocks[-1][-1], last, 1), norm(last), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), Linear(last, num_classes),
    )  # fmt: skip


if __name__ == "__main__":
    serve(network)
