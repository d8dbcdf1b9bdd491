"""Taps for models that know nothing of taps.

A model is traced once with :class:`Tags` in place of a tap: they only name values. The
program that comes of it is then run operation by operation, and every value that has a
name goes through the real tap. So layers inside a ``jit`` can be measured, and
rectifiers too, which are functions and no layers.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax import Array
from jax.ad_checkpoint import checkpoint_name
from jax.extend import core

from jaxproxy.measure._meter import MeterSet
from jaxproxy.measure._tap import Tap

_PREFIX = "jaxproxy "
_INLINED = ("jit", "pjit", "closed_call", "core_call")
_RECTIFIERS = ("relu", "relu6")
"""Functions of ``jax.nn``; a program shows by name what has a gradient of its own."""


class _Tag(NamedTuple):
    """What a tap is to be called with."""

    name: str
    kind: str
    parameter: bool


class Tags:
    """Names values; used like a :class:`~jaxproxy.measure.Tap`."""

    def __init__(self) -> None:
        """Names nothing yet."""
        self.named: list[_Tag] = []

    def __call__(self, name: str, x: Array, kind: str = "activation") -> Array:
        """Returns the activation itself, tagged."""
        return self._tag(_Tag(name, kind, parameter=False), x)

    def parameter(self, name: str, weight: Array, kind: str) -> Array:
        """Returns the parameter tensor itself, tagged."""
        return self._tag(_Tag(name, kind, parameter=True), weight)

    def _tag(self, tag: _Tag, value: Array) -> Array:
        self.named.append(tag)
        return checkpoint_name(value, f"{_PREFIX}{len(self.named) - 1}")


def tap_jaxpr(function: Callable[..., Array], tap: Tap, *args: Any) -> Array:
    """Returns ``function(tags, *args)``, with what it tags and its rectifiers tapped.

    Args:
      function: gives one array.
      tap: for the values.
      *args: pytrees of arrays.

    Raises:
      ValueError: a tag inside a loop, branch, vmap, remat or function with a gradient
        of its own, which its reading cannot leave; or as the tap.
    """
    tags = Tags()
    closed = jax.make_jaxpr(lambda *args: function(tags, *args))(*args)
    rectifiers = itertools.count()

    def tapped(eqn: Any, value: Array) -> Array:
        number = _number(eqn)
        if number is not None:
            name, kind, parameter = tags.named[number]
            return (tap.parameter if parameter else tap)(name, value, kind)
        if _is_rectifier(eqn):
            return tap(f"relu.{next(rectifiers)}", value, "relu")
        return value

    def evaluate(jaxpr: Any, consts: Any, args: Any) -> list[Any]:
        values = dict(zip(jaxpr.constvars, consts, strict=True))
        values |= dict(zip(jaxpr.invars, args, strict=True))

        def read(atom: Any) -> Any:
            return atom.val if isinstance(atom, core.Literal) else values[atom]

        for eqn in jaxpr.eqns:
            inputs = [read(atom) for atom in eqn.invars]
            if eqn.primitive.name in _INLINED:
                inner = eqn.params.get("jaxpr") or eqn.params["call_jaxpr"]
                outputs = evaluate(inner.jaxpr, inner.consts, inputs)
            else:
                _check_inside(eqn, tags.named, tap.recorder.meters)
                outputs = _bind(eqn, inputs)
                outputs[0:1] = [tapped(eqn, value) for value in outputs[0:1]]
            values |= dict(zip(eqn.outvars, outputs, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    (output,) = evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(args))
    return output


def _bind(eqn: Any, inputs: list[Any]) -> list[Any]:
    params = eqn.primitive.get_bind_params(eqn.params)
    outputs = eqn.primitive.bind(*inputs, **params)
    return list(outputs) if eqn.primitive.multiple_results else [outputs]


def _number(eqn: Any) -> int | None:
    """Returns the number of the tag that an operation is, if any."""
    name = eqn.params.get("name")
    if eqn.primitive.name != "name" or not name.startswith(_PREFIX):
        return None
    return int(name.removeprefix(_PREFIX))


def _is_rectifier(eqn: Any) -> bool:
    if eqn.primitive.name != "custom_jvp_call":
        return False
    inside = eqn.params["call_jaxpr"].jaxpr.eqns
    return len(inside) == 1 and inside[0].params.get("name") in _RECTIFIERS


def _check_inside(eqn: Any, named: list[_Tag], meters: MeterSet) -> None:
    """Raises ValueError if what a meter reads is inside of an operation."""
    if _is_rectifier(eqn):
        return
    for inner in _inner(eqn):
        number = _number(inner)
        if number is not None:
            name, kind, _ = named[number]
        elif _is_rectifier(inner):
            name = kind = "relu"
        else:
            continue
        if meters.wants("forward", kind) or meters.wants("backward", kind):
            raise ValueError(
                f"the tap {name!r} is inside a loop, branch, vmap, remat or custom "
                f"gradient of the model ({eqn.primitive.name}), which its reading "
                "cannot leave; build the model without it"
            )


def _inner(eqn: Any) -> Iterator[Any]:
    """All operations inside of one."""
    for jaxpr in core.jaxprs_in_params(eqn.params):
        for inner in jaxpr.eqns:
            yield inner
            yield from _inner(inner)
