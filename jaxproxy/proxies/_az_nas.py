"""The components of AZ-NAS; its fourth is ``macs``, and it adds up log ranks."""

import jax.numpy as jnp
from jax import Array

from jaxproxy.measure import Meter, Readings
from jaxproxy.meters import spectrum, trainability
from jaxproxy.proxies._proxy import Proxy, proxy

_PAPER = "Lee and Ham, AZ-NAS, CVPR 2024, arXiv:2403.19232"
_FEATURES = ("stem", "cell", "reduction")


@proxy
def az_expressivity() -> Proxy:
    """Sum of the entropies of the features' normalised spectra, stem and every cell."""
    meter = spectrum(_FEATURES)
    return Proxy(
        meters=(meter,),
        score=lambda readings: _entropies(readings, meter)[0].sum(),
        reference=_PAPER,
    )


@proxy
def az_progressivity() -> Proxy:
    """Smallest gain of that entropy from one feature to the next."""
    meter = spectrum(_FEATURES)

    def score(readings: Readings) -> Array:
        entropies, present = _entropies(readings, meter)
        gains = jnp.diff(entropies)
        return jnp.where(present[1:], gains, jnp.inf).min()

    return Proxy(
        meters=(meter,),
        score=score,
        reference=_PAPER,
    )


@proxy
def az_trainability() -> Proxy:
    """Mean over cells of how faithfully they hand random gradients back.

    Minus infinity, and invalid, if a cell is the identity.
    """
    meter = trainability()
    return Proxy(
        meters=(meter,),
        score=lambda readings: readings[meter][0].mean(),
        reference=_PAPER,
    )


def _entropies(readings: Readings, meter: Meter) -> tuple[Array, Array]:
    """float[L], NaN for a constant activation, and bool[L]: of those present first.

    The others are 0 and stand behind.
    """
    here = readings.present(meter)
    order = jnp.argsort(~here, stable=True)
    eigenvalues, here = readings[meter][order], here[order]
    total = jnp.where(here, eigenvalues.sum(1), 1)
    p = eigenvalues / total[:, None]
    return -(p * jnp.log(p + 1e-8)).sum(1), here
