"""Which units are active for which images."""

import jax.numpy as jnp
from jax import Array

from jaxproxy.measure import Readings, Weights
from jaxproxy.meters import activation_kernel, activation_patterns, pattern_hashes
from jaxproxy.ops import log_determinant
from jaxproxy.proxies._proxy import Inputs, Proxy, data_setup, proxy

_ODD = 0x9E3779B1
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
    *,
    inputs: Inputs = "gaussian",
    weights: Weights = "kaiming",
    hashed: bool = False,
) -> Proxy:
    """Number of distinct activation patterns among the images.

    Few images and many units saturate it: nearly every architecture tells all images
    apart.

    Args:
      inputs: see :func:`naswot`.
      weights: see :func:`naswot`.
      hashed: compare hashes of 64 bits in place of patterns, for thousands of images:
        pairs of them would be too many, and equal hashes of unlike patterns are not to
        be feared.
    """
    setup = data_setup(inputs, weights=weights)
    meter = (pattern_hashes() if hashed else activation_kernel()).under(setup)

    def score(readings: Readings) -> Array:
        if hashed:
            return _distinct(readings[meter])
        kernels = readings[meter]
        units = jnp.diagonal(kernels, axis1=1, axis2=2)[:, :, None]
        same = (kernels == units).all(0)
        return (1 / same.sum(1)).sum().astype(kernels.dtype)

    return Proxy(meters=(meter,), score=score, reference=_TE_NAS)


def _distinct(hashes: Array) -> Array:
    """Returns how many images differ in the hashes of some layer, float32[].

    Args:
      hashes: uint32[L, B, 2].
    """
    # Another odd factor for each layer, lest layers that trade patterns look alike.
    factors = jnp.cumprod(jnp.full(len(hashes), _ODD, jnp.uint32), dtype=jnp.uint32)
    first, second = (hashes * factors[:, None, None]).sum(0, dtype=jnp.uint32).T
    order = jnp.lexsort((first, second))
    first, second = first[order], second[order]
    changes = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return 1 + changes.sum().astype(jnp.float32)


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
