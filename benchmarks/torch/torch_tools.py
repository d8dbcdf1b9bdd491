"""What the proxies in PyTorch share: layers, BatchNorm modes, features, gradients.

The network is :class:`peer_torch.TinyNetwork`. Tensors are NCHW; N, C, H, W are images,
channels, height and width, K the classes.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from peer_torch import TinyNetwork
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor]
"""Images [N, 3, H, W] and labels int64[N]."""

BATCH_NORM = ("fixed", "none", "tracked")


def layers(net: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """The convolutions and linear layers, in registration order."""
    return [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def weights(net: nn.Module) -> list[Tensor]:
    """The weight tensors W_l of :func:`layers`; no BatchNorm, no biases."""
    return [layer.weight for layer in layers(net)]


def gradients(value: Tensor, tensors: Sequence[Tensor], **options) -> list[Tensor]:
    """Derivatives of a value; zeros where a tensor does not reach it."""
    options |= {"allow_unused": True, "materialize_grads": True}
    return list(torch.autograd.grad(value, tensors, **options))


def loss_gradients(net: nn.Module, batch: Batch) -> list[Tensor]:
    """Gradients G_l of the mean cross-entropy with respect to :func:`weights`."""
    return gradients(F.cross_entropy(net(batch[0]), batch[1]), weights(net))


@contextmanager
def batch_norm(net: nn.Module, mode: str) -> Iterator[list[nn.BatchNorm2d]]:
    """Changes all BatchNorms for a while; outside, they use the batch's statistics.

    Args:
      net: without running statistics, as TinyNetwork is built.
      mode: ``fixed``: fresh running statistics in evaluation mode, so x / sqrt(1 + eps)
        before the affine map; ``none``: the identity; ``tracked``: training mode that
        updates fresh running statistics (mean 0, variance 1, momentum 0.1).
    """
    if mode not in BATCH_NORM:
        raise ValueError(f"unknown BatchNorm mode {mode!r}; choose from {BATCH_NORM}")
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        if mode == "none":
            norm.forward = lambda x: x
            continue
        norm.running_mean = torch.zeros_like(norm.weight, requires_grad=False)
        norm.running_var = torch.ones_like(norm.weight, requires_grad=False)
        norm.track_running_stats = mode == "tracked"
        norm.train(mode == "tracked")
    try:
        yield norms
    finally:
        for norm in norms:
            norm.__dict__.pop("forward", None)
            norm.running_mean = norm.running_var = None
            norm.track_running_stats = False
            norm.train()


@contextmanager
def hooked(modules: Iterable[nn.Module], hook) -> Iterator[None]:
    """Runs ``hook(module, inputs, output)`` after every call of the modules."""
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def relus(net: nn.Module) -> list[nn.ReLU]:
    """The ReLUs: of every convolution but the stem's, and the one before pooling."""
    return [m for m in net.modules() if isinstance(m, nn.ReLU)]


def relu_outputs(net: nn.Module, x: Tensor) -> tuple[list[Tensor], Tensor]:
    """Outputs [N, C, H, W] of all ReLUs and the logits [N, K].

    An output is positive where the input is, so it also gives the input's sign pattern.
    """
    found: list[Tensor] = []
    with hooked(relus(net), lambda module, inputs, output: found.append(output)):
        logits = net(x)
    return found, logits


@torch.no_grad()
def macs(net: nn.Module, x: Tensor) -> float:
    """Multiply-adds of convolutions and linear layers for one image."""
    counts: list[int] = []

    def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        counts.append(output[0].numel() * module.weight[0].numel())

    with hooked(layers(net), count):
        net(x[:1])
    return float(sum(counts))


def features(net: TinyNetwork, x: Tensor) -> list[Tensor]:
    """The stem's output, then that of every cell and reduction."""
    found = [net.stem(x)]
    for cell in net.cells:
        found.append(cell(found[-1]))
    return found


def before_pooling(net: TinyNetwork, x: Tensor) -> Tensor:
    """Features [N, 4 C, H / 4, W / 4] after the last BatchNorm and ReLU."""
    return net.lastact(net.cells(net.stem(x)))


@torch.no_grad()
def normal_weights(net: nn.Module, *, scaled: bool) -> None:
    """Draws weights N(0, 1), or He-normal if scaled: N(0, 2 / fan-in)."""
    for weight in weights(net):
        std = math.sqrt(2 / weight[0].numel()) if scaled else 1.0
        weight.normal_(std=std)


def correlation(rows: Tensor) -> Tensor:
    """Correlation [N, N] of the rows of [N, D]; NaN for constant rows."""
    return torch.corrcoef(rows).reshape(len(rows), len(rows))
