"""The search for epsinas' two weights on a new space (host code)."""

from functools import partial
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxproxy.measure import EqualWeights
from jaxproxy.options import check_choices
from jaxproxy.proxies._epsinas import Mode
from jaxproxy.spaces import Space
from jaxproxy.types import PRESETS, Fidelity


def search_weights(
    space: Space,
    images: Array,
    *,
    fidelity: Fidelity = PRESETS["paper"],
    mode: Mode = "paper",
    exponents: tuple[int, int] = (-7, 0),
    num_archs: int = 100,
    max_nan: float = 0.1,
    seed: int = 21,
) -> tuple[float, float]:
    """The widest pair of powers of ten for which enough architectures have a score.

    Pairs ``(10**a, 10**(a + k))`` are tried from the largest ``k`` down and, for each,
    from the smallest ``a`` up. Each architecture is evaluated once per power.

    Args:
      space: the space to sample from.
      images: float32[B, R, R, 3].
      fidelity: width and cells of the network.
      mode: as in :func:`epsinas`.
      exponents: the smallest and the largest exponent.
      num_archs: random architectures to try.
      max_nan: the share of them without a score must be below this.
      seed: of the sample.

    Raises:
      ValueError: unknown mode, exponents out of order, a space without a network of
        equal weights, or no pair leaves few enough architectures without a score.

    References:
      Gracheva, arXiv:2302.04406, and its code's ``search_weights``, whose sample is
      another one.
    """
    check_choices(mode=(mode, get_args(Mode)))
    low, high = exponents
    if low >= high:
        raise ValueError(f"exponents must be (low, high), low < high, got {exponents}")
    codes = space.sample(np.random.default_rng(seed), num_archs)
    with jax.enable_x64(True):
        network = space.make_equal_weights(fidelity, underflow=mode == "paper")
        powers = jnp.asarray(10.0 ** np.arange(low, high + 1), jnp.float64)
        varies = np.asarray(_varies(network, jnp.asarray(images), codes, powers))
    # The score of a pair is NaN where one of the two outputs is constant.
    missing = 1 - (varies[:, None] & varies).mean(-1)
    for width in range(high - low, 0, -1):
        for first in range(high - low - width + 1):
            if missing[first, first + width] < max_nan:
                return 10.0 ** (low + first), 10.0 ** (low + first + width)
    raise ValueError(
        f"no pair of weights from 1e{low} to 1e{high} leaves less than {max_nan:.0%} "
        f"of {num_archs} architectures of {space.name} without a score; "
        f"the best leaves {missing[np.triu_indices(len(missing), 1)].min():.0%}"
    )


@partial(jax.jit, static_argnums=0)
def _varies(
    network: EqualWeights, images: Array, codes: Array, weights: Array
) -> Array:
    """Whether a weight leaves an output that depends on the image, bool[W, N]."""

    def of_weight(weight: Array) -> Array:
        stem = network.stem(images, weight)
        logits = jax.lax.map(lambda code: network.logits(stem, code, weight), codes)
        return logits.max(1) > logits.min(1)

    return jax.lax.map(of_weight, weights)
