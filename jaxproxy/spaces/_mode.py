"""How the network of a space is built: weights, normalisation, operations."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from jaxproxy.measure import WEIGHTS, Draws, Network, Tap, network_from_nnx
from jaxproxy.types import Fidelity


class Mode(NamedTuple):
    """What the modules of a network have in common."""

    weights: str = "kaiming"
    """Name in :data:`~jaxproxy.measure.WEIGHTS`."""
    norm: str = "batch"
    """Name in :data:`~jaxproxy.measure.NORMS`; a space declares those that it has."""
    plain: bool = False
    """Whether its operations can be differentiated with respect to parameters, in
    forward mode, and twice; where that is slower, they cannot otherwise."""

    def draw(self, draws: Draws, shape: tuple[int, ...], stacked: int = 0) -> Array:
        """Returns weights of a kernel or matrix, or of several in leading axes."""
        fan_in = math.prod(shape[stacked:-1])
        fan_out = math.prod(shape[stacked:-2]) * shape[-1]
        numbers = draws.normal(math.prod(shape)).reshape(shape)
        return WEIGHTS[self.weights](numbers, fan_in, fan_out)

    def rescaled(self, name: str, x: Array, tap: Tap) -> Array:
        """Returns ``x`` over its largest entry, if nothing else keeps it in range."""
        if self.norm != "none":
            return x
        x, scale = rescale(x)
        tap(f"{name}.scale", scale[None], "log_scale")
        return x


def network_of(
    make: Callable[[Fidelity, nnx.Rngs], nnx.Module],
) -> Callable[[Fidelity, Mode], Network]:
    """Returns the ``network`` of a space whose module is made of Flax's own layers.

    Convolutions, linear layers, normalisations, ``jax.nn.relu`` and the input are
    tapped from outside, and weights are drawn as a mode says.

    Args:
      make: builds, at a size, a module that is called as ``module(x, code, tap)``. It
        may tap more by ``x = tap(name, x, kind)``.
    """

    def network(fidelity: Fidelity, mode: Mode) -> Network:
        return network_from_nnx(
            lambda rngs: make(fidelity, rngs),
            weights=mode.weights,
            norm=mode.norm,
            takes_code=True,
        )

    return network


def rescale(x: Array) -> tuple[Array, Array]:
    """Returns an activation over its largest magnitude, and the log of that, float[].

    It counts as a constant, so gradients change by the same factor. All zeros stay.
    """
    largest = lax.stop_gradient(jnp.abs(x).max())
    largest = jnp.where(largest > 0, largest, 1)
    return x / largest, jnp.log(largest)
