"""Checks of users' own meters."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxproxy.measure import (
    Activation,
    ActivationMeter,
    Meter,
    MeterSet,
    Parameter,
    ParameterMeter,
)
from jaxproxy.proxies import Proxy
from jaxproxy.spaces import Space
from jaxproxy.testing._checks import SMALL, check_proxy, require
from jaxproxy.types import Fidelity

_BATCH, _SIDE, _NARROW, _WIDE = 4, 3, 3, 8
_VECTORS = frozenset({"linear", "logits", "features", "log_scale"})
"""Kinds of taps that never see images."""


def check_meter(
    meter: Meter, space: Space, *, fidelity: Fidelity = SMALL, num: int = 6
) -> None:
    """Raises ValueError if a meter breaks its contract.

    It must have a name and give arrays of floats. A layer some of whose channels do not
    exist must read as the narrow one, and one without gradients as zero. Its readings
    of a space must have a row for each slot, zero where there is none, whichever
    architectures share a block.

    Args:
      meter: what to check.
      space: where.
      fidelity: small, since a program is compiled.
      num: how many random architectures, at least 2.
    """
    MeterSet.of([meter])  # refuses one without a name
    if isinstance(meter, ActivationMeter):
        _check_activations(meter)
    elif isinstance(meter, ParameterMeter):
        _check_parameters(meter)
    summed = Proxy(
        f"sum of {meter.name}",
        meters=(meter,),
        score=lambda readings: jnp.abs(readings[meter]).sum(),
    )
    check_proxy(summed, space, fidelity=fidelity, num=num)


def _check_activations(meter: ActivationMeter) -> None:
    shape = (_BATCH, _SIDE, _SIDE, _NARROW)
    if _VECTORS.issuperset(meter.kinds):
        shape = (_BATCH, _NARROW)
    x, gradient = np.random.default_rng(0).standard_normal((2, *shape), np.float32)

    @jax.jit
    def read(x: Array, gradient: Array, live: Array | None) -> Array:
        activation = Activation(x, live=live)
        if meter.gradient:
            activation = activation.with_gradient(gradient)
        return meter.measure(activation)

    narrow = read(jnp.asarray(x), jnp.asarray(gradient), None)
    _check_array(meter, narrow)
    wide = read(_widened(x, 1), _widened(gradient, 1), jnp.int32(_NARROW))
    _check_alike(meter, wide, narrow)
    if meter.gradient:
        dead = read(jnp.asarray(x), jnp.zeros(shape), None)
        require(not np.any(dead), f"{meter.name} is zero where gradients are")


def _check_parameters(meter: ParameterMeter) -> None:
    shape = (_SIDE, _SIDE, _NARROW, _NARROW)
    weight, grad = np.random.default_rng(0).standard_normal((2, *shape), np.float32)

    @jax.jit
    def read(weight: Array, gradient: Array, size: Array | None) -> Array:
        if meter.reads == "slope":
            return meter.measure(Parameter(None, slopes=gradient[0, 0, 0], size=size))
        given = gradient if meter.reads == "gradient" else None
        return meter.measure(Parameter(weight, gradient=given, size=size))

    narrow = read(jnp.asarray(weight), jnp.asarray(grad), None)
    _check_array(meter, narrow)
    if meter.reads != "slope":  # which are one number an image
        wide = read(_widened(weight, 2), _widened(grad, 2), jnp.int32(weight.size))
        _check_alike(meter, wide, narrow)


def _widened(array: np.ndarray, axes: int) -> Array:
    """Returns an array with zeros behind the channels of its last axes."""
    pads = [(0, 0)] * (array.ndim - axes) + [(0, _WIDE - _NARROW)] * axes
    return jnp.asarray(np.pad(array, pads))


def _check_array(meter: Meter, reading: Array) -> None:
    is_array = isinstance(reading, jax.Array)
    floats = is_array and jnp.issubdtype(reading.dtype, jnp.floating)
    require(floats, f"{meter.name} gives one array of floats")
    finite = bool(jnp.isfinite(reading).all())
    require(finite, f"{meter.name} is finite where its taps are")


def _check_alike(meter: Meter, wide: Array, narrow: Array) -> None:
    """Requires equal readings or, of lists of units, equal ones but for zeros."""
    here, there = np.asarray(wide), np.asarray(narrow)
    if here.shape != there.shape:
        here, there = here[here != 0], there[there != 0]
    alike = here.shape == there.shape and np.allclose(here, there, rtol=1e-4, atol=1e-6)
    require(alike, f"{meter.name} does not see channels that do not exist")
