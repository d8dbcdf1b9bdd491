"""What meters of taps are given: activations, and parameter tensors."""

import copy
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxproxy.ops import moments


class Activation:
    """What passes a tap: float[B, ..., C] and, where it is known already, its moments.

    Networks that have normalised an activation know its mean and covariance; giving
    them here spares every meter the pass over memory. Both the value and the moments
    may be thunks, called only if a meter asks.

    Attributes:
      live: int32[], how many channels exist, the first ones; the others are zero, and
        no meter counts them. ``None`` for all, which is what the network has unless
        its widths are data.
      used: bool[], whether the network's output can depend on it, as far as the
        structure of the architecture tells; True where the network does not know.
      gradient: float[B, ..., C] of the loss, for meters that ask for it; else ``None``.
    """

    def __init__(
        self,
        value: Array | Callable[[], Array],
        shape: tuple[int, ...] | None = None,
        *,
        moments: Callable[[], tuple[Array, Array]] | None = None,
        used: Array | bool = True,
        live: Array | None = None,
    ) -> None:
        """Wraps an array, or a thunk and its shape."""
        self._value = value
        self._moments = moments
        self.used, self.live = used, live
        self.gradient: Array | None = None
        self.shape: tuple[int, ...] = (
            shape if shape is not None else value.shape  # type: ignore[union-attr]
        )

    def with_gradient(self, gradient: Array) -> "Activation":
        """Returns the same activation with the gradient of the loss by it."""
        other = copy.copy(self)
        other.gradient = gradient
        return other

    @cached_property
    def value(self) -> Array:
        """float[B, ..., C]."""
        return self._value() if callable(self._value) else self._value

    @property
    def channels(self) -> int:
        """C, of the array."""
        return self.shape[-1]

    @property
    def size(self) -> Array | int:
        """How many channels exist."""
        return self.channels if self.live is None else self.live

    @property
    def exists(self) -> Array:
        """Which channels do, bool[C]."""
        return jnp.arange(self.channels, dtype=jnp.int32) < self.size

    @property
    def samples(self) -> int:
        """Rows of the channel covariance, B*H*W for images."""
        size = 1
        for n in self.shape[:-1]:
            size *= n
        return size

    @cached_property
    def moments(self) -> tuple[Array, Array]:
        """Channel mean float[C] and population covariance float[C, C]."""
        return self._moments() if self._moments is not None else moments(self.value)


class Parameter(NamedTuple):
    """A parameter tensor, and what a meter asks for of its gradient."""

    weight: Array | None
    """The tensor itself; ``None`` for a meter of slopes."""
    gradient: Array | None = None
    """Shaped like it, of the loss."""
    slopes: Array | None = None
    """float[B], derivatives by its first element, one for each image."""
    size: Array | None = None
    """int32[], how many elements exist; ``None`` for all.

    Where widths are data, tensors have the size of the widest, zeros in between.
    """
