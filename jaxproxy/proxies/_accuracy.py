"""Accuracies of networks that were never trained."""

import jax.numpy as jnp
from jax import Array

from jaxproxy.measure import Readings
from jaxproxy.meters import accuracies_of_constants, accuracies_of_draws
from jaxproxy.options import check_counts
from jaxproxy.proxies._proxy import Inputs, Proxy, data_setup, proxy


@proxy
def cv(*, draws: int = 100, inputs: Inputs = "gaussian") -> Proxy:
    """Coefficient of variation of the accuracy over initialisations; lower is better.

    Deviation (divisor n - 1) over mean; weights are He-uniform, images those of one
    batch. Not finite if no draw gets an image right.

    Args:
      draws: how many initialisations, at least 2.
      inputs: ``"gaussian"`` noise with random labels, or the user's ``"images"``, as
        in the paper.
    """
    check_counts(draws=draws)
    if draws < 2:
        raise ValueError(f"draws must be at least 2, got {draws}")
    meter = accuracies_of_draws(draws).under(data_setup(inputs, weights="he_uniform"))

    def score(readings: Readings) -> Array:
        accuracies = readings[meter][0]
        return jnp.std(accuracies, ddof=1) / accuracies.mean()

    return Proxy(
        meters=(meter,),
        score=score,
        higher_is_better=False,
        reference="Gracheva, Array 12, 2021, arXiv:2103.08312",
    )


@proxy
def weight_agnostic(
    *,
    values: tuple[float, ...] = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0),
    inputs: Inputs = "gaussian",
) -> Proxy:
    """Mean accuracy over networks whose weights are all one value.

    Where all channels of a layer see the same, as in NAS-Bench-201, such networks have
    equal logits, and the score is the share of the first class whatever the
    architecture.

    Args:
      values: the values, those of the paper by default.
      inputs: see :func:`cv`.
    """
    meter = accuracies_of_constants(values).under(data_setup(inputs))
    return Proxy(
        meters=(meter,),
        score=lambda readings: readings[meter][0].mean(),
        reference="Gaier and Ha, Weight agnostic networks, 2019, arXiv:1906.04358",
    )
