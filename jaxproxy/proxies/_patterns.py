"""Which units are active for which images, and what the tangent kernel says."""

import jax.numpy as jnp
from jax import Array

from jaxproxy.measure import Readings
from jaxproxy.meters import activation_kernel, activation_patterns, tangent_kernel
from jaxproxy.ops import log_determinant
from jaxproxy.proxies._proxy import Proxy, data_setup

_TE_NAS = "Chen et al., TE-NAS, ICLR 2021, arXiv:2102.11535"


def naswot(*, inputs: str = "gaussian", weights: str = "kaiming") -> Proxy:
    r"""Log-determinant of the kernel of activation patterns, :math:`\log|\det K|`.

    :math:`K_{nm}` counts the rectified units on which images n and m agree; minus
    infinity if two images agree on all. All rectified activations count, also those
    that no gradient reaches, as in NASLib; the paper's code leaves those out.

    Args:
      inputs: ``"gaussian"`` noise, or the user's ``"images"``, as in the paper.
      weights: name in ``setups.WEIGHTS``; PyTorch's default is ``"uniform"``.
    """
    meter = activation_kernel().under(data_setup(inputs, weights=weights))
    return Proxy(
        "naswot",
        meters=(meter,),
        score=lambda readings: log_determinant(readings[meter].sum(0)),
        reference="Mellor et al., NASWOT, ICML 2021, arXiv:2006.04647",
    )


def linear_regions(*, inputs: str = "gaussian", weights: str = "kaiming") -> Proxy:
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

    return Proxy("linear_regions", meters=(meter,), score=score, reference=_TE_NAS)


def swap(*, inputs: str = "gaussian", images: int = 16) -> Proxy:
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
        "swap",
        meters=(meter,),
        score=lambda readings: readings[meter].any(0).sum().astype(jnp.float32),
        reference="Peng et al., SWAP-NAS, ICLR 2024, arXiv:2403.04161",
    )


def ntk(*, inputs: str = "gaussian", weights: str = "kaiming_out") -> Proxy:
    """Condition number of the tangent kernel; lower is better.

    A backward pass for every image of a batch: a small fidelity is meant for it.

    Args:
      inputs: see :func:`naswot`.
      weights: see :func:`naswot`.
    """
    meter = tangent_kernel().under(data_setup(inputs, weights=weights))

    def score(readings: Readings) -> Array:
        eigenvalues = readings[meter][0]
        return eigenvalues[-1] / eigenvalues[0]

    return Proxy(
        "ntk",
        meters=(meter,),
        score=score,
        higher_is_better=False,
        reference=_TE_NAS,
    )
