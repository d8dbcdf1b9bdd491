"""InTrain of NAS-Bench-101 networks in eager PyTorch, on one thread.

Started by ``nasbench101.py``; see ``torch_turns.py``. An architecture is a pruned
graph: ``matrix`` [V, V] of 0 and 1, ``ops`` of all vertices, ``channels`` of the
vertices between input and output in each of the three stacks, ``widths`` of the stacks
and their number of modules, ``depth``.
"""

import torch
from peer_torch import Conv, Linear
from torch import Tensor, nn
from torch_turns import norm, serve


def conv_bn_relu(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """The benchmark's convolution."""
    return nn.Sequential(
        Conv(inputs, outputs, kernel), norm(outputs), nn.ReLU(inplace=True)
    )


def operation(name: str, channels: int) -> nn.Module:
    """Of a vertex."""
    if name == "maxpool3x3":
        return nn.MaxPool2d(3, 1, 1)
    return conv_bn_relu(channels, channels, 3 if name == "conv3x3-bn-relu" else 1)


class Module(nn.Module):
    """A graph of operations."""

    def __init__(
        self,
        matrix: list[list[int]],
        ops: list[str],
        channels: list[int],
        inputs: int,
        outputs: int,
    ) -> None:
        """Each vertex that the input feeds has a projection of its own."""
        super().__init__()
        self.matrix, self.channels = matrix, [*channels, outputs]
        pairs = zip(ops[1:-1], channels, strict=True)
        self.operations = nn.ModuleList([operation(*pair) for pair in pairs])
        self.projections = nn.ModuleDict({
            str(v): conv_bn_relu(inputs, self.channels[v - 1], 1)
            for v in range(1, len(ops)) if matrix[0][v]
        })  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W]."""
        last = len(self.matrix) - 1
        values: list[Tensor] = [x]
        for v in range(1, last):
            width = self.channels[v - 1]
            terms = [values[u][:, :width] for u in range(1, v) if self.matrix[u][v]]
            values.append(self.operations[v - 1](self._sum(x, v, terms)))
        fed = [values[v] for v in range(1, last) if self.matrix[v][last]]
        return self._sum(x, last, [torch.cat(fed, 1)] if fed else [])

    def _sum(self, x: Tensor, vertex: int, terms: list[Tensor]) -> Tensor:
        if self.matrix[0][vertex]:
            terms = [*terms, self.projections[str(vertex)](x)]
        total, *others = terms
        for term in others:
            total = total + term
        return total


def network(arch: dict, num_classes: int) -> nn.Module:
    """Of an architecture of the job."""
    widths, graph = arch["widths"], (arch["matrix"], arch["ops"])
    layers: list[nn.Module] = [conv_bn_relu(3, widths[0], 3)]
    inputs = widths[0]
    for width, channels in zip(widths, arch["channels"], strict=True):
        if len(layers) > 1:
            layers.append(nn.MaxPool2d(2))
        for _ in range(arch["depth"]):
            layers.append(Module(*graph, channels, inputs, width))
            inputs = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), Linear(inputs, num_classes)
    )


if __name__ == "__main__":
    serve(network)
