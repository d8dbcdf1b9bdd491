"""Networks and their taps: the only file that adapts Flax.

A network is a pair of pure functions. Its module calls ``tap(name, x, kind)`` where an
activation may be measured; a user's own module needs no edits, since
:func:`from_linen` and :func:`from_nnx` put taps behind its layers and parameters.

Backward readings are taken by *sinks*. A tap is an identity with an extra input, a
zero array shaped like the reading; its hand-written gradient passes the cotangent on
and returns the reading as "the gradient of the sink". One backward pass with respect
to the sinks therefore yields every summary of activation and parameter gradients, and
keeps none of the gradients themselves.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen, nnx

from jaxproxy.meters import Activation, Probe
from jaxproxy.types import Array

__all__ = ["Network", "Rows", "Slot", "Tap", "from_linen", "from_nnx"]

Params = Any
Values = dict[str, Array]


class Network(NamedTuple):
    """A network whose architecture is an argument."""

    init: Callable[[Array], Params]
    """key -> parameters, shared by all architectures."""
    apply: Callable[[Params, Array, Array | None, "Tap"], Array]
    """(parameters, x, code, tap) -> logits; ``code`` is None for a single network."""


class Slot(NamedTuple):
    """A place where a reading is taken."""

    name: str
    """Stable, e.g. ``"cells.3.e02.conv"``."""
    kind: str
    """``conv``, ``relu``, ``bn``, ``linear``, ``cell``... or ``conv_w``, ``bn_b``..."""
    depth: int
    """Position in the network; slots are ordered by it."""
    channels: int
    """C of an activation; size of a parameter's last axis."""


class Rows(NamedTuple):
    """Readings of several slots of one kind, one row each."""

    slots: tuple[Slot, ...]
    values: Values
    """Meter name -> float[slots, ...]."""
    present: Array | None = None
    """bool[slots], which of them this architecture has; None for all."""


class Tap:
    """Collects readings while a network is traced; made anew for every trace."""

    def __init__(self, probe: Probe, sinks: dict[str, Any] | None = None) -> None:
        """Taps the meters of a probe; without sinks, learns which are needed."""
        self.probe = probe
        self.forward: list[Rows] = []
        self.sinks: dict[str, dict[str, Rows]] = {}
        self._given = sinks
        self._names: set[str] = set()
        self._depth = 0

    def __call__(self, name: str, x: Array, kind: str = "activation") -> Array:
        """Measures an activation float[B, ..., C] and returns it.

        Raises:
          ValueError: a name used twice, which would mix two readings.
        """
        self._claim(name)
        slots = (Slot(name, kind, self.advance(), x.shape[-1]),)
        self.record(slots, _row(self.probe.forward(kind, Activation(x))))
        if not self.probe.wants("backward", kind):
            return x
        zeros = jax.eval_shape(lambda x: self.probe.backward(kind, Activation(x), x), x)
        sink = self.sink(name, {kind: Rows(slots, _row(_zeros(zeros)))})
        return _tap_activation(self.probe, kind, x, sink[kind])

    def parameter(self, name: str, weight: Array, kind: str) -> Array:
        """Measures the gradient of a parameter tensor and returns the tensor.

        The gradient itself stops here.
        """
        self._claim(name)
        channels = weight.shape[-1] if weight.ndim else 1
        slots = (Slot(name, kind, self.advance(), channels),)
        if not self.probe.wants("gradient", kind):
            return weight
        unused = self.probe.gradient(kind, weight, jnp.zeros_like(weight))
        sink = self.sink(name, {kind: Rows(slots, _row(unused))})
        return _tap_parameter(self.probe, kind, weight, sink[kind])

    def record(
        self, slots: tuple[Slot, ...], values: Values, present: Array | None = None
    ) -> None:
        """Adds forward readings that a module took itself, one row per slot."""
        if values:
            self.forward.append(Rows(slots, values, present))

    def sink(self, name: str, rows: dict[str, Rows]) -> dict[str, Values]:
        """Arrays whose gradients are to be the readings of a tap, by kind.

        ``rows.values`` are the readings of a tap that the backward pass never reaches.
        """
        rows = {kind: r for kind, r in rows.items() if r.values}
        self.sinks[name] = rows
        if self._given is not None:
            return self._given[name]
        return {kind: r.values for kind, r in rows.items()}

    def advance(self, steps: int = 1) -> int:
        """Depth of the next slot; moves on by ``steps``."""
        self._depth += steps
        return self._depth - steps

    def _claim(self, name: str) -> None:
        if name in self._names:
            raise ValueError(f"the tap {name!r} is used twice; names must differ")
        self._names.add(name)


def _row(values: Values) -> Values:
    return {name: value[None] for name, value in values.items()}


def _zeros(shapes: Any) -> Any:
    return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _tap_activation(probe: Probe, kind: str, x: Array, sink: Values) -> Array:
    return x


def _tap_activation_backward(
    probe: Probe, kind: str, x: Array, cotangent: Array
) -> tuple[Array, Values]:
    return cotangent, _row(probe.backward(kind, Activation(x), cotangent))


_tap_activation.defvjp(lambda probe, kind, x, sink: (x, x), _tap_activation_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _tap_parameter(probe: Probe, kind: str, weight: Array, sink: Values) -> Array:
    return weight


def _tap_parameter_backward(
    probe: Probe, kind: str, weight: Array, cotangent: Array
) -> tuple[Array, Values]:
    return jnp.zeros_like(weight), _row(probe.gradient(kind, weight, cotangent))


_tap_parameter.defvjp(lambda probe, kind, w, sink: (w, w), _tap_parameter_backward)


def from_nnx(make: Callable[[nnx.Rngs], nnx.Module], *, tapped: bool = False) -> Network:
    """Network of an NNX module.

    Args:
      make: builds the module from ``nnx.Rngs``. A module that takes its architecture as
        data has ``__call__(x, code, tap)``; with ``tapped=False`` it has
        ``__call__(x)``, is used as it is, and every ``nnx.Conv`` and ``nnx.Linear`` in
        it (BatchNorm too) is tapped behind its back.
      tapped: whether the module taps its activations and parameters itself.
    """
    graph, params, rest = nnx.split(
        nnx.eval_shape(lambda: make(nnx.Rngs(0))), nnx.Param, ...
    )

    def init(key: Array) -> Params:
        _, weights, state = nnx.split(make(nnx.Rngs(key)), nnx.Param, ...)
        return {"params": nnx.to_pure_dict(weights), "rest": nnx.to_pure_dict(state)}

    def apply(variables: Params, x: Array, code: Array | None, tap: Tap) -> Array:
        weights = variables["params"]
        if not tapped:
            weights = _tap_parameters(weights, tap)
        filled = _filled(params, weights), _filled(rest, variables["rest"])
        module: Any = nnx.merge(graph, *filled, copy=True)
        if tapped:
            return module(x, code, tap)
        _tap_layers(module, tap)
        return module(x)

    return Network(init, apply)


def _filled(abstract: Any, values: dict[Any, Any]) -> Any:
    state = jax.tree.map(lambda leaf: leaf, abstract)
    nnx.replace_by_pure_dict(state, values)
    return state


_NNX_KINDS = {nnx.Conv: "conv", nnx.Linear: "linear", nnx.BatchNorm: "bn"}
_LINEN_KINDS = {linen.Conv: "conv", linen.Dense: "linear", linen.BatchNorm: "bn"}


def _tap_layers(module: nnx.Module, tap: Tap) -> None:
    """Puts a tap behind every layer of a module that lives for one trace only."""
    for path, layer in list(nnx.iter_modules(module)):
        kind = _NNX_KINDS.get(type(layer))
        if kind:
            name = ".".join(map(str, path))
            layer.__class__ = _tapped_class(type(layer), name, kind, tap)


def _tapped_class(base: type, name: str, kind: str, tap: Tap) -> type:
    def call(self: Any, *args: Any, **kwargs: Any) -> Array:
        return tap(name, base.__call__(self, *args, **kwargs), kind)

    return type(base.__name__, (base,), {"__call__": call})


def _tap_parameters(params: Any, tap: Tap) -> Any:
    """Taps every parameter tensor under the path that it has in the tree."""

    def tapped(path: tuple[Any, ...], weight: Array) -> Array:
        keys = [str(getattr(k, "key", getattr(k, "idx", k))) for k in path]
        parent = params
        for key in path[:-1]:
            parent = parent[key.key]
        return tap.parameter(".".join(keys), weight, _parameter_kind(keys[-1], parent))

    return jax.tree_util.tree_map_with_path(tapped, params)


def _parameter_kind(name: str, siblings: dict[str, Array]) -> str:
    """``conv_w``, ``linear_b``, ``bn_w``... by the tensor's name and shape."""
    if "scale" in siblings:
        return "bn_w" if name == "scale" else "bn_b"
    kernel = siblings.get("kernel", siblings[name])
    layer = "linear" if kernel.ndim <= 2 else "conv"
    return f"{layer}_{'b' if name == 'bias' else 'w'}"


def from_linen(module: linen.Module, x: Array) -> Network:
    """Network of an unmodified Linen module, for inputs shaped like ``x``.

    Every Dense, Conv and BatchNorm is tapped by intercepting its call; collections
    other than ``params`` (batch statistics) are used and their updates dropped.

    Args:
      module: called as ``module(x)``; a training flag is bound beforehand, as in
        ``module.clone(train=True)`` or a default value.
      x: float[B, ...], only its shape is used.
    """

    def init(key: Array) -> Params:
        return module.init(key, x)

    def apply(variables: Params, x: Array, code: Array | None, tap: Tap) -> Array:
        weights = _tap_parameters(variables["params"], tap)

        def intercept(
            call: Callable[..., Any],
            args: Any,
            kwargs: Any,
            context: linen.module.InterceptorContext,
        ) -> Any:
            y = call(*args, **kwargs)
            kind = _LINEN_KINDS.get(type(context.module))
            if kind is None or context.method_name != "__call__":
                return y
            return tap(".".join(context.module.path), y, kind)

        mutable = [name for name in variables if name != "params"]
        with linen.intercept_methods(intercept):
            y, _ = module.apply({**variables, "params": weights}, x, mutable=mutable)
        return y

    return Network(init, apply)
