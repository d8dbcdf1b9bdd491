"""How gradients agree over batches and images."""

import jax.numpy as jnp
from jax import Array

from jaxproxy.measure import Readings, Setup, Weights
from jaxproxy.meters import gradient_agreement, gradient_snr, gradient_stability
from jaxproxy.proxies._proxy import Inputs, Proxy, data_setup, proxy


@proxy
def zico(
    *, batches: int = 2, inputs: Inputs = "gaussian", weights: Weights = "uniform"
) -> Proxy:
    r"""Sum over layers of :math:`\log \sum_j \mathrm{mean}_b|g_{bj}| / \sigma_j`.

    The deviation over batches has divisor n; elements where it is zero are left out,
    as are layers without others. Where no layer is left, the score is 0 and invalid.

    Args:
      batches: how many, at least 2.
      inputs: ``"gaussian"`` noise with random labels, or the user's ``"images"``, as
        in the paper.
      weights: name in ``WEIGHTS``; the paper's is PyTorch's default.
    """
    meter = gradient_stability().under(_setup(batches, inputs, weights))

    def score(readings: Readings) -> Array:
        sums = readings[meter]
        return jnp.log(jnp.where(sums > 0, sums, 1)).sum()

    return Proxy(
        meters=(meter,),
        score=score,
        valid=lambda readings: (readings[meter] > 0).any(),
        reference="Li et al., ZiCo, ICLR 2023, arXiv:2301.11300",
    )


@proxy
def xi_gsnr(
    *,
    batches: int = 8,
    accumulate: bool = False,
    inputs: Inputs = "gaussian",
    weights: Weights = "uniform",
) -> Proxy:
    r"""Gradient signal-to-noise ratio, :math:`\sum_j \bar g_j^2/(\sigma_j^2 + \xi)`.

    Over elements j of convolutions and matrices, variance over batches with divisor n,
    :math:`\xi = 10^{-8}`; layers without variance count 0.

    Args:
      batches: how many, at least 2.
      accumulate: add gradients up from batch to batch, as the published numbers did,
        whose code never clears them.
      inputs: see :func:`zico`.
      weights: see :func:`zico`.
    """
    meter = gradient_snr(accumulate=accumulate)
    meter = meter.under(_setup(batches, inputs, weights))
    return Proxy(
        meters=(meter,),
        score=lambda readings: readings[meter].sum(),
        reference="Sun et al., Xi-GSNR, ICCV 2023",
    )


@proxy
def grad_sign(*, inputs: Inputs = "gaussian", weights: Weights = "uniform") -> Proxy:
    r"""Agreement of images on the sign of gradients, :math:`\sum_j |\sum_n \pm 1|`.

    Every image is a batch of its own, so BatchNorm normalises single images.

    Args:
      inputs: see :func:`zico`.
      weights: see :func:`zico`.
    """
    setup = data_setup(inputs, weights=weights, single=True)
    meter = gradient_agreement().under(setup)
    return Proxy(
        meters=(meter,),
        score=lambda readings: readings[meter].sum(),
        reference="Zhang and Jia, GradSign, ICLR 2022, arXiv:2110.08616",
    )


def _setup(batches: int, inputs: Inputs, weights: Weights) -> Setup:
    if batches < 2:
        raise ValueError(f"batches must be at least 2, got {batches}")
    return data_setup(inputs, weights=weights, batches=batches)
