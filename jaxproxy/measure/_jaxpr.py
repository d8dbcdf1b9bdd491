"""Taps for models that know nothing of taps.

A model is traced once with :class:`Tags` in place of a tap: they only name values. The
program that comes of it is then run operation by operation, and every value that has a
name goes through the real tap. So layers inside a ``jit`` can be measured, and
rectifiers too, which are functions and no layers.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.ad_checkpoint import checkpoint_name
from jax.extend import core

from jaxproxy.measure._rectifiers import (
    INLINED,
    REMAT,
    count_rectifiers,
    hard_gates,
    is_gate,
    is_rectifier,
)
from jaxproxy.measure._tap import Tap

_PREFIX = "jaxproxy "
_MAX_STEPS = 256
"""A loop of more is not written out."""


class _Tag(NamedTuple):
    """What a tap is to be called with."""

    name: str
    kind: str
    parameter: bool
    shape: tuple[int, ...] = ()


class Tags:
    """Names values; used like a :class:`~jaxproxy.measure.Tap`."""

    def __init__(self) -> None:
        """Names nothing yet."""
        self.named: list[_Tag] = []

    def __call__(self, name: str, x: Array, kind: str = "activation") -> Array:
        """Returns the activation itself, tagged."""
        return self._tag(_Tag(name, kind, parameter=False, shape=x.shape), x)

    def parameter(self, name: str, weight: Array, kind: str) -> Array:
        """Returns the parameter tensor itself, tagged."""
        return self._tag(_Tag(name, kind, parameter=True, shape=weight.shape), weight)

    def _tag(self, tag: _Tag, value: Array) -> Array:
        self.named.append(tag)
        return checkpoint_name(value, f"{_PREFIX}{len(self.named) - 1}")


Switch = Callable[[Tap, Array, list[Any], Any], Any]


def tap_jaxpr(
    function: Callable[..., Array],
    tap: Tap,
    switch: Switch,
    variables: Any,
    x: Array,
    *args: Any,
) -> Array:
    """Returns ``function(tags, *args)``, with what it tags and its rectifiers tapped.

    Branches of ``lax.switch`` and ``lax.cond`` are tapped too, and so is what is inside
    remat. Loops of ``lax.scan`` with anything inside that is read are written out, and
    taps are named by the step, as ``layer.0``.

    Args:
      function: gives one array.
      tap: for the values.
      switch: (tap, index, branches, operand) -> output, which taps can cross.
      variables: a pytree of arrays, the first argument.
      x: float[B, ...], the second.
      *args: pytrees of arrays, the others.

    Raises:
      ValueError: several outputs; a tag inside a loop of unknown length, vmap or
        function with a gradient of its own, which its reading cannot leave; or as the
        tap.
    """
    tags, args = Tags(), (variables, x, *args)
    closed, shapes = jax.make_jaxpr(
        lambda *args: function(tags, *args), return_shape=True
    )(*args)
    if len(closed.out_avals) != 1:
        raise ValueError(
            f"the model gives {_described(shapes)}, not one array of logits; give a "
            "module that calls it and returns its logits"
        )
    program = _Program(closed, 0, tags.named, switch, len(x))
    (output,) = program.run(jax.tree.leaves(args), tap)
    return output


def _described(shapes: Any) -> str:
    """Returns the tree of outputs in words: ``(float32[4, 8], {'a': float32[4]})``."""
    return str(jax.tree.map(_Shape, shapes))


class _Shape:
    def __init__(self, shape: jax.ShapeDtypeStruct) -> None:
        self.text = f"{shape.dtype}{list(shape.shape)}"

    def __repr__(self) -> str:
        return self.text


class _Program(NamedTuple):
    """A program whose named values and rectifiers are to go through a tap."""

    closed: core.ClosedJaxpr
    first: int
    """Number of its first rectifier: ``relu.3`` if three come before."""
    named: list[_Tag]
    switch: Switch
    num_images: int
    steps: tuple[int, ...] = ()
    """Of the loops that it is inside of."""

    def run(self, args: Sequence[Any], tap: Tap) -> list[Any]:
        """Runs it operation by operation, and returns its outputs."""
        jaxpr = self.closed.jaxpr
        values = dict(zip(jaxpr.constvars, self.closed.consts, strict=True))
        values |= dict(zip(jaxpr.invars, args, strict=True))

        def read(atom: Any) -> Any:
            return atom.val if isinstance(atom, core.Literal) else values[atom]

        number, gates = self.first, hard_gates(jaxpr)
        for eqn in jaxpr.eqns:
            inputs = [read(atom) for atom in eqn.invars]
            if id(eqn) in gates:
                outputs = _bind(eqn, inputs)
            else:
                outputs = self._run_one(eqn, inputs, number, tap)
            number += count_rectifiers(eqn)
            values |= dict(zip(eqn.outvars, outputs, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _run_one(self, eqn: Any, inputs: list[Any], number: int, tap: Tap) -> list[Any]:
        if is_gate(eqn):
            return _bind(eqn, inputs)
        if eqn.primitive.name in INLINED:
            inner = eqn.params.get("jaxpr") or eqn.params["call_jaxpr"]
            return self._replace(closed=inner, first=number).run(inputs, tap)
        inside = None if is_rectifier(eqn) else self._wanted_inside(eqn, tap)
        if inside and eqn.primitive.name == "cond":
            return self._branch(eqn, inputs, number, tap)
        if inside and eqn.primitive.name in REMAT:
            inner = core.ClosedJaxpr(eqn.params["jaxpr"], ())
            return self._replace(closed=inner, first=number).run(inputs, tap)
        if inside and _num_steps(eqn) <= _MAX_STEPS:
            return self._loop(eqn, inputs, number, tap)
        if inside:
            raise ValueError(
                f"the tap {inside!r} is inside a loop, vmap or custom gradient "
                f"of the model ({eqn.primitive.name}), which its reading cannot leave; "
                "build the model without it"
            )
        outputs = _bind(eqn, inputs)
        outputs[0:1] = [self._tapped(eqn, one, number, tap) for one in outputs[0:1]]
        return outputs

    def _tapped(self, eqn: Any, value: Any, number: int, tap: Tap) -> Any:
        """Returns the first output of an operation, which may have a name."""
        tag = _tag_of(eqn, self.named)
        if tag is not None:
            if value.shape != tag.shape or self._has_other_rows(value, tag):
                meters = tap.recorder.meters
                if not any(meters.wants(p, tag.kind) for p in ("forward", "backward")):
                    return value
                around = "loop" if self.steps else "vmap"
                raise ValueError(
                    f"the tap {tag.name!r} is inside a {around} of the model: its "
                    "first axis may not be the images; build the model without it"
                )
            name = ".".join([tag.name, *map(str, self.steps)])
            return (tap.parameter if tag.parameter else tap)(name, value, tag.kind)
        if is_rectifier(eqn):
            rectified = _Tag("relu", "relu", parameter=False)
            if self._has_other_rows(value, rectified):
                raise ValueError(
                    "a rectifier is inside a loop of the model: its first axis may not "
                    "be the images; build the model without it"
                )
            return tap(f"relu.{number}", value, "relu")
        return value

    def _has_other_rows(self, value: Any, tag: _Tag) -> bool:
        """Returns whether the rows of a value in a loop are certainly not the images.

        A loop of as many steps as images may be over them.
        """
        if tag.parameter or not self.steps:
            return False
        return value.shape[:1] != (self.num_images,)

    def _wanted_inside(self, eqn: Any, tap: Tap) -> str | None:
        """Returns the name of a tap inside an operation that is read, if there is one.

        Parameters always are, since others may be put in their place.
        """
        wanted = None
        for inner in _inner(eqn):
            tag = _tag_of(inner, self.named)
            if tag is None and is_rectifier(inner):
                tag = _Tag("relu", "relu", parameter=False)
            if tag is None:
                continue
            tap.recorder.kinds.add(tag.kind)
            meters = tap.recorder.meters
            read = (meters.wants(p, tag.kind) for p in ("forward", "backward"))
            if tag.parameter or any(read):
                wanted = wanted or tag.name
        return wanted

    def _loop(self, eqn: Any, inputs: list[Any], number: int, tap: Tap) -> list[Any]:
        """Runs the steps of a ``scan`` one by one, with what is inside tapped."""
        body, params = eqn.params["jaxpr"], eqn.params
        if params["length"] == self.num_images > 1:
            raise ValueError(
                f"a loop of the model has as many steps as there are images, "
                f"{self.num_images}, and may be over them; give another number of them"
            )
        num_consts, num_carry = params["num_consts"], params["num_carry"]
        consts, carry, xs = (
            inputs[:num_consts],
            inputs[num_consts : num_consts + num_carry],
            inputs[num_consts + num_carry :],
        )
        steps = range(params["length"])
        ys: dict[int, list[Any]] = {}
        for i in reversed(steps) if params["reverse"] else steps:
            step = self._replace(closed=body, first=number, steps=(*self.steps, i))
            outputs = step.run([*consts, *carry, *(x[i] for x in xs)], tap)
            carry, ys[i] = outputs[:num_carry], outputs[num_carry:]
            number += sum(map(count_rectifiers, body.jaxpr.eqns))
        return [
            *carry,
            *(jnp.stack(y) for y in zip(*(ys[i] for i in steps), strict=True)),
        ]

    def _branch(self, eqn: Any, inputs: list[Any], number: int, tap: Tap) -> list[Any]:
        """Runs the branch of an index, the first input, with what is inside tapped."""
        branches = []
        for branch in eqn.params["branches"]:
            branches.append(self._replace(closed=branch, first=number).run)
            number += sum(map(count_rectifiers, branch.jaxpr.eqns))
        index, *operands = inputs
        return self.switch(tap, index, branches, operands)


def _bind(eqn: Any, inputs: list[Any]) -> list[Any]:
    params = eqn.primitive.get_bind_params(eqn.params)
    outputs = eqn.primitive.bind(*inputs, **params)
    return list(outputs) if eqn.primitive.multiple_results else [outputs]


def _tag_of(eqn: Any, named: list[_Tag]) -> _Tag | None:
    """Returns the tag that an operation is, if any."""
    name = eqn.params.get("name")
    if eqn.primitive.name != "name" or not name.startswith(_PREFIX):
        return None
    return named[int(name.removeprefix(_PREFIX))]


def _num_steps(eqn: Any) -> float:
    """Returns how many steps a loop has, if it is one that can be written out."""
    is_scan = eqn.primitive.name == "scan" and eqn.params["length"] > 0
    return eqn.params["length"] if is_scan else math.inf


def _inner(eqn: Any) -> Iterator[Any]:
    """All operations inside of one."""
    for jaxpr in core.jaxprs_in_params(eqn.params):
        gates = hard_gates(jaxpr)
        for inner in jaxpr.eqns:
            if id(inner) not in gates and not is_gate(inner):
                yield inner
                yield from _inner(inner)
