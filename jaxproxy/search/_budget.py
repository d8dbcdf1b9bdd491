"""What an architecture may cost, and host functions that devices call."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxproxy.spaces import Space


class Budget(NamedTuple):
    """What an architecture may have at most; None for no limit."""

    params: int | None = None
    """Trainable parameters."""
    macs: int | None = None
    """Multiply-adds of one input."""
    costs: Mapping[str, float] | None = None
    """Architecture string -> its cost, such as a latency; what has none is refused."""
    cost: float | None = None
    """The most of ``costs``."""

    def within(self, space: Space, codes: np.ndarray) -> np.ndarray:
        """Returns which codes int[..., G] are architectures within it, bool[...].

        Raises:
          ValueError: the space does not count what is limited.
        """
        rows = np.asarray(codes).reshape(-1, len(space.choices))
        good = np.asarray(space.valid(rows), bool)
        for limit, count in (
            (self.params, space.num_params),
            (self.macs, space.num_macs),
        ):
            if limit is not None:
                # What is no architecture cannot be counted.
                good[good] = np.asarray(count(rows[good])) <= limit
        if self.cost is not None:
            costs = self.costs or {}
            known = (costs.get(space.to_str(row), np.inf) for row in rows[good])
            good[good] = np.fromiter(known, float) <= self.cost
        return good.reshape(np.shape(codes)[:-1])


def host_allowed(space: Space, budget: Budget) -> Callable[[Array], Array]:
    """Returns what asks the host whether a code int32[G] is within a budget, bool[]."""

    def ask(codes: np.ndarray) -> np.ndarray:
        return budget.within(space, np.asarray(codes))

    def allowed(code: Array) -> Array:
        shape = jax.ShapeDtypeStruct((), jnp.bool_)
        return jax.pure_callback(ask, shape, code, vmap_method="broadcast_all")

    return allowed


def host_cost(space: Space) -> Callable[[Array], Array]:
    """Returns what asks the host for the multiply-adds of a code, or its parameters.

    In float32[]; infinite for what is no architecture.
    """
    counted = space.counts is not None and space.counts.macs is not None

    def ask(codes: np.ndarray) -> np.ndarray:
        rows = np.asarray(codes).reshape(-1, len(space.choices))
        good, costs = np.asarray(space.valid(rows), bool), np.full(len(rows), np.inf)
        count = space.num_macs if counted else space.num_params
        costs[good] = count(rows[good])
        return costs.reshape(np.shape(codes)[:-1]).astype(np.float32)

    def cost(code: Array) -> Array:
        shape = jax.ShapeDtypeStruct((), jnp.float32)
        return jax.pure_callback(ask, shape, code, vmap_method="broadcast_all")

    return cost


def host_sampler(space: Space) -> Callable[[Array], Array]:
    """Returns what draws a code int32[G] on the host, by a key."""

    def draw(seeds: np.ndarray) -> np.ndarray:
        codes = [space.sample(np.random.default_rng(s), 1)[0] for s in seeds.ravel()]
        return np.stack(codes).reshape(*seeds.shape, -1).astype(np.int32)

    def sample(key: Array) -> Array:
        shape = jax.ShapeDtypeStruct((len(space.choices),), jnp.int32)
        seed = jax.random.bits(key, (), jnp.uint32)
        return jax.pure_callback(
            lambda seeds: draw(np.asarray(seeds)),
            shape,
            seed,
            vmap_method="broadcast_all",
        )

    return sample
