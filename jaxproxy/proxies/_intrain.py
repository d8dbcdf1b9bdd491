r"""InTrain and its forward half, capacity.

Activations of layer l, as rows of a matrix, have covariance C_l. Its participation
ratio PR = (tr C)^2 / ||C||_F^2 says along how many directions they spread. With
gamma = sum_l log PR(C_l), h_i = min(1, std(g_i) / (max |g_i| + eps)) for the gradient
g_i of each parameter tensor and o = sum_i h_i, the score is gamma (1 + o) / log(L + 1).
"""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from jax import Array

from jaxproxy.measure import Layers, Meter, Params, Readings
from jaxproxy.meters import covariance, gradient
from jaxproxy.proxies._proxy import Proxy, proxy

Coupling = Literal["product", "sum", "gamma", "o"]
Dead = Literal["paper", "live"]
Depth = Literal["log", "sqrt", "linear", "none"]
Observations = Literal["pixels", "raw", "images"]

DEPTHS: dict[str, Callable[[Array], Array]] = {
    "log": lambda n: jnp.log(n + 1),
    "sqrt": lambda n: jnp.sqrt(n + 1),
    "linear": lambda n: n + 1,
    "none": jnp.ones_like,
}
_JITTER = 1e-10
_PAPER = "Zhou et al., InTrain, CVPR 2026, arXiv:2606.18676"


def log_participation_ratio(
    readings: Readings, meter: Meter, *, jitter: float = _JITTER
) -> Array:
    """Logarithm of each layer's participation ratio, float[L].

    The paper adds ``jitter`` times the identity, so an all-zero activation has
    PR = C, the largest value there is. Slots the architecture lacks read 0.

    Args:
      readings: of one architecture.
      meter: a :func:`~jaxproxy.meters.covariance` meter.
      jitter: added to every eigenvalue.
    """
    trace, square, channels = jnp.moveaxis(readings[meter], -1, 0)
    trace_j = trace + jitter * channels
    square_j = square + 2 * jitter * trace + jitter**2 * channels
    # Large and small activations alike: the square of a trace of 1e-20 underflows.
    ratio = 2 * jnp.log(trace_j) - jnp.log(jnp.maximum(square_j, _tiny(square)))
    present = readings.present(meter)
    # Not "unless positive": NaN is no dead layer and has to stay visible.
    ratio = jnp.where(trace <= 0, jnp.log(jnp.where(present, channels, 1)), ratio)
    return jnp.where(present, ratio, 0)


def gamma(readings: Readings, meter: Meter, *, dead: str) -> tuple[Array, Array]:
    """Sum of log PR over layers and how many there are, both float[].

    Args:
      readings: of one architecture.
      meter: a covariance meter.
      dead: ``"paper"`` counts a layer with zero covariance as PR = C, ``"live"`` leaves
        it out.
    """
    counted = readings.present(meter)
    if dead == "live":
        counted &= ~(readings[meter][:, 0] <= 0)
    ratios = log_participation_ratio(readings, meter)
    return jnp.where(counted, ratios, 0).sum(), counted.sum().astype(ratios.dtype)


def gradient_health(readings: Readings, meter: Meter, *, eps: float = 1e-10) -> Array:
    """Health h of each parameter tensor, float[P]: 0 for one that gets no gradient.

    Args:
      readings: of one architecture.
      meter: a :func:`~jaxproxy.meters.gradient` meter.
      eps: added to the largest magnitude.
    """
    std, largest = jnp.moveaxis(readings[meter], -1, 0)
    return jnp.minimum(1, std / (largest + eps))


@proxy
def capacity(
    *,
    layers: Layers = "conv",
    depth: Depth = "log",
    dead: Dead = "live",
    rows: Observations = "pixels",
) -> Proxy:
    r"""InTrain's forward half: :math:`\sum_l \log PR(C_l) / \log(L + 1)`, live layers.

    It ranks NAS-Bench-201 as well as the whole, at a fraction of the cost.

    Args:
      layers: which activations count, a name in ``meters.ACTIVATIONS``.
      depth: correction for the number of layers L: ``"log"`` divides by log(L + 1),
        ``"sqrt"`` by its square root, ``"linear"`` by L + 1, ``"none"`` by nothing.
      dead: ``"live"`` leaves all-zero activations out of the sum and of L, ``"paper"``
        counts them as the paper's jitter would.
      rows: see :func:`~jaxproxy.meters.covariance`.
    """
    meter = covariance(layers, rows=rows)

    def score(readings: Readings) -> Array:
        total, count = gamma(readings, meter, dead=dead)
        return total / DEPTHS[depth](count)

    return Proxy(meters=(meter,), score=score, reference=_PAPER)


@proxy
def intrain(
    *,
    layers: Layers = "conv",
    params: Params = "weights",
    dead: Dead = "paper",
    coupling: Coupling = "product",
    depth: Depth = "log",
    rows: Observations = "pixels",
) -> Proxy:
    r"""Intrinsic trainability, :math:`\gamma (1 + o) / \log(L + 1)`.

    The paper leaves open which layers and tensors count; the defaults are the reading
    that reproduces its published correlations.

    Args:
      layers: which activations count in gamma, a name in ``meters.ACTIVATIONS``.
      params: which tensors count in o, a name in ``meters.PARAMETERS``.
      dead: ``"paper"`` counts all-zero activations with PR = C, ``"live"`` none.
      coupling: ``"product"`` is gamma (1 + o), ``"sum"`` gamma + o; ``"gamma"`` or
        ``"o"`` alone.
      depth: see :func:`capacity`; it applies to every coupling.
      rows: see :func:`~jaxproxy.meters.covariance`.

    References:
      Zhou et al., "InTrain", CVPR 2026, equations 1-5, arXiv:2606.18676.
    """
    activations, gradients = covariance(layers, rows=rows), gradient(params)

    def score(readings: Readings) -> Array:
        total, count = gamma(readings, activations, dead=dead)
        health = gradient_health(readings, gradients).sum()
        coupled = {
            "product": total * (1 + health),
            "sum": total + health,
            "gamma": total,
            "o": health,
        }[coupling]
        return coupled / DEPTHS[depth](count)

    return Proxy(meters=(activations, gradients), score=score, reference=_PAPER)


def _tiny(like: Array) -> Array:
    return jnp.asarray(jnp.finfo(like.dtype).tiny, like.dtype)
