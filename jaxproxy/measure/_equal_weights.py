"""Networks whose weights all have one value: what is measured of them, and how."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, final

import jax
import jax.numpy as jnp
from jax import Array

from jaxproxy.measure._meter import Meter


class EqualWeights(NamedTuple):
    """A network whose weights all have one value, in two steps.

    Attributes:
      stem: ``(images float[B, R, R, 3], weight float64[]) -> state``, the part that no
        gene changes: call it once for all architectures.
      logits: ``(state, code int32[G], weight float64[]) -> float64[B]``, one of the
        outputs, since all are equal, up to a positive factor.
      weights: the two values that are published for the space.
    """

    stem: Callable[[Array, Array], Array]
    logits: Callable[[Array, Array, Array], Array]
    weights: tuple[float, float] = (1e-7, 1.0)


@final
@dataclass(frozen=True, eq=False)
class EqualWeightsMeter(Meter):
    """The outputs float64[1, 2, B] for all images of a network with two weights.

    Its network has one channel and runs in float64, in a pass of its own.
    """

    weights: tuple[float, float] | None = None
    """The two values; None for those that are published for the space."""
    underflow: bool = False
    """Whether products are rounded near zero as float32 does."""

    def values(self, network: EqualWeights) -> Array:
        """Returns the two weights, float64[2]."""
        pair = network.weights if self.weights is None else self.weights
        return jnp.asarray(pair, jnp.float64)

    def stems(self, network: EqualWeights, images: Array) -> Array:
        """Returns what no gene changes, once for each of the two weights."""
        return jax.lax.map(
            lambda weight: network.stem(images, weight), self.values(network)
        )

    def outputs(self, network: EqualWeights, stems: Array, code: Array) -> Array:
        """Returns the logits float64[2, B] of a code with each of the two weights.

        If those of the first are constant, the others are not computed but 0: whatever
        they are, no scale can be had of the first.
        """
        values = self.values(network)
        like = jax.eval_shape(network.logits, stems[0], code, values[0])
        constant = jnp.zeros(like.shape, like.dtype)

        def step(varies: Array, given: tuple[Array, Array]) -> tuple[Array, Array]:
            weight, stem = given
            logits = jax.lax.cond(
                varies, lambda: network.logits(stem, code, weight), lambda: constant
            )
            return logits.max() > logits.min(), logits

        return jax.lax.scan(step, jnp.array(True), (values, stems))[1]
