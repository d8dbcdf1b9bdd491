"""Networks of a space, checked: what :class:`Space` delegates to."""

from collections.abc import Callable
from typing import Any, Protocol

import jax.numpy as jnp
from jax import Array

from jaxproxy.measure import EqualWeights, Network, Tap
from jaxproxy.spaces._mode import Mode
from jaxproxy.spaces._records import Task
from jaxproxy.types import Fidelity


class Networked(Protocol):
    """What the functions of this file need to know of a space."""

    @property
    def name(self) -> str: ...
    @property
    def network(self) -> Callable[[Fidelity, Mode], Network]: ...
    @property
    def norms(self) -> tuple[str, ...]: ...
    @property
    def task(self) -> Task: ...
    @property
    def equal_weights(self) -> Callable[..., EqualWeights] | None: ...


def make_network(space: Networked, fidelity: Fidelity, mode: Mode) -> Network:
    """Returns the network of a space, which has the outputs that the task says.

    Raises:
      ValueError: a normalisation that the network does not have; when it is applied,
        outputs that are not so many floats.
    """
    if mode.norm not in space.norms:
        raise ValueError(f"{space.name} has no network with norm={mode.norm}")
    network, wanted = space.network(fidelity, mode), space.task.num_outputs

    def apply(params: Any, x: Array, code: Array | None, tap: Tap) -> Array:
        outputs = network.apply(params, x, code, tap)
        # Classes that no output stands for would have no loss, and not show. A number
        # for each input is one output.
        if (outputs.shape[1:] or (1,))[-1] != wanted or not outputs.ndim:
            raise ValueError(
                f"outputs of {space.name} are {list(outputs.shape)}, but the last axis "
                f"of its task is {wanted} (num_outputs)"
            )
        if not jnp.issubdtype(outputs.dtype, jnp.floating):
            raise ValueError(f"outputs of {space.name} are {outputs.dtype}, not floats")
        return outputs

    return network._replace(apply=apply)


def make_equal_weights(
    space: Networked, fidelity: Fidelity, *, underflow: bool
) -> EqualWeights:
    """Returns the network of a space whose weights are equal, with one channel.

    Raises:
      ValueError: the space has none.
    """
    if space.equal_weights is None:
        raise ValueError(
            f"a network of equal weights is needed, which {space.name} does not have"
        )
    return space.equal_weights(fidelity, underflow=underflow)
