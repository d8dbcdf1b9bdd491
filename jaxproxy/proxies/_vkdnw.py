"""VKDNW: the entropy of the spectrum of a sampled Fisher information matrix."""

from typing import Literal

import jax.numpy as jnp
from jax import Array

from jaxproxy.measure import Readings, Setup
from jaxproxy.meters import fisher_spectrum, weight_size
from jaxproxy.proxies._proxy import Proxy, proxy

_PAPER = "Tybl and Neumann, VKDNW, 2025, arXiv:2502.04975"


@proxy
def vkdnw_entropy(
    *, fisher: Literal["exact", "reference"] = "exact", tensors: int = 128
) -> Proxy:
    r"""Entropy of the deciles of the spectrum of the Fisher information.

    Of the first element of each of the first ``tensors`` parameter tensors;
    :math:`-\sum_i t_i \log t_i` over the nine deciles of the eigenvalues, normalised to
    sum 1. BatchNorm is in evaluation mode. One backward pass for each class, in spaces
    that tap the slopes of their parameters; else one for each image and class.

    Args:
      fisher: ``"exact"``, :math:`J^\top(\mathrm{diag}\,p - pp^\top)J`, or
        ``"reference"``: with the Cholesky factor L of the middle, the published code
        computes :math:`J^\top L^\top L J`.
      tensors: how many tensors, in the network's order.

    Raises:
      ValueError: an unknown ``fisher``, or no tensors.
    """
    setup = Setup(norm="fixed")
    spectrum = fisher_spectrum(fisher=fisher, tensors=tensors).under(setup)
    sizes = weight_size("all").under(setup)

    def score(readings: Readings) -> Array:
        eigenvalues = readings[spectrum][0]
        count = jnp.minimum(readings.count(sizes), len(eigenvalues))
        return _entropy_of_deciles(eigenvalues, count)

    return Proxy(meters=(spectrum, sizes), score=score, reference=_PAPER)


def _entropy_of_deciles(descending: Array, count: Array) -> Array:
    """Of the first ``count`` of the eigenvalues, linearly interpolated."""
    last = count.astype(jnp.int32) - 1
    quantiles = jnp.linspace(0.1, 0.9, 9, dtype=descending.dtype)
    places = quantiles * last.astype(descending.dtype)
    low = jnp.floor(places).astype(jnp.int32)
    high = jnp.minimum(low + 1, last)
    part = places - low.astype(places.dtype)
    deciles = descending[low] * (1 - part) + descending[high] * part
    t = deciles / (jnp.abs(deciles).sum() + 1e-10)
    return -(t * jnp.log(t + 1e-10)).sum()
