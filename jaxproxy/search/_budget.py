"""What an architecture may cost, on the host and on devices."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxproxy.spaces import DeviceFunctions, Space


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


_TABLE = 2**16
"""Up to how many combinations of genes are told apart by a table."""


def make_allowed(space: Space, budget: Budget) -> Callable[[Array], Array]:
    """Returns what says whether a code int32[G] is within a budget, bool[].

    By counting on the device, by a table of all codes or by asking the host, whichever
    is the first that can be.
    """
    device = space.on_device
    if device is not None and budget.costs is None:
        knows = space.constraint is None or device.valid is not None
        # Counts of a device stop at the largest int32.
        most = max(budget.params or 0, budget.macs or 0)
        if knows and most < np.iinfo(np.int32).max:
            return _counted(device, budget)
    # A space that does not count its parameters makes a network for each.
    counts = budget.params is None or space.counts is not None
    if space.num_archs <= _TABLE and counts:
        return _tabulated(space, budget)
    return _asked(space, budget)


def _counted(on_device: DeviceFunctions, budget: Budget) -> Callable[[Array], Array]:
    def allowed(code: Array) -> Array:
        good = jnp.array(True) if on_device.valid is None else on_device.valid(code)
        if budget.params is not None:
            good &= on_device.params(code) <= budget.params
        if budget.macs is not None:
            good &= on_device.macs(code) <= budget.macs
        return good

    return allowed


def _tabulated(space: Space, budget: Budget) -> Callable[[Array], Array]:
    # In lexicographic order, so that the place of a code follows from its genes.
    codes = np.indices(space.choices, np.int32).reshape(len(space.choices), -1).T
    table = budget.within(space, codes)
    places = np.cumprod([1, *space.choices[:0:-1]])[::-1].astype(np.int32)

    def allowed(code: Array) -> Array:
        return jnp.asarray(table)[(code * places).sum()]

    return allowed


def _asked(space: Space, budget: Budget) -> Callable[[Array], Array]:
    def ask(codes: np.ndarray) -> np.ndarray:
        return budget.within(space, np.asarray(codes))

    def allowed(code: Array) -> Array:
        shape = jax.ShapeDtypeStruct((), jnp.bool_)
        return jax.pure_callback(ask, shape, code, vmap_method="broadcast_all")

    return allowed


def make_cost(
    space: Space, costs: Mapping[str, float] | None = None
) -> Callable[[Array], Array]:
    """Returns what says the cost of a code int32[G], float32[], infinite for none.

    That is its cost by a table from architecture strings. Without a table it is its
    multiply-adds, by the device or by asking the host, or its parameters where the
    space does not count multiply-adds.

    Raises:
      ValueError: a table without any cost.
    """
    device = space.on_device
    if costs is None and device is not None:
        return lambda code: device.macs(code).astype(jnp.float32)
    if costs is not None and not costs:
        raise ValueError("a table of costs has at least one architecture")

    def count(codes: np.ndarray) -> np.ndarray:
        if costs is not None:
            found = (costs.get(space.to_str(code), np.inf) for code in codes)
            return np.fromiter(found, float)
        macs = space.counts is not None and space.counts.macs is not None
        return np.asarray(space.num_macs(codes) if macs else space.num_params(codes))

    def ask(codes: np.ndarray) -> np.ndarray:
        rows = np.asarray(codes).reshape(-1, len(space.choices))
        good, values = np.asarray(space.valid(rows), bool), np.full(len(rows), np.inf)
        values[good] = count(rows[good])
        return values.reshape(np.shape(codes)[:-1]).astype(np.float32)

    def cost(code: Array) -> Array:
        shape = jax.ShapeDtypeStruct((), jnp.float32)
        return jax.pure_callback(ask, shape, code, vmap_method="broadcast_all")

    return cost


def make_sampler(space: Space) -> Callable[[Array], Array] | None:
    """Returns what draws a code int32[G] by a key, where a space has its own sampler.

    That is one of the device if there is one, and otherwise asks the host.
    """
    if space.constraint is None or space.constraint.sampler is None:
        return None
    if space.on_device is not None and space.on_device.sampler is not None:
        return space.on_device.sampler

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
