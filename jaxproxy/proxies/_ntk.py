"""What the tangent kernel says."""

from jax import Array

from jaxproxy.measure import Readings, Weights
from jaxproxy.meters import tangent_kernel
from jaxproxy.proxies._proxy import Inputs, Proxy, data_setup, proxy

_TE_NAS = "Chen et al., TE-NAS, ICLR 2021, arXiv:2102.11535"


@proxy
def ntk(*, inputs: Inputs = "gaussian", weights: Weights = "kaiming_out") -> Proxy:
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
        meters=(meter,),
        score=score,
        higher_is_better=False,
        reference=_TE_NAS,
    )
