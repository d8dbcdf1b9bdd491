"""InTrain of MobileNetV2 networks in eager PyTorch, on one thread.

Started by ``mobilenetv2.py``. The first line of standard input is the job in JSON:
``archs`` with, for each architecture, the channels of the stem and of the last layer
and its blocks ``[stride, kernel, inputs, hidden, outputs]``; ``batch_size``,
``resolution``, ``num_classes`` and ``seed``. Every other line makes it score all of
them, each a network of exactly its widths, and answer with seconds and scores.
"""

import json
import sys
import time

import torch
from peer_torch import Conv, Linear, intrain
from torch import Tensor, nn


class Depthwise(Conv):
    """A kernel for each channel."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        """Pads symmetrically."""
        nn.Conv2d.__init__(
            self, channels, channels, kernel, stride, kernel // 2, groups=channels,
            bias=False,
        )  # fmt: skip


def norm(channels: int) -> nn.BatchNorm2d:
    """BatchNorm by the statistics of the batch."""
    return nn.BatchNorm2d(channels, track_running_stats=False)


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


def main() -> None:
    """Serves one job until standard input ends."""
    torch.set_num_threads(1)
    job = json.loads(sys.stdin.readline())
    torch.manual_seed(job["seed"])
    side, classes = job["resolution"], job["num_classes"]
    x = torch.randn(job["batch_size"], 3, side, side)
    y = torch.randint(classes, (job["batch_size"],))
    for _ in sys.stdin:
        start, cpu = time.perf_counter(), time.process_time()
        scores = [intrain(network(arch, classes), x, y) for arch in job["archs"]]
        answer = {
            "seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - cpu,
            "scores": scores,
            "version": torch.__version__,
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
