"""NAS-Bench-201 proxies in eager PyTorch: the peer that jaxproxy is timed against.

Written as a careful PyTorch user would write it for a CPU: one module tree per
architecture with only the operations it has, channels-last memory, no running
statistics, gradients of the wanted weights only, the participation ratio without an
eigendecomposition. Nothing here imports jaxproxy. Tensors are NCHW; B, C, H, W are
batch, channels, height and width.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS_COV = 1e-10  # added to the diagonal of every covariance
EPS_GRAD = 1e-10  # added to the largest gradient


class Conv(nn.Conv2d):
    """Bias-free convolution, initialised once with Kaiming-normal weights."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1) -> None:
        """Pads symmetrically, so stride 1 keeps H and W."""
        super().__init__(c_in, c_out, kernel, stride, kernel // 2, bias=False)

    def reset_parameters(self) -> None:
        """Replaces PyTorch's default, which would be drawn and thrown away."""
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")


class Linear(nn.Linear):
    """Dense layer with Kaiming-normal weights and zero bias."""

    def reset_parameters(self) -> None:
        """Replaces PyTorch's default, which would be drawn and thrown away."""
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        nn.init.zeros_(self.bias)


class Zero(nn.Module):
    """The operation ``none``."""

    def forward(self, x: Tensor) -> Tensor:
        """Zeros that stay in the graph, as in the official network."""
        return x.mul(0.0)


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    # Proxies run in training mode and never read running statistics.
    return nn.BatchNorm2d(channels, track_running_stats=False)


def _relu_conv_bn(c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    conv = Conv(c_in, c_out, kernel, stride)
    parts = (("relu", nn.ReLU()), ("conv", conv), ("bn", _batch_norm(c_out)))
    return nn.Sequential(OrderedDict(parts))


OPERATIONS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda channels: Zero(),
    "skip_connect": lambda channels: nn.Identity(),
    "nor_conv_1x1": lambda channels: _relu_conv_bn(channels, channels, 1),
    "nor_conv_3x3": lambda channels: _relu_conv_bn(channels, channels, 3),
    "avg_pool_3x3": lambda channels: nn.AvgPool2d(3, 1, 1, count_include_pad=False),
}


def parse(arch: str) -> list[list[tuple[str, int]]]:
    """The incoming edges (operation, source node) of nodes 1, 2, 3 of a cell string."""
    nodes = []
    for node in arch.split("+"):
        edges = [edge.split("~") for edge in node.strip("|").split("|")]
        nodes.append([(op, int(source)) for op, source in edges])
    return nodes


class Cell(nn.Module):
    """Four nodes; a node is the sum of its incoming edges. Edges are ``e{s}{d}``."""

    def __init__(self, nodes: list[list[tuple[str, int]]], channels: int) -> None:
        """Builds the operations that :func:`parse` named, for C = ``channels``."""
        super().__init__()
        self.nodes = []
        for d, edges in enumerate(nodes, 1):
            incoming = [(OPERATIONS[op](channels), source) for op, source in edges]
            for module, source in incoming:
                self.add_module(f"e{source}{d}", module)
            self.nodes.append(incoming)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        values = [x]
        for (first, source), *others in self.nodes:
            total = first(values[source])
            for module, source in others:
                total = total + module(values[source])
            values.append(total)
        return values[-1]


class Reduction(nn.Module):
    """Residual block of stride 2 that doubles the channels."""

    def __init__(self, channels: int) -> None:
        """From C = ``channels`` to 2 C."""
        super().__init__()
        self.conv_a = _relu_conv_bn(channels, 2 * channels, 3, 2)
        self.conv_b = _relu_conv_bn(2 * channels, 2 * channels, 3)
        self.pool = nn.AvgPool2d(2)
        self.down = Conv(channels, 2 * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, 2 C, H / 2, W / 2]."""
        return self.down(self.pool(x)) + self.conv_b(self.conv_a(x))


class TinyNetwork(nn.Module):
    """The macro network of NAS-Bench-201 around one cell.

    As the official network: affine BatchNorm, bias-free convolutions. Dong and Yang,
    "NAS-Bench-201", ICLR 2020, arXiv:2001.00326.
    """

    def __init__(
        self, arch: str, width: int, cells: int, num_classes: int = 10
    ) -> None:
        """Stem, then three stages of ``cells`` cells at ``width`` * (1, 2, 4) channels.

        Args:
          arch: the official string, ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``.
          width: channels of the stem.
          cells: cells per stage.
          num_classes: logits.
        """
        super().__init__()
        nodes = parse(arch)
        conv, bn = Conv(3, width, 3), _batch_norm(width)
        self.stem = nn.Sequential(OrderedDict(conv=conv, bn=bn))
        self.cells = nn.Sequential()
        for stage in range(3):
            channels = width * 2**stage
            if stage:
                self.cells.append(Reduction(channels // 2))
            self.cells.extend(Cell(nodes, channels) for _ in range(cells))
        bn = _batch_norm(channels)
        self.lastact = nn.Sequential(OrderedDict(bn=bn, relu=nn.ReLU(inplace=True)))
        self.classifier = Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] -> logits [B, num_classes]."""
        x = self.lastact(self.cells(self.stem(x)))
        return self.classifier(x.mean((2, 3)))


def covariance(activation: Tensor) -> Tensor:
    """Channel covariance [C, C] of [B, C, H, W]: centred, divisor n - 1, jittered."""
    channels = activation.shape[1]
    rows = activation.permute(0, 2, 3, 1).reshape(-1, channels)  # a view, channels last
    rows = rows - rows.mean(0)
    cov = rows.T @ rows / (len(rows) - 1)
    cov.diagonal().add_(EPS_COV)
    return cov


def log_participation_ratio(cov: Tensor) -> Tensor:
    """``log(tr(C)^2 / ||C||_F^2)``, a scalar between 0 and log C."""
    return 2 * cov.trace().log() - cov.square().sum().log()


@contextmanager
def covariances(net: nn.Module) -> Iterator[list[Tensor]]:
    """Collects the covariance of every convolution's output while the net runs."""
    found: list[Tensor] = []

    def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        found.append(covariance(output.detach()))

    convs = [module for module in net.modules() if isinstance(module, Conv)]
    handles = [conv.register_forward_hook(hook) for conv in convs]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def gradient_health(grad: Tensor | None) -> float:
    """``min(1, std / (max|g| + eps))``, unbiased std; 0 without a gradient."""
    if grad is None:
        return 0.0
    low, high = (float(v) for v in torch.aminmax(grad))
    # Half the time of Tensor.std, which is Welford's recurrence in scalar code.
    norm = float(torch.linalg.vector_norm(grad - grad.mean()))
    std = norm / math.sqrt(grad.numel() - 1)
    return min(1.0, std / (max(-low, high) + EPS_GRAD))


def intrain_parts(net: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float, int]:
    """Gamma and o of :func:`intrain`, and the number of convolutions."""
    with covariances(net) as covs:
        loss = F.cross_entropy(net(x), y)
    weights = [m.weight for m in net.modules() if isinstance(m, Conv | Linear)]
    grads = torch.autograd.grad(loss, weights, allow_unused=True)
    gamma = sum(float(log_participation_ratio(c)) for c in covs)
    return gamma, sum(map(gradient_health, grads)), len(covs)


def intrain(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """Intrinsic trainability, ``gamma (1 + o) / log(L + 1)``.

    Gamma sums the log participation ratio of the L convolution outputs, o the gradient
    health of the convolution and linear weights. Zhou et al., arXiv:2606.18676.
    """
    gamma, health, layers = intrain_parts(net, x, y)
    return gamma * (1 + health) / math.log1p(layers)


@torch.inference_mode()
def capacity(net: nn.Module, x: Tensor) -> float:
    """Log participation ratio summed over the L live convolutions, / ``log(L + 1)``.

    The forward half of :func:`intrain`; a convolution is live if its output varies.
    """
    with covariances(net) as covs:
        net(x)
    # A dead output leaves nothing but the jitter on the diagonal.
    live = [c for c in covs if float(c.trace()) > 1.5 * EPS_COV * len(c)]
    gamma = sum(float(log_participation_ratio(c)) for c in live)
    return gamma / math.log1p(len(live)) if live else 0.0


@torch.inference_mode()
def epsinas(
    net: nn.Module, x: Tensor, constants: tuple[float, ...] = (1e-7, 1)
) -> float:
    """Disagreement of the logits under two constant initialisations; NaN if constant.

    Gracheva, arXiv:2302.04406, with its weights for NAS-Bench-201 and BatchNorm in
    training mode.
    """
    outputs = []
    for constant in constants:
        for name, parameter in net.named_parameters():
            parameter.fill_(0 if name.endswith("bias") else constant)
        # All logits of an image are equal by construction. Taking one keeps rounding
        # from deciding how many of them count as the minimum, which moves the score.
        logits = net(x)[:, 0]
        low, high = torch.aminmax(logits)
        scaled = (logits - low) / (high - low)
        outputs.append(torch.where(scaled == 0, math.nan, scaled))
    distance = (outputs[0] - outputs[1]).abs().nanmean()
    return float(distance / torch.stack(outputs).nanmean())
