"""Zen-score: how much the features of a Gaussian network move with its input."""

import jax.numpy as jnp
from jax import Array

from jaxproxy.measure import Readings, Setup
from jaxproxy.meters import features, logits, variance
from jaxproxy.proxies._proxy import Proxy, proxy


@proxy
def zen() -> Proxy:
    r"""Zen-score, :math:`\log \Delta + \frac12 \sum_l \log \bar\sigma_l^2`.

    Weights are standard normal. Delta is the mean over images of the L1 distance
    between the features before pooling of an image and of the same with a hundredth of
    noise added; the variances are the running ones of BatchNorm after these two
    passes, with momentum 0.1, mean over channels. Residual connections are kept; the
    paper's search removes them.

    References:
      Lin et al., "Zen-NAS", ICCV 2021, algorithm 1, arXiv:2102.01063.
    """
    setup = Setup(weights="normal", inputs="perturbed")
    maps, outputs = features().under(setup), logits().under(setup)
    variances = variance().under(setup)

    def score(readings: Readings) -> Array:
        images = readings[outputs].shape[2]
        first, second = readings[maps][:, 0]
        distance = jnp.abs(first - second).sum() / images
        first, second = readings[variances]
        running = 0.81 + 0.09 * first + 0.1 * second
        present = readings.present(variances)
        return jnp.log(distance) + jnp.where(present, jnp.log(running), 0).sum() / 2

    return Proxy(
        meters=(maps, outputs, variances),
        score=score,
        reference="Lin et al., Zen-NAS, ICCV 2021, arXiv:2102.01063",
    )
