"""Exact counts of architectures, by a space's own functions or from its network."""

import functools
from collections.abc import Callable, Mapping
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxproxy.measure import (
    PARAMETERS,
    Network,
    Parameter,
    ParameterMeter,
    collect,
)
from jaxproxy.spaces._mode import Mode
from jaxproxy.spaces._records import Counts, Task
from jaxproxy.startup import numerics
from jaxproxy.types import Fidelity


class Counted(Protocol):
    """What the functions of this file need to know of a space."""

    @property
    def name(self) -> str: ...
    @property
    def network(self) -> Callable[[Fidelity, Mode], Network]: ...
    @property
    def counts(self) -> Counts | None: ...
    @property
    def task(self) -> Task: ...
    @property
    def presets(self) -> Mapping[str, Fidelity]: ...


def num_params(space: Counted, codes: np.ndarray) -> np.ndarray:
    """Returns trainable parameters int64[...] of the network that is trained.

    A space that does not count them has those of its network at the preset ``paper``.
    """
    if space.counts is None:
        return _sizes(space, codes).sum(-1)
    return np.asarray(space.counts.params(codes))


def num_macs(space: Counted, codes: np.ndarray) -> np.ndarray:
    """Returns multiply-adds int64[...] of one input through the trained network.

    Raises:
      ValueError: the space does not count them.
    """
    if space.counts is None or space.counts.macs is None:
        raise ValueError(f"{space.name} does not count its multiply-adds")
    return np.asarray(space.counts.macs(codes))


def num_tensors(space: Counted, codes: np.ndarray) -> np.ndarray:
    """Returns named parameter tensors int64[...] of the trained network.

    Raises:
      ValueError: the space counts parameters, but not these.
    """
    if space.counts is None:
        return (_sizes(space, codes) > 0).sum(-1)
    if space.counts.tensors is None:
        raise ValueError(f"{space.name} does not count its parameter tensors")
    return np.asarray(space.counts.tensors(codes))


def _sizes(space: Counted, codes: np.ndarray) -> np.ndarray:
    """Returns the elements of each tensor int64[..., P], 0 for one that is absent."""
    codes = np.asarray(codes, np.int32)
    measure = _measure_sizes(space)
    rows = [np.asarray(measure(code)) for code in codes.reshape(-1, codes.shape[-1])]
    return np.array(rows, np.int64).reshape(*codes.shape[:-1], -1)


@functools.lru_cache
def _measure_sizes(space: Counted) -> Callable[[np.ndarray], Array]:
    """Returns code -> int32[P]; XLA leaves out all of the network but the sizes."""

    def size(parameter: Parameter) -> Array:
        assert parameter.weight is not None  # only meters of slopes get none
        live = parameter.weight.size if parameter.size is None else parameter.size
        return jnp.asarray(live, jnp.int32)

    meter = ParameterMeter(PARAMETERS["all"], size, name="size")
    fidelity = space.presets["paper"]
    network = space.network(fidelity, Mode())

    @numerics("float32")
    @jax.jit
    def measure(code: Array) -> Array:
        params = network.init(jax.random.key(0))
        batch = space.task.batch(jax.random.key(0), fidelity)
        return collect(network, params, batch, code, [meter])[meter]

    return measure
