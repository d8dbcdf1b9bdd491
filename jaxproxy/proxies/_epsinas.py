"""epsinas: how far the outputs of two networks with constant weights differ."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import Array

from jaxproxy.proxies._proxy import Proxy
from jaxproxy.types import Batch, Fidelity

if TYPE_CHECKING:
    from jaxproxy.spaces import EqualWeights, Space

MODES = ("paper", "stable")


def epsinas(
    *, mode: str = "paper", weights: tuple[float, float] | None = None
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
        From ``program``: a space without a network of equal weights.

    References:
      Gracheva, "Neural architecture search: two constant shared weights
      initialisations", Artificial Intelligence Review 2025, arXiv:2302.04406. The
      logits of the classes are equal, so one of them is evaluated: the score is the
      same.
    """
    check_mode(mode)
    given = (1.0, 1.0) if weights is None else weights
    if len(given) != 2 or not all(0 < weight < math.inf for weight in given):
        raise ValueError(f"weights must be two positive numbers, got {weights}")

    def program(
        space: "Space", fidelity: Fidelity, batch: Batch
    ) -> Callable[[Array], Array]:
        network = equal_weights(space, fidelity, mode)
        pair = network.weights if weights is None else weights
        outputs = pair_outputs(network, batch.x, pair)
        return lambda code: dispersion(*outputs(code))

    return Proxy(
        "epsinas",
        program=program,
        x64=True,
        inputs="images",
        invariant=True,
        reference="Gracheva, Artificial Intelligence Review 2025, arXiv:2302.04406",
    )


def check_mode(mode: str) -> None:
    """Refuses an unknown mode."""
    if mode not in MODES:
        raise ValueError(f"unknown epsinas mode {mode!r}; choose from {MODES}")


def equal_weights(space: "Space", fidelity: Fidelity, mode: str) -> "EqualWeights":
    """The one-channel network of a space, with float32's underflow or with none."""
    if space.equal_weights is None:
        raise ValueError(
            "epsinas needs a network of equal weights, which "
            f"{space.name} does not have"
        )
    return space.equal_weights(fidelity, underflow=mode == "paper")


def pair_outputs(
    network: "EqualWeights", images: Array, weights: Sequence[float]
) -> Callable[[Array], Array]:
    """The logits ``float64[2, B]`` of a code with each of two weights."""
    values = jnp.asarray(weights, jnp.float64)
    stems = jax.lax.map(lambda weight: network.stem(images, weight), values)

    def outputs(code: Array) -> Array:
        like = jax.eval_shape(network.logits, stems[0], code, values[0])
        constant = jnp.zeros(like.shape, like.dtype)

        def step(varies: Array, given: tuple[Array, Array]) -> tuple[Array, Array]:
            weight, stem = given
            # If the first output is constant, the score is NaN whatever the second is.
            logits = jax.lax.cond(
                varies, lambda: network.logits(stem, code, weight), lambda: constant
            )
            return logits.max() > logits.min(), logits

        return jax.lax.scan(step, jnp.array(True), (values, stems))[1]

    return outputs


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
