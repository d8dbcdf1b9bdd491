"""An activation and its channel moments, each computed at most once."""

from collections.abc import Callable
from functools import cached_property

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
        self.shape: tuple[int, ...] = (
            shape if shape is not None else value.shape  # type: ignore[union-attr]
        )

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
