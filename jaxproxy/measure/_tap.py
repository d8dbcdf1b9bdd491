"""Taps: named places of a network where readings are taken.

Backward readings are taken by *sinks*. A tap is an identity with an extra input, a
zero array shaped like the reading; its hand-written gradient passes the cotangent on
and returns the reading as "the gradient of the sink". One backward pass with respect
to the sinks therefore yields every summary of activation and parameter gradients, and
keeps none of the gradients themselves.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import get_opaque_trace_state

from jaxproxy.measure._activation import Activation
from jaxproxy.measure._meter import MeterSet
from jaxproxy.measure._slot import REACHED, Rows, Slot, Values

Substitute = Callable[[str, Array, Array | None], Array]
"""(kind, weight, how many elements exist) -> what the network has in its place."""


class Recorder:
    """What a tap writes down while a network is traced; kernels write here directly.

    Attributes:
      meters: what is asked for.
      planning: whether shapes alone are wanted, some of which are known already.
      forward: readings without gradients.
      sinks: name -> kind -> rows of the readings of a tap that gets no gradient.
      kept: buffers that were handed back.
      kinds: of all taps that were passed.
      substitute: gives other weights in place of the network's, by their kind.
    """

    def __init__(
        self,
        meters: MeterSet,
        sinks: dict[str, Any] | None = None,
        scratch: dict[str, Any] | None = None,
        *,
        planning: bool = False,
        substitute: Substitute | None = None,
    ) -> None:
        """Starts empty; without sinks, learns which are needed."""
        self.meters, self.planning, self.substitute = meters, planning, substitute
        self.forward: list[Rows] = []
        self.sinks: dict[str, dict[str, Rows]] = {}
        self.kept: dict[str, Any] = {}
        self.kinds: set[str] = set()
        self._given = sinks
        self._scratch = scratch
        self._names: set[str] = set()
        self._depth = 0
        self._trace = get_opaque_trace_state(convention="flax")

    def inside(
        self, sinks: dict[str, Any] | None = None, *, planning: bool = False
    ) -> "Recorder":
        """Returns a recorder for a piece of the network, which is traced apart."""
        options = {"planning": planning, "substitute": self.substitute}
        return Recorder(self.meters, sinks, **options)

    def replaced(self, kind: str, weight: Array, size: Array | None = None) -> Array:
        """Returns what the network has in place of a weight."""
        return self.substitute(kind, weight, size) if self.substitute else weight

    def record(
        self, slots: tuple[Slot, ...], values: Values, present: Array | None = None
    ) -> None:
        """Adds forward readings that a module took itself, one row per slot.

        Raises:
          ValueError: called inside another transformation.
        """
        if values:
            self._check_trace(slots[0].name)
            self.forward.append(Rows(slots, values, present))

    def sink(self, name: str, rows: dict[str, Rows]) -> dict[str, Values]:
        """Returns arrays whose gradients are to be the readings of a tap, by kind.

        ``rows.values`` have the shapes of the readings and, if :data:`REACHED` is among
        them, are the readings of a tap that the backward pass never reaches.

        Raises:
          ValueError: called inside another transformation.
        """
        rows = {kind: r for kind, r in rows.items() if r.values}
        if rows:
            self._check_trace(name)
        self.sinks[name] = rows
        if self._given is not None:
            return self._given[name]
        return {kind: r.values for kind, r in rows.items()}

    def scratch(self, name: str, like: Any) -> Any:
        """Returns buffers shaped like a tree, of any content: what was left, or none.

        The module hands them back by :meth:`keep`, or, if it is differentiated, as the
        gradient of the buffers, so that the next architecture need not clear them.
        """
        if self._scratch is None:
            return jax.tree.map(lambda s: lax.empty(s.shape, s.dtype), like)
        return self._scratch[name]

    def keep(self, name: str, buffers: Any) -> None:
        """Hands back the buffers of :meth:`scratch` after a forward pass."""
        self.kept[name] = buffers

    def advance(self, steps: int = 1) -> int:
        """Returns the depth of the next slot, and moves on by ``steps``."""
        self._depth += steps
        return self._depth - steps

    def claim(self, name: str) -> None:
        """Takes a name, which is no other tap's.

        Raises:
          ValueError: it is.
        """
        if name in self._names:
            raise ValueError(
                f"the tap {name!r} is used twice; names must differ, and a layer that "
                "is called twice would mix two readings"
            )
        self._names.add(name)

    def _check_trace(self, name: str) -> None:
        # Inside a scan, the gradient of a sink would silently be a sum over steps.
        if get_opaque_trace_state(convention="flax") != self._trace:
            raise ValueError(
                f"the tap {name!r} is inside a jit, scan, cond, vmap or remat of the "
                "model, which its reading cannot leave; build the model without it"
            )


class Tap:
    """Collects readings while a network is traced; made anew for every trace.

    A tap that a meter reads must not lie inside another transformation (jit, scan,
    cond, vmap, remat): its reading could not leave, or would be a sum over iterations.
    """

    def __init__(self, meters: MeterSet | Recorder) -> None:
        """Taps a set of meters, or writes to a recorder that has one."""
        self.recorder = meters if isinstance(meters, Recorder) else Recorder(meters)
        self._parameters: dict[str, Slot] = {}

    def __call__(
        self, name: str, x: Array, kind: str = "activation", live: Array | None = None
    ) -> Array:
        """Measures an activation float[B, ..., C] and returns it.

        Where the width is data, the first ``live`` channels exist, int32[], and the
        others are zero.

        Raises:
          ValueError: a name used twice, which would mix two readings, or a tap inside
            another transformation.
        """
        recorder, meters = self.recorder, self.recorder.meters
        slots = (Slot(name, kind, recorder.advance(), x.shape[-1]),)
        recorder.kinds.add(kind)
        backward = meters.wants("backward", kind)
        if not (backward or meters.wants("forward", kind)):
            return x
        recorder.claim(name)
        recorder.record(slots, _row(meters.forward(kind, Activation(x, live=live))))
        if not backward:
            return x
        zeros = jax.eval_shape(
            lambda x: meters.backward(kind, Activation(x, live=live), x), x
        )
        sink = recorder.sink(name, {kind: Rows(slots, _row(_zeros(zeros)))})
        return _tap_activation(meters, kind, x, live, sink[kind])

    def parameter(
        self, name: str, weight: Array, kind: str, size: Array | None = None
    ) -> Array:
        """Measures a parameter tensor and its gradient, and returns the tensor.

        If anything is to be known of the gradient, it stops here. Where widths are
        data, ``size`` elements exist, int32[], the first among them; the others are
        zero, and so must be their gradients.

        Raises:
          ValueError: as for activations.
        """
        recorder, meters = self.recorder, self.recorder.meters
        weight = recorder.replaced(kind, weight, size)
        channels = weight.shape[-1] if weight.ndim else 1
        slots = (Slot(name, kind, recorder.advance(), channels),)
        recorder.kinds.add(kind)
        self._parameters[name] = slots[0]
        alone = meters.wants("weight", kind)
        if not (alone or meters.wants("gradient", kind)):
            return weight
        recorder.claim(name)
        recorder.record(slots, _row(meters.weight(kind, weight, size)))
        if not meters.wants("gradient", kind):
            return weight
        unused = meters.gradient(kind, weight, jnp.zeros_like(weight), size)
        values = {**_row(unused), REACHED: jnp.zeros(1, weight.dtype)}
        sink = recorder.sink(name, {kind: Rows(slots, values)})
        return _tap_parameter(meters, kind, weight, size, sink[kind])

    def slope(self, name: str, y: Array, derivative: Callable[[], Array]) -> Array:
        """Measures the slopes of a parameter, float[B], and returns ``y``.

        Those of the loss by its first element, image by image; none sees another.

        Args:
          name: of a parameter that was tapped before.
          y: float[B, ..., C], output of its layer.
          derivative: gives that of ``y[..., 0]`` by the element, float[B, ...].

        Raises:
          ValueError: as for activations.
        """
        recorder, slot = self.recorder, self._parameters[name]
        if not recorder.meters.wants("slope", slot.kind):
            return y
        key = f"{name}.slope"
        recorder.claim(key)
        unused = recorder.meters.slope(slot.kind, jnp.zeros(len(y), y.dtype))
        sink = recorder.sink(key, {slot.kind: Rows((slot,), _row(unused))})
        own = {meter: row[0] for meter, row in sink[slot.kind].items()}
        return _tap_slope(recorder.meters, slot.kind, y, derivative(), own)


def _row(values: Values) -> Values:
    return {name: value[None] for name, value in values.items()}


def _zeros(shapes: Any) -> Any:
    return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _tap_activation(
    meters: MeterSet, kind: str, x: Array, live: Array | None, sink: Values
) -> Array:
    return x


def _tap_activation_backward(
    meters: MeterSet, kind: str, saved: tuple[Array, Array | None], cotangent: Array
) -> tuple[Array, None, Values]:
    activation = Activation(saved[0], live=saved[1])
    return cotangent, None, _row(meters.backward(kind, activation, cotangent))


_tap_activation.defvjp(
    lambda meters, kind, x, live, sink: (x, (x, live)), _tap_activation_backward
)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _tap_parameter(
    meters: MeterSet, kind: str, weight: Array, size: Array | None, sink: Values
) -> Array:
    return weight


def _tap_parameter_backward(
    meters: MeterSet, kind: str, saved: tuple[Array, Array | None], cotangent: Array
) -> tuple[Array, None, Values]:
    weight, size = saved
    reading = _row(meters.gradient(kind, weight, cotangent, size))
    reached = {REACHED: jnp.ones(1, weight.dtype)}
    return jnp.zeros_like(weight), None, {**reading, **reached}


_tap_parameter.defvjp(
    lambda meters, kind, w, size, sink: (w, (w, size)), _tap_parameter_backward
)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _tap_slope(
    meters: MeterSet, kind: str, y: Array, derivative: Array, sink: Values
) -> Array:
    """Returns ``y``; the gradient of the sink is the reading of :meth:`Tap.slope`."""
    return y


def _tap_slope_backward(
    meters: MeterSet, kind: str, derivative: Array, cotangent: Array
) -> tuple[Array, None, Values]:
    products = cotangent[..., 0] * derivative
    slopes = products.reshape(len(products), -1).sum(1)
    return cotangent, None, meters.slope(kind, slopes)


_tap_slope.defvjp(lambda _, kind, y, slope, sink: (y, slope), _tap_slope_backward)
