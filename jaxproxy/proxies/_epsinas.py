"""epsinas: how far the outputs of two networks with constant weights differ."""

import math
from typing import Literal

import jax.numpy as jnp
from jax import Array

from jaxproxy.meters import equal_weights_outputs
from jaxproxy.proxies._proxy import Proxy, proxy

Mode = Literal["paper", "stable"]


@proxy
def epsinas(
    *, mode: Mode = "paper", weights: tuple[float, float] | None = None
) -> Proxy:
    r"""Difference between the outputs of two networks with constant weights.

    All weights and BatchNorm scales are set to :math:`w_1`, then to :math:`w_2`, all
    biases to zero. The logits of one batch of images, min-max normalised over the whole
    batch and without their exact zeros, are :math:`p_1` and :math:`p_2`; the score is

    .. math:: \operatorname{mean} |p_1 - p_2| / \operatorname{mean} (p_1 \cup p_2),

    NaN where one of the two networks has a constant output. Isomorphic architectures
    have equal scores. Images come in their own
    number and resolution, not the fidelity's, which sets width and cells only. For
    want of images, see :func:`grey_images`.

    Args:
      mode: ``"paper"`` loses the signal where float32 does. On NAS-Bench-201 with the
        default weights that is wherever no path has only skips and poolings, 41 % of
        the space; with 256 CIFAR-10 images, Spearman's rho with CIFAR-10 accuracy is
        .87 on the rest, as published. ``"stable"`` never underflows and is NaN only
        where the output does not depend on the images, 2 % of the space, but rho is
        .42 then. Quote neither without its coverage.
      weights: :math:`(w_1, w_2)`; None for the pair that is published for the space.

    Raises:
      ValueError: unknown mode, or weights that are not two positive finite numbers.
        From the scorer: a space without a network of equal weights.

    References:
      Gracheva, "Neural architecture search: two constant shared weights
      initialisations", Artificial Intelligence Review 2025, arXiv:2302.04406. The
      logits of the classes are equal, so one of them is evaluated: the score is the
      same.
    """
    given = (1.0, 1.0) if weights is None else weights
    if len(given) != 2 or not all(0 < weight < math.inf for weight in given):
        raise ValueError(f"weights must be two positive numbers, got {weights}")
    meter = equal_weights_outputs(mode=mode, weights=weights)
    return Proxy(
        meters=(meter,),
        score=lambda readings: dispersion(*readings[meter][0]),
        invariant=True,
        reference="Gracheva, Artificial Intelligence Review 2025, arXiv:2302.04406",
    )


def dispersion(first: Array, second: Array) -> Array:
    """The score of two vectors of logits ``float64[B]``; NaN if one is constant."""
    first, second = _normalised(first), _normalised(second)
    magnitude = jnp.nanmean(jnp.concatenate([first, second]))
    return jnp.nanmean(jnp.abs(first - second)) / magnitude


def _normalised(logits: Array) -> Array:
    """Logits stretched to [0, 1], NaN in place of 0, as the authors' code has it."""
    shifted = logits - logits.min()
    return jnp.where(shifted == 0, jnp.nan, shifted / shifted.max())


def grey_images(n: int, resolution: int) -> Array:
    """Images ``float32[n, resolution, resolution, 3]`` of one grey each, dark to light.

    What the paper's section 6.5 uses in place of data. The levels are graded evenly
    from -1 to 1, the range of normalised images.

    Raises:
      ValueError: fewer than two images, whose outputs could not differ.
    """
    if n < 2 or resolution < 1:
        raise ValueError(
            f"grey_images needs n >= 2 and resolution >= 1, got {n} and {resolution}"
        )
    levels = jnp.linspace(-1.0, 1.0, n, dtype=jnp.float32)
    return jnp.broadcast_to(levels[:, None, None, None], (n, resolution, resolution, 3))
