"""How gradients with respect to images correlate."""

import jax.numpy as jnp
from jax import Array

from jaxproxy.measure import Readings, Weights
from jaxproxy.meters import classes, input_correlation
from jaxproxy.ops import eigenvalues
from jaxproxy.proxies._proxy import Inputs, Proxy, data_setup, proxy

_K = 1e-5


@proxy
def jacov(*, inputs: Inputs = "gaussian", weights: Weights = "kaiming") -> Proxy:
    r"""Covariance of Jacobians, :math:`-\sum_i \log(v_i + k) + 1/(v_i + k)`.

    v are the eigenvalues of the correlation matrix of the images' gradients of the sum
    of all logits, k is 1e-5. Eigenvalues below zero, which only rounding makes, count
    as zero.

    Args:
      inputs: ``"gaussian"`` noise, or the user's ``"images"``, as in the paper.
      weights: name in ``WEIGHTS``; PyTorch's default is ``"uniform"``.
    """
    meter = input_correlation().under(data_setup(inputs, weights=weights, loss="sum"))

    def score(readings: Readings) -> Array:
        correlation = readings[meter][0]
        # NaN in, NaN out: an eigendecomposition may also fail to return.
        finite = jnp.isfinite(correlation).all()
        v = eigenvalues(jnp.where(finite, correlation, 0))
        v = jnp.maximum(v, 0) + _K
        return jnp.where(finite, -(jnp.log(v) + 1 / v).sum(), jnp.nan)

    return Proxy(
        meters=(meter,),
        score=score,
        reference="Mellor et al., ICML 2021, first version, arXiv:2006.04647v1",
    )


@proxy
def epe_nas(*, inputs: Inputs = "gaussian", weights: Weights = "kaiming") -> Proxy:
    r"""Correlation of Jacobians within classes.

    With :math:`s_c = \sum_{ij} \log(|R_{ij}| + k)` over the images of class c, the
    score is :math:`\sum_c |s_c|` for at most 100 classes, and otherwise the sum of
    :math:`|s_c/n_c - s_{c'}/n_{c'}|` over pairs of classes with two images or more,
    divided by their number.

    Args:
      inputs: see :func:`jacov`.
      weights: see :func:`jacov`.
    """
    setup = data_setup(inputs, weights=weights, loss="sum")
    meter, labels = input_correlation().under(setup), classes().under(setup)

    def score(readings: Readings) -> Array:
        logs = jnp.log(jnp.abs(readings[meter][0]) + _K)
        member = readings[labels][0]  # [B, K]
        sums, sizes = (member * (logs @ member)).sum(0), member.sum(0)
        if member.shape[1] <= 100:
            return jnp.abs(sums).sum()
        counted = sizes > 1
        means = sums / jnp.maximum(sizes, 1)
        pairs = counted & counted[:, None]
        differences = jnp.abs(means - means[:, None])
        number = jnp.maximum(counted.sum(), 1).astype(means.dtype)
        return jnp.where(pairs, differences, 0).sum() / number

    return Proxy(
        meters=(meter, labels),
        score=score,
        reference="Lopes et al., EPE-NAS, ICANN 2021, arXiv:2102.08099",
    )
