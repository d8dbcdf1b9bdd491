"""Statistics over layers of how activations spread: the readings of ensembles.

Every proxy here reduces one number per layer to one per architecture. Layers that the
output cannot depend on, or that cannot depend on the input, are left out; an all-zero
activation has no directions and no variance, so it counts 0.
"""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from jax import Array

from jaxproxy.measure import Layers, Meter, Readings
from jaxproxy.meters import covariance, influence
from jaxproxy.proxies._intrain import log_participation_ratio
from jaxproxy.proxies._proxy import Proxy, proxy

Statistic = Literal["sqrt", "mean", "std", "min", "max", "last", "slope"]
Prefer = Literal["more", "less"]
_REFERENCE = "statistics over layers of the covariance of activations"


@proxy
def participation(
    *,
    layers: Layers = "conv",
    over: Statistic = "sqrt",
    relative: bool = False,
    prefer: Prefer = "more",
) -> Proxy:
    r"""Statistic over used layers of :math:`\log PR`, NaN if there is none.

    Args:
      layers: which activations, a name in ``meters.ACTIVATIONS``.
      over: statistic, a name in :data:`STATISTICS`; of ``"conv"`` layers, ``"sqrt"`` is
        :func:`~jaxproxy.proxies.capacity` with that depth correction.
      relative: whether to divide by log C, the largest value there is.
      prefer: whether ``"more"`` or ``"less"`` is better.

    Raises:
      ValueError: unknown option, naming the choices.

    References:
      Zhou et al., "InTrain", CVPR 2026, equations 1-2, arXiv:2606.18676, for PR.
    """

    def per_layer(readings: Readings, meter: Meter) -> Array:
        trace, _, size = jnp.moveaxis(readings[meter], -1, 0)
        ratio = log_participation_ratio(readings, meter, jitter=0)
        ratio = jnp.where(trace == 0, 0, ratio)
        # A single channel has log PR 0, whatever it is divided by.
        return ratio / jnp.log(jnp.maximum(size, 2)) if relative else ratio

    return _statistic(layers, over, prefer, per_layer)


@proxy
def variance(
    *, layers: Layers = "cell", over: Statistic = "mean", prefer: Prefer = "more"
) -> Proxy:
    r"""Statistic over used layers of log(1 + mean channel variance), NaN if none.

    Args:
      layers: which activations, a name in ``meters.ACTIVATIONS``.
      over: statistic, a name in :data:`STATISTICS`.
      prefer: whether ``"more"`` or ``"less"`` is better.

    Raises:
      ValueError: unknown option, naming the choices.
    """

    def per_layer(readings: Readings, meter: Meter) -> Array:
        trace, _, size = jnp.moveaxis(readings[meter], -1, 0)
        return jnp.log1p(trace / jnp.maximum(size, 1))

    return _statistic(layers, over, prefer, per_layer)


def _statistic(
    layers: Layers,
    over: Statistic,
    prefer: Prefer,
    per_layer: Callable[[Readings, Meter], Array],
) -> Proxy:
    meter, used = covariance(layers), influence(layers)

    def score(readings: Readings) -> Array:
        counted = readings.present(meter) & (readings[used] > 0)
        values = jnp.where(counted, per_layer(readings, meter), 0)
        return jnp.where(counted.any(), STATISTICS[over](values, counted), jnp.nan)

    return Proxy(
        meters=(meter, used),
        score=score,
        higher_is_better=prefer == "more",
        reference=_REFERENCE,
    )


def _count(counted: Array) -> Array:
    return jnp.maximum(counted.sum(), 1).astype(jnp.float32)


def _mean(values: Array, counted: Array) -> Array:
    return values.sum() / _count(counted)


def _std(values: Array, counted: Array) -> Array:
    return jnp.sqrt(_mean(jnp.square(_centred(values, counted)), counted))


def _centred(values: Array, counted: Array) -> Array:
    return jnp.where(counted, values - _mean(values, counted), 0)


def _slope(values: Array, counted: Array) -> Array:
    place = jnp.linspace(0, 1, len(values), dtype=values.dtype)
    place = _centred(jnp.where(counted, place, 0), counted)
    square = jnp.square(place).sum()
    slope = (place * values).sum() / jnp.where(square > 0, square, 1)
    return jnp.where(square > 0, slope, 0)


def _last(values: Array, counted: Array) -> Array:
    return values[len(values) - 1 - jnp.argmax(counted[::-1])]


STATISTICS: dict[str, Callable[[Array, Array], Array]] = {
    "sqrt": lambda values, counted: values.sum() / jnp.sqrt(_count(counted) + 1),
    "mean": _mean,
    "std": _std,
    "min": lambda values, counted: jnp.where(counted, values, jnp.inf).min(),
    "max": lambda values, counted: jnp.where(counted, values, -jnp.inf).max(),
    "last": _last,
    "slope": _slope,
}
"""(values float[L], which count bool[L]) -> float[]; values that do not count are 0.

``"sqrt"`` is the sum over sqrt(L + 1), ``"std"`` has divisor L, ``"slope"`` is that of
least squares over depth from 0 to 1, 0 for a single layer.
"""
