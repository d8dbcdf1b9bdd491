"""Proxies from gradients of the loss or of the logits with respect to weights.

G_l is the gradient of the mean cross-entropy with respect to the weight W_l of a
convolution or linear layer, BatchNorm using the batch's statistics.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_tools import (
    Batch,
    batch_norm,
    gradients,
    hooked,
    layers,
    loss_gradients,
    weights,
)


def _total(terms: list[Tensor]) -> float:
    return float(torch.stack(terms).sum())


def l2_norm(net: nn.Module) -> float:
    """``sum_l ||W_l||``; NASLib's reading, of the layers that the network has."""
    return _total([torch.linalg.vector_norm(w.detach()) for w in weights(net)])


def grad_norm(net: nn.Module, batch: Batch) -> float:
    """``sum_l ||G_l||``: a sum of norms, Samsung's reading. arXiv:2101.08134."""
    return _total([torch.linalg.vector_norm(g) for g in loss_gradients(net, batch)])


def grad_norm_global(net: nn.Module, batch: Batch) -> float:
    """One norm over all parameters, BatchNorm and bias too; ZenNAS's reading."""
    loss = F.cross_entropy(net(batch[0]), batch[1])
    grads = gradients(loss, list(net.parameters()))
    return float(torch.stack([torch.linalg.vector_norm(g) for g in grads]).norm())


def snip(net: nn.Module, batch: Batch) -> float:
    """``sum |W G|``. Lee et al., arXiv:1810.02340."""
    pairs = zip(weights(net), loss_gradients(net, batch), strict=True)
    return _total([(w.detach() * g).abs().sum() for w, g in pairs])


def plain(net: nn.Module, batch: Batch) -> float:
    """``sum W G``, signed. Mozer and Smolensky, 1988.

    A cancellation: weights before a BatchNorm add only what its eps leaves.
    """
    pairs = zip(weights(net), loss_gradients(net, batch), strict=True)
    return _total([torch.sum(w.detach() * g) for w, g in pairs])


def grasp(net: nn.Module, batch: Batch) -> float:
    """``-<W, H G>``, H the loss's Hessian. Wang et al., arXiv:2002.07376."""
    tensors = weights(net)
    loss = F.cross_entropy(net(batch[0]), batch[1])
    grads = gradients(loss, tensors, create_graph=True)
    product = sum(torch.sum(g.detach() * g) for g in grads)
    pairs = zip(tensors, gradients(product, tensors), strict=True)
    return -_total([torch.sum(w.detach() * h) for w, h in pairs])


def _flows(net: nn.Module, x: Tensor) -> list[Tensor]:
    """``|W_l dR/dW_l|`` with R the sum of logits of an image of ones, weights |W|."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_()
    tensors = weights(net)
    flow = net(torch.ones_like(x[:1])).sum()
    pairs = zip(tensors, gradients(flow, tensors), strict=True)
    return [(w.detach() * g).abs() for w, g in pairs]


def synflow(net: nn.Module, x: Tensor) -> float:
    """``sum |W dR/dW|`` without BatchNorm; the raw value, NaN where it overflows.

    Leaves the net with absolute weights. Tanaka et al., arXiv:2006.05467.
    """
    with batch_norm(net, "none"):
        return _total([flow.sum() for flow in _flows(net, x)])


def synflow_bn(net: nn.Module, x: Tensor) -> float:
    """As :func:`synflow`, with BatchNorm on the one image; Samsung's second reading."""
    return _total([flow.sum() for flow in _flows(net, x)])


def syncflow(net: nn.Module, x: Tensor) -> float:
    """ZenNAS's: as :func:`synflow_bn`, the mean over output channels in each layer.

    The authors draw weights from N(0, 1) and return the negative of this.
    """
    return _total([flow.sum() / len(flow) for flow in _flows(net, x)])


def fisher_layers(net: nn.Module, batch: Batch) -> list[tuple[str, float]]:
    """Name and share of every layer, in order of execution; see :func:`fisher`."""
    names = {module: name for name, module in net.named_modules()}
    found: list[tuple[nn.Module, Tensor]] = []

    def keep(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        found.append((module, output))

    with hooked(layers(net), keep):
        loss = F.cross_entropy(net(batch[0]), batch[1])
    grads = gradients(loss, [output for _, output in found])
    shares = []
    for (layer, output), grad in zip(found, grads, strict=True):
        product = (output.detach() * grad).flatten(2) if output.ndim > 2 else None
        sums = output.detach() * grad if product is None else product.sum(2)
        delta = sums.square().mean(0).sum() / 2
        per_channel = layer.weight[0].numel()
        shares.append((names[layer], float(delta) * per_channel))
    return shares


def fisher(net: nn.Module, batch: Batch) -> float:
    """Each channel's ``mean_n (sum_hw a dL/da)^2 / 2``, once per weight of it.

    a is the output of a convolution or linear layer with its bias. Turner et al.,
    arXiv:1906.04113, as in Samsung's code.
    """
    return sum(share for _, share in fisher_layers(net, batch))


def zico_layers(net: nn.Module, batches: list[Batch]) -> list[float]:
    """``ln sum_j mean|g_j| / std(g_j)`` of every layer; -inf where nothing varies."""
    grads = [loss_gradients(net, batch) for batch in batches]
    logs = []
    for layer in zip(*grads, strict=True):
        stacked = torch.stack(layer)
        std = stacked.std(0, correction=0)
        ratio = stacked.abs().mean(0)[std != 0] / std[std != 0]
        logs.append(float(ratio.sum().log()))
    return logs


def zico(net: nn.Module, batches: list[Batch]) -> float:
    """Sum of :func:`zico_layers` over the layers that vary; 0 if none does.

    The authors' reading: gradients are not accumulated. Li et al., arXiv:2301.11300.
    """
    return sum(log for log in zico_layers(net, batches) if log > float("-inf"))


def xi_gsnr(net: nn.Module, batches: list[Batch], *, accumulate: bool) -> float:
    """``sum mean(g)^2 / (var(g) + 1e-8)`` over batches, biased variance.

    Args:
      net: the network.
      batches: two or more.
      accumulate: the authors' code never clears gradients, so that of a batch is the
        sum up to it; False is the paper's formula. Sun et al., "Gradient
        signal-to-noise ratio", ICML 2023.
    """
    grads = [loss_gradients(net, batch) for batch in batches]
    terms = []
    for layer in zip(*grads, strict=True):
        stacked = torch.stack(layer)
        if accumulate:
            stacked = stacked.cumsum(0)
        var = stacked.var(0, correction=0)
        terms.append((stacked.mean(0).square() / (var + 1e-8)).sum())
    return _total(terms)


def grad_sign(net: nn.Module, batch: Batch) -> float:
    """``sum_j |sum_n sign(g_j of image n)|``, each image a batch of its own.

    The sum, not the mean, over weights: the mean has another ranking on networks that
    differ in size. Zhang and Jia, arXiv:2110.08616.
    """
    totals: list[Tensor] = [torch.zeros_like(w) for w in weights(net)]
    for x, y in zip(*batch, strict=True):
        grads = loss_gradients(net, (x[None], y[None]))
        for total, grad in zip(totals, grads, strict=True):
            total += grad.sign()
    return _total([total.abs().sum() for total in totals])
