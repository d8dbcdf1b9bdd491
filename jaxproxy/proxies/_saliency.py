"""Gradients and saliencies of weights at initialisation."""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxproxy.measure import Meter, Readings, Setup, Weights
from jaxproxy.meters import (
    channels,
    fisher_information,
    gradient_flow,
    gradient_norm,
    log_scale,
    nuclear_saliency,
    saliency,
    weight_norm,
    weight_size,
)
from jaxproxy.proxies._proxy import Inputs, Proxy, data_setup, proxy

_ABDELFATTAH = "Abdelfattah et al., Zero-cost proxies, ICLR 2021, arXiv:2101.08134"


@proxy
def grad_norm(
    *,
    norm: Literal["layers", "global"] = "layers",
    inputs: Inputs = "gaussian",
    weights: Weights = "kaiming",
) -> Proxy:
    """Norm of the gradient of the loss.

    Args:
      norm: ``"layers"`` adds the norms of all convolutions and matrices; ``"global"``
        is the norm of the gradient of all parameters, BatchNorm and biases included, as
        in ZenNAS and AZ-NAS.
      inputs: ``"gaussian"`` noise with random labels, or the user's ``"images"`` with
        theirs, as in the paper.
      weights: name in ``WEIGHTS``; PyTorch's default is ``"uniform"``.
    """
    setup = data_setup(inputs, weights=weights)
    meter = gradient_norm("weights" if norm == "layers" else "all").under(setup)

    def score(readings: Readings) -> Array:
        norms = readings[meter]
        return norms.sum() if norm == "layers" else jnp.sqrt(jnp.square(norms).sum())

    return Proxy(meters=(meter,), score=score, reference=_ABDELFATTAH)


@proxy
def snip(*, inputs: Inputs = "gaussian", weights: Weights = "kaiming") -> Proxy:
    r"""Sum of :math:`|w\,\partial L/\partial w|` over convolutions and matrices.

    Args:
      inputs: see :func:`grad_norm`.
      weights: see :func:`grad_norm`.
    """
    meter = saliency().under(data_setup(inputs, weights=weights))
    return Proxy(
        meters=(meter,),
        score=lambda readings: readings[meter][:, 0].sum(),
        reference="Lee et al., SNIP, ICLR 2019, arXiv:1810.02340",
    )


@proxy
def plain(*, inputs: Inputs = "gaussian", weights: Weights = "kaiming") -> Proxy:
    r"""Sum of :math:`w\,\partial L/\partial w`, signed.

    Args:
      inputs: see :func:`grad_norm`.
      weights: see :func:`grad_norm`.
    """
    meter = saliency().under(data_setup(inputs, weights=weights))
    return Proxy(
        meters=(meter,),
        score=lambda readings: readings[meter][:, 1].sum(),
        reference=_ABDELFATTAH,
    )


@proxy
def l2_norm(*, weights: Weights = "kaiming") -> Proxy:
    """Sum of the norms of the initial weights of convolutions and matrices.

    Args:
      weights: see :func:`grad_norm`.
    """
    meter = weight_norm().under(Setup(weights=weights))
    return Proxy(
        meters=(meter,),
        score=lambda readings: readings[meter].sum(),
        reference=_ABDELFATTAH,
    )


@proxy
def fisher(*, inputs: Inputs = "gaussian", weights: Weights = "kaiming") -> Proxy:
    r"""Fisher information of channels, weighted by their weights.

    :math:`\sum_l \frac{\#W_l}{C_l} \sum_k \frac12 \mathrm{mean}_n u_{nk}^2`, u the sum
    over pixels of activation times gradient, for outputs of convolutions and matrices.

    Args:
      inputs: see :func:`grad_norm`.
      weights: see :func:`grad_norm`.
    """
    setup = data_setup(inputs, weights=weights)
    information, sizes = fisher_information().under(setup), weight_size().under(setup)
    widths = channels().under(setup)

    def score(readings: Readings) -> Array:
        width = readings[widths].astype(readings[sizes].dtype)
        size = _sizes_of_layers(readings, information, sizes)
        return (size / jnp.maximum(width, 1) * readings[information]).sum()

    return Proxy(
        meters=(information, sizes, widths),
        score=score,
        reference="Turner et al., BlockSwap, ICLR 2020, arXiv:1906.04113",
    )


def _sizes_of_layers(readings: Readings, layers: Meter, sizes: Meter) -> Array:
    """Returns how many weights each activation's layer has, float[L].

    Activations come in the order of calls, parameters in that of a tree, so they are
    matched by name, as ``conv`` and ``conv.weight``. A layer whose width is data has
    several slots of one name, of which one is present and the others read 0.

    Raises:
      ValueError: a layer without weights of its own name.
    """
    owners = [slot.name.rpartition(".")[0] for slot in readings.slots(sizes)]
    names = [slot.name for slot in readings.slots(layers)]
    lonely = sorted(set(names) - set(owners))
    if lonely:
        raise ValueError(f"no weights are known of the layer {lonely[0]!r}")
    owns = np.array([[name == owner for owner in owners] for name in names])
    return jnp.where(owns, readings[sizes], 0).sum(1)


@proxy
def grasp(*, inputs: Inputs = "gaussian", weights: Weights = "kaiming") -> Proxy:
    r"""Gradient flow that pruning would leave, :math:`-w^\top H g`.

    Args:
      inputs: see :func:`grad_norm`.
      weights: see :func:`grad_norm`.
    """
    meter = gradient_flow().under(data_setup(inputs, weights=weights))
    return Proxy(
        meters=(meter,),
        score=lambda readings: -readings[meter][0],
        reference="Wang et al., GraSP, ICLR 2020, arXiv:2002.07376",
    )


@proxy
def synflow(*, norm: Literal["none", "batch"] = "none") -> Proxy:
    r"""Logarithm of :math:`\sum |w\,\partial R/\partial w|`, R the sum of the logits.

    All weights are replaced by their magnitudes and the input is one image of ones.

    Args:
      norm: ``"none"`` removes BatchNorm, as in the paper. ``"batch"`` keeps it; the
        ZenNAS family calls minus that (a mean over outputs in place of the sum)
        SynFlow.
    """
    setup = Setup(weights="abs", inputs="ones", norm=norm, loss="sum")
    meter, scales = saliency().under(setup), log_scale().under(setup)

    def score(readings: Readings) -> Array:
        total = jnp.log(readings[meter][:, 0].sum())
        # Every weight's gradient carries all the factors taken out of the cells.
        return total + readings[scales].sum() if norm == "none" else total

    return Proxy(
        meters=(meter, scales) if norm == "none" else (meter,),
        score=score,
        reference="Tanaka et al., SynFlow, NeurIPS 2020, arXiv:2006.05467",
    )


@proxy
def dss() -> Proxy:
    r"""Synaptic diversity of attention plus synaptic saliency of all other matrices.

    :math:`\sum_a \|W_a\|_* \|\partial R/\partial W_a\|_* + \sum_m \sum |W_m \odot
    \partial R/\partial W_m|`, R the sum of the logits: nuclear norms of the matrices
    before and behind attention, saliencies of MLPs and of the classifier. All weights
    are replaced by their magnitudes and the input is one image of ones. Spaces without
    attention have no such score.

    The published code draws weights of deviation .02, this Kaiming-normal ones.
    """
    setup = Setup(weights="abs", inputs="ones", loss="sum")
    diversity, others = nuclear_saliency(), saliency(("linear_w",))
    diversity, others = diversity.under(setup), others.under(setup)

    def score(readings: Readings) -> Array:
        return readings[diversity].sum() + readings[others][:, 0].sum()

    return Proxy(
        meters=(diversity, others),
        score=score,
        reference="Zhou et al., TF-TAS, CVPR 2022, arXiv:2203.12217",
    )
