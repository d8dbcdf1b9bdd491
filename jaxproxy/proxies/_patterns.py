"""Which units are active for which images."""

import jax.numpy as jnp
from jax import Array

from jaxproxy.measure import Readings, Weights
from jaxproxy.meters import activation_kernel, activation_patterns
from jaxproxy.ops import log_determinant
from jaxproxy.proxies._proxy import Inputs, Proxy, data_setup, proxy

_TE_NAS = "Chen et al., TE-NAS, ICLR 2021, arXiv:2102.11535"


@proxy
def naswot(*, inputs: Inputs = "gaussian", weights: Weights = "kaiming") -> Proxy:
    r"""Log-determinant of the kernel of activation patterns, :math:`\log|\det K|`.

    :math:`K_{nm}` counts the rectified units on which images n and m agree; minus
    infinity if two images agree on all. All rectified activations count, also those
    that no gradient reaches, as in NASLib; the paper's code leaves those out.

    Args:
      inputs: ``"gaussian"`` noise, or the user's ``"images"``, as in the paper.
      weights: name in ``WEIGHTS``; PyTorch's default is ``"uniform"``.
    """
    meter = activation_kernel().under(data_setup(inputs, weights=weights))
    return Proxy(
        meters=(meter,),
        score=lambda readings: log_determinant(readings[meter].sum(0)),
        reference="Mellor et al., NASWOT, ICML 2021, arXiv:2006.04647",
    )


@proxy
def linear_regions(
    *, inputs: Inputs = "gaussian", weights: Weights = "kaiming"
) -> Proxy:
    """Number of distinct activation patterns among the images.

    Few images and many units saturate it: nearly every architecture tells all images
    apart.

    Args:
      inputs: see :func:`naswot`.
      weights: see :func:`naswot`.
    """
    meter = activation_kernel().under(data_setup(inputs, weights=weights))

    def score(readings: Readings) -> Array:
        kernels = readings[meter]
        units = jnp.diagonal(kernels, axis1=1, axis2=2)[:, :, None]
        same = (kernels == units).all(0)
        return (1 / same.sum(1)).sum().astype(kernels.dtype)

    return Proxy(meters=(meter,), score=score, reference=_TE_NAS)


@proxy
def swap(*, inputs: Inputs = "gaussian", images: int = 16) -> Proxy:
    """Number of distinct patterns over the images among all rectified units.

    The paper's score is the mean over 32 initialisations, that is, over seeds.

    Args:
      inputs: see :func:`naswot`.
      images: how many, at most 16.
    """
    if not 1 <= images <= 16:
        raise ValueError(f"images must be from 1 to 16, got {images}")
    meter = activation_patterns().under(
        data_setup(inputs, weights="normal", batch_size=images)
    )
    return Proxy(
        meters=(meter,),
        score=lambda readings: readings[meter].any(0).sum().astype(jnp.float32),
        reference="Peng et al., SWAP-NAS, ICLR 2024, arXiv:2403.04161",
    )
