"""Proxies from matrices over images: Jacobians, activation patterns, correlations.

BatchNorm uses the batch's statistics throughout.
"""

import math
from collections.abc import Sequence

import torch
from peer_torch import Cell, Reduction, Zero
from torch import Tensor, nn
from torch_tools import correlation, gradients, hooked, relu_outputs

EPS = 1e-5  # of jacov and EPE-NAS


def input_jacobian(net: nn.Module, x: Tensor) -> Tensor:
    """Gradient [N, 3 H W] of the sum of all logits; BatchNorm couples the images."""
    x = x.detach().clone().requires_grad_()
    return gradients(net(x).sum(), [x])[0].flatten(1)


def jacov_eigenvalues(net: nn.Module, x: Tensor) -> Tensor:
    """Ascending eigenvalues [N] of the correlation of :func:`input_jacobian`'s rows."""
    corr = correlation(input_jacobian(net, x))
    if not corr.isfinite().all():
        return corr.new_full((len(x),), math.nan)
    return torch.linalg.eigvalsh(corr)


def jacov(net: nn.Module, x: Tensor) -> float:
    """``-sum ln(v + 1e-5) + 1 / (v + 1e-5)``; NaN for constant rows.

    Symmetric eigenvalues, where Samsung's code calls a general solver. Mellor et al.,
    arXiv:2006.04647v1.
    """
    shifted = jacov_eigenvalues(net, x) + EPS
    return -float((shifted.log() + 1 / shifted).sum())


def epe_nas(net: nn.Module, x: Tensor, y: Tensor, num_classes: int = 10) -> float:
    """Sum over classes of ``|sum_ij ln(|corr_ij| + 1e-5)|`` of the class's images.

    The reading for at most 100 logits. A class of one image has correlation 1. Lopes et
    al., arXiv:2102.08099.
    """
    if num_classes > 100:
        raise ValueError(f"this reading is for 100 classes at most, got {num_classes}")
    jacobian = input_jacobian(net, x)
    total = 0.0
    for label in y.unique():
        rows = jacobian[y == label]
        corr = correlation(rows) if len(rows) > 1 else rows.new_ones(1, 1)
        total += abs(float((corr.abs() + EPS).log().sum()))
    return total


def naswot(net: nn.Module, x: Tensor, *, live_only: bool = False) -> float:
    """``ln |det K|``, K_ij the number of ReLUs that agree on images i and j.

    Args:
      net: the network.
      x: images.
      live_only: leaves out ReLUs whose output has a zero gradient of the sum of logits.
        The authors' filter leaves out those that no gradient tensor reaches. NAS-Bench-
        201's ``none`` multiplies by zero, so tensors of zeros reach them all, and the
        authors' value is the one without this filter. Mellor et al., arXiv:2006.04647.
    """
    outputs, logits = relu_outputs(net, x)
    if live_only:
        grads = gradients(logits.sum(), outputs)
        live = zip(outputs, grads, strict=True)
        outputs = [output for output, grad in live if grad.any()]
    kernel = x.new_zeros(len(x), len(x), dtype=torch.float64)
    for output in outputs:
        on = (output.detach() > 0).flatten(1).to(x.dtype)
        # Entries are counts below 2^24 within a layer, exact in float32.
        kernel += on @ on.T + (1 - on) @ (1 - on).T
    return float(torch.linalg.slogdet(kernel)[1])


def ntk_eigenvalues(net: nn.Module, x: Tensor) -> Tensor:
    """Ascending eigenvalues [N] of the Gram matrix of per-image gradients.

    Gradients of an image's sum of logits with respect to every parameter whose name has
    "weight" in it: convolutions, linear layers and BatchNorm scales.
    """
    params = [p for name, p in net.named_parameters() if "weight" in name]
    sums = net(x).sum(1)
    rows = [gradients(value, params, retain_graph=True) for value in sums]
    matrix = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
    return torch.linalg.eigvalsh(matrix @ matrix.T)


def ntk(net: nn.Module, x: Tensor) -> float:
    """Condition number of the neural tangent kernel; lower is better, NaN if 0 / 0.

    Chen et al., TE-NAS, arXiv:2102.11535, whose code puts 1e5 for NaN.
    """
    values = ntk_eigenvalues(net, x)
    return float(values[-1] / values[0])


@torch.no_grad()
def linear_regions(net: nn.Module, x: Tensor) -> float:
    """Number of images with different patterns of all ReLUs together. TE-NAS."""
    outputs, _ = relu_outputs(net, x)
    patterns = torch.cat([(output > 0).flatten(1) for output in outputs], 1)
    return float(len(patterns.unique(dim=0)))


@torch.no_grad()
def swap(net: nn.Module, x: Tensor) -> float:
    """Number of different patterns over at most 62 images among all ReLU units.

    The authors draw weights from N(0, 1). Peng et al., SWAP-NAS, arXiv:2403.04161.
    """
    if len(x) > 62:
        raise ValueError(f"patterns are packed into 62 bits, got {len(x)} images")
    outputs, _ = relu_outputs(net, x)
    bits = 2 ** torch.arange(len(x))
    codes = [torch.tensordot(bits, (o > 0).flatten(1).long(), 1) for o in outputs]
    return float(len(torch.cat(codes).unique()))


KINDS = {
    "conv": nn.Conv2d,
    "relu": nn.ReLU,
    "bn": nn.BatchNorm2d,
    "pool": nn.AvgPool2d,
    "skip": nn.Identity,
    "none": Zero,
    "cell": Cell,
    "reduction": Reduction,
    "linear": nn.Linear,
}
"""Kinds of modules that :func:`meco` can count."""
LEAVES = ("conv", "relu", "bn", "pool", "skip", "none", "linear")


def _kind(module: nn.Module) -> str:
    kinds = (kind for kind, cls in KINDS.items() if isinstance(module, cls))
    return next(kinds, "other")


@torch.no_grad()
def meco_kinds(
    net: nn.Module, x: Tensor, kinds: Sequence[str] = (*KINDS, "other")
) -> dict[str, tuple[int, float]]:
    """Number of modules and sum of smallest eigenvalues, by kind; ``other`` containers.

    Of each output of the first image, [C, H, W]: the correlation of channels, NaN
    replaced by 0. Logits have one value a channel and so add 0.
    """
    found: dict[str, list[float]] = {kind: [] for kind in kinds}

    def measure(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        corr = correlation(output[0].flatten(1)).nan_to_num(0, 0, 0)
        smallest = float(torch.linalg.eigvalsh(corr)[0])
        found[_kind(module)].append(smallest)

    def measure_all(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        if output.ndim == 4:
            measure(module, inputs, output)
        else:
            found["linear" if isinstance(module, nn.Linear) else "other"].append(0.0)

    with hooked([m for m in net.modules() if _kind(m) in kinds], measure_all):
        net(x[:1])
    return {kind: (len(values), sum(values)) for kind, values in found.items()}


def meco(net: nn.Module, x: Tensor, kinds: Sequence[str] = (*KINDS, "other")) -> float:
    """Smallest eigenvalues of channel correlations, summed over modules.

    By default over every module, containers and the whole network too, as the authors'
    code. Jiang et al., MeCo, NeurIPS 2023.
    """
    return sum(total for _, total in meco_kinds(net, x, kinds).values())
