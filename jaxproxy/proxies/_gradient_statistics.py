"""How gradients agree over batches and images."""

import jax.numpy as jnp

from jaxproxy.meters import Meter, gradient_signs, gradient_values
from jaxproxy.proxies._proxy import Proxy, data_setup
from jaxproxy.readings import Readings
from jaxproxy.types import Array

__all__ = ["grad_sign", "xi_gsnr", "zico"]


def zico(
    *, batches: int = 2, inputs: str = "gaussian", weights: str = "uniform"
) -> Proxy:
    r"""Sum over layers of :math:`\log \sum_j \mathrm{mean}_b|g_{bj}| / \sigma_j`.

    The deviation over batches has divisor n; elements where it is zero are left out,
    as are layers without others. Where no layer is left, the score is 0 and invalid.

    Args:
      batches: how many, at least 2.
      inputs: ``"gaussian"`` noise with random labels, or the user's ``"images"``, as
        in the paper.
      weights: name in ``setups.WEIGHTS``; the paper's is PyTorch's default.
    """
    meter = _gradients(batches, inputs, weights)

    def layers(readings: Readings) -> Array:
        gradients = readings[meter]  # [M, P, size]
        deviation = gradients.std(0)
        varies = deviation > 0
        ratio = jnp.abs(gradients).mean(0) / jnp.where(varies, deviation, 1)
        return jnp.where(varies, ratio, 0).sum(1)

    def score(readings: Readings) -> Array:
        sums = layers(readings)
        return jnp.log(jnp.where(sums > 0, sums, 1)).sum()

    return Proxy(
        "zico",
        meters=(meter,),
        score=score,
        valid=lambda readings: (layers(readings) > 0).any(),
        reference="Li et al., ZiCo, ICLR 2023, arXiv:2301.11300",
    )


def xi_gsnr(
    *,
    batches: int = 8,
    accumulate: bool = False,
    inputs: str = "gaussian",
    weights: str = "uniform",
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
    meter = _gradients(batches, inputs, weights)

    def score(readings: Readings) -> Array:
        gradients = readings[meter]
        if accumulate:
            gradients = jnp.cumsum(gradients, 0)
        variance = gradients.var(0)
        ratios = jnp.square(gradients.mean(0)) / (variance + 1e-8)
        return jnp.where((variance > 0).any(1), ratios.sum(1), 0).sum()

    return Proxy(
        "xi_gsnr",
        meters=(meter,),
        score=score,
        reference="Sun et al., Xi-GSNR, ICCV 2023",
    )


def grad_sign(*, inputs: str = "gaussian", weights: str = "uniform") -> Proxy:
    r"""Agreement of images on the sign of gradients, :math:`\sum_j |\sum_n \pm 1|`.

    Every image is a batch of its own, so BatchNorm normalises single images.

    Args:
      inputs: see :func:`zico`.
      weights: see :func:`zico`.
    """
    meter = gradient_signs().under(data_setup(inputs, weights=weights, single=True))
    return Proxy(
        "grad_sign",
        meters=(meter,),
        score=lambda readings: jnp.abs(readings[meter]).sum(),
        reference="Zhang and Jia, GradSign, ICLR 2022, arXiv:2110.08616",
    )


def _gradients(batches: int, inputs: str, weights: str) -> Meter:
    """Gradients of convolutions and matrices, [M, P, max size]."""
    if batches < 2:
        raise ValueError(f"batches must be at least 2, got {batches}")
    setup = data_setup(inputs, weights=weights, batches=batches)
    return gradient_values().under(setup)
