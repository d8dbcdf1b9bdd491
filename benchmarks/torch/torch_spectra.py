"""Zen-score, AZ-NAS, VKDNW, and proxies from the accuracy of untrained networks."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from peer_torch import TinyNetwork
from torch import Tensor, nn
from torch_tools import (
    Batch,
    batch_norm,
    before_pooling,
    gradients,
    hooked,
    weights,
)

CONSTANTS = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)  # of weight_agnostic
ALPHA = 0.05  # weight of the uniform distribution in VKDNW
VKDNW_TENSORS = 128


class Zen(NamedTuple):
    """Parts of the Zen-score."""

    score: float
    delta: float
    """Mean over images of the summed |difference| of features."""
    log_stds: list[float]
    """Half the log of the mean running variance, per BatchNorm in registration order.

    That order is the order of execution but for edges of a cell.
    """


@torch.no_grad()
def zen(net: TinyNetwork, x: Tensor, eps: Tensor, gamma: float = 1e-2) -> Zen:
    """``ln delta + sum of log_stds`` for images x and x + gamma eps, in that order.

    Weights are to be drawn from N(0, 1). As in the authors' code, a variance is the
    running average after both passes, from 1 with momentum 0.1, of unbiased variances;
    features are those that are pooled, behind the last ReLU; skips stay, as in all
    ports to NAS-Bench-201. Lin et al., arXiv:2102.01063.
    """
    with batch_norm(net, "tracked") as norms:
        difference = before_pooling(net, x) - before_pooling(net, x + gamma * eps)
        variances = torch.stack([norm.running_var.mean() for norm in norms])
    delta = difference.abs().sum((1, 2, 3)).mean()
    log_stds = variances.log() / 2
    return Zen(float(delta.log() + log_stds.sum()), float(delta), log_stds.tolist())


class AzNas(NamedTuple):
    """Components of AZ-NAS, without its complexity; bigger is better."""

    expressivity: float
    progressivity: float
    trainability: float
    entropies: list[float]
    """Per feature: the stem's output, then every cell and reduction."""
    sigmas: list[float]
    """Largest singular value per cell; NaN stands for an identity."""


def _entropy(feature: Tensor) -> Tensor:
    rows = feature.permute(0, 2, 3, 1).flatten(0, 2)
    rows = rows - rows.mean(0)
    values = torch.linalg.eigvalsh(rows.T @ rows / len(rows))
    share = values / values.sum()
    return -(share * (share + 1e-8).log()).sum()


def _sigma(g_in: Tensor, g_out: Tensor) -> float:
    """Largest singular value between two gradients; NaN for an identity."""
    if g_in.shape == g_out.shape and torch.equal(g_in, g_out):
        return math.nan
    if g_in.shape[2] != g_out.shape[2]:
        g_in = F.pixel_unshuffle(g_in, g_in.shape[2] // g_out.shape[2])
    cross = torch.einsum("nchw,ndhw->cd", g_in, g_out)
    cross = cross / (g_out.numel() / g_out.shape[1])
    return float(torch.linalg.matrix_norm(cross, 2))


def _trainability(sigma: float) -> float:
    return -math.inf if math.isnan(sigma) else 2 - sigma - 1 / (sigma + 1e-6)


def az_nas(
    net: TinyNetwork, x: Tensor, signs: Callable[[int, Tensor], Tensor]
) -> AzNas:
    """Expressivity, progressivity and trainability; NaN where a feature is constant.

    Args:
      net: the network.
      x: images.
      signs: (index from 1, feature) -> random signs of the feature's shape.

    References:
      Lee and Ham, AZ-NAS, CVPR 2024, arXiv:2403.19232, whose code turns NaN into -inf.
    """
    feature = net.stem(x).detach()
    entropies, sigmas = [_entropy(feature)], []
    for i, cell in enumerate(net.cells, 1):
        source = feature.requires_grad_()
        output = cell(source)
        g_out = signs(i, output)
        (g_in,) = torch.autograd.grad(output, source, g_out)
        sigmas.append(_sigma(g_in, g_out))
        feature = output.detach()
        entropies.append(_entropy(feature))
    values = torch.stack(entropies).detach()
    trainability = sum(map(_trainability, sigmas)) / len(sigmas)
    expressivity, progressivity = float(values.sum()), float(values.diff().min())
    return AzNas(expressivity, progressivity, trainability, values.tolist(), sigmas)


def _first_derivatives(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Derivatives of output channel 0 by the first element of each parameter."""
    if isinstance(module, nn.Conv2d):
        unit = torch.zeros_like(module.weight[:1, :1])
        unit[..., 0, 0] = 1
        return [F.conv2d(x[:, :1], unit, None, module.stride, module.padding)]
    x = x[:, :1]
    if isinstance(module, nn.BatchNorm2d):
        x = (x - module.running_mean[0]) * (module.running_var[0] + module.eps).rsqrt()
    return [x, torch.ones_like(x)]


def scalar_jacobian(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [N, K] and their Jacobian [N, K, P] by the first element of P tensors.

    Images must not depend on each other. One backward pass per class to the outputs of
    layers, where a gradient meets :func:`_first_derivatives`, then serves all images;
    per-image gradients of whole tensors would take one pass per image and class.
    """
    outputs: dict[nn.Module, Tensor] = {}
    derivatives: dict[nn.Module, list[Tensor]] = {}

    def keep(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        outputs[module] = output
        derivatives[module] = _first_derivatives(module, inputs[0].detach())
        return output.clone()  # or a ReLU in place would overwrite the output

    types = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)
    with hooked([m for m in net.modules() if isinstance(m, types)], keep):
        logits = net(x)
    order = [m for m in net.modules() if m in outputs]
    rows = []
    for value in logits.sum(0):
        grads = gradients(value, [outputs[m] for m in order], retain_graph=True)
        columns = [
            (grad[:, :1] * derivative).flatten(1).sum(1)
            for module, grad in zip(order, grads, strict=True)
            for derivative in derivatives[module]
        ]
        rows.append(torch.stack(columns[:VKDNW_TENSORS], 1))
    return logits.detach(), torch.stack(rows, 1)


def cholesky_factor(p: Tensor) -> Tensor:
    """Lower factor [N, K, K] of ``diag(p) - p p^T`` in closed form (Tanabe, Sagae)."""
    rest = 1 - p.cumsum(1)
    rest[:, -1] = 0
    before = torch.cat([torch.ones_like(p[:, :1]), rest[:, :-1]], 1)
    diagonal = (p * rest / before).sqrt()
    # The last column of the strict lower triangle is empty, so its 0 / 0 never counts.
    scale = torch.where(rest > 0, diagonal / rest, 0)
    return torch.tril(-p[:, :, None] * scale[:, None], -1) + diagonal.diag_embed()


def vkdnw_eigenvalues(net: nn.Module, x: Tensor, *, fisher: str) -> Tensor:
    """Descending singular values [P] of the Fisher matrix; see :func:`vkdnw`."""
    if fisher not in ("reference", "exact"):
        raise ValueError(f"unknown fisher {fisher!r}; choose from reference, exact")
    with batch_norm(net, "fixed"):
        logits, jacobian = scalar_jacobian(net, x)
    p = logits.softmax(1) * (1 - ALPHA) + ALPHA / logits.shape[1]
    factor = cholesky_factor(p)
    if fisher == "exact":
        factor = factor.mT
    rows = (factor @ jacobian).flatten(0, 1)
    return torch.linalg.svdvals(rows.T @ rows / len(x))


def vkdnw(net: nn.Module, x: Tensor, *, fisher: str = "reference") -> float:
    """Entropy of the deciles of the Fisher matrix's spectrum, 0 to ln 9.

    Fresh BatchNorm statistics in evaluation mode; the first element of each of the
    first 128 parameter tensors in registration order.

    Args:
      net: the network.
      x: images.
      fisher: ``exact`` is the mean of J^T (diag(p) - p p^T) J, ``reference`` the mean
        of (L J)^T (L J), L the lower Cholesky factor of the same matrix, as the
        authors' code has it. Their mixing weight 0.05 is rounded to float16, here not.

    References:
      Tybl and Neumann, VKDNW, arXiv:2502.04975.
    """
    values = vkdnw_eigenvalues(net, x, fisher=fisher)
    return decile_entropy(values)


def decile_entropy(values: Tensor) -> float:
    """Entropy of the nine deciles, linearly interpolated, divided by their sum."""
    levels = torch.linspace(0.1, 0.9, 9, dtype=values.dtype)
    deciles = values.quantile(levels)
    share = deciles / (deciles.abs().sum() + 1e-10)
    return -float((share * (share + 1e-10).log()).sum())


def num_tensors(net: nn.Module) -> int:
    """Number of trainable tensors, VKDNW's measure of size."""
    return len(list(net.parameters()))


@torch.no_grad()
def accuracy(net: nn.Module, batch: Batch) -> float:
    """Share of labels that are the first of the largest logits, up to rounding."""
    logits = net(batch[0])
    slack = 1e3 * torch.finfo(logits.dtype).eps * logits.abs().amax(1, keepdim=True)
    largest = logits >= logits.amax(1, keepdim=True) - slack
    return float((largest.int().argmax(1) == batch[1]).double().mean())


def cv(net: nn.Module, batch: Batch, draws: Sequence[Callable[[], None]]) -> float:
    """``std / mean`` of the accuracies after each draw of weights, unbiased std.

    Lower is better; NaN if all accuracies are 0. Gracheva, arXiv:2103.08312.

    Args:
      net: the network.
      batch: images and labels.
      draws: each sets the weights anew.
    """
    accuracies = []
    for draw in draws:
        draw()
        accuracies.append(accuracy(net, batch))
    values = torch.tensor(accuracies, dtype=torch.float64)
    return float(values.std() / values.mean())


def weight_agnostic(
    net: nn.Module, batch: Batch, constants: Sequence[float] = CONSTANTS
) -> float:
    """Mean accuracy over values that all convolution and linear weights share.

    After Gaier and Ha, arXiv:1906.04358. All logits of an image are then equal, so this
    is the share of labels 0 whatever the network is: on convolutional classifiers the
    proxy says nothing.
    """
    accuracies = []
    for constant in constants:
        with torch.no_grad():
            for weight in weights(net):
                weight.fill_(constant)
        accuracies.append(accuracy(net, batch))
    return sum(accuracies) / len(accuracies)
