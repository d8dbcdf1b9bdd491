"""What can be said of anybody's Flax model without running it."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from inspect import signature
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
from flax import linen, nnx
from jax import Array

from jaxproxy.measure import (
    MeterSet,
    Network,
    Tap,
    network_from_linen,
    network_from_nnx,
)
from jaxproxy.spaces._macs import count_macs
from jaxproxy.spaces._structure import structure
from jaxproxy.spaces._usage import PLAIN, Usage, Use, target_of
from jaxproxy.startup import numerics

Model = linen.Module | nnx.Module | Callable[[nnx.Rngs], nnx.Module]


class Anatomy(NamedTuple):
    """What can be said of a model without running it."""

    num_params: int
    num_tensors: int
    num_macs: int
    """Multiply-adds of all convolutions and matrix products, for one input."""
    output: tuple[int, ...]
    """Shape of the output for one input, without the batch."""
    loss: str
    """Name of the loss that gradients are of, empty if the output has none."""
    kinds: frozenset[str]
    """Of its taps."""
    structure: str
    """Its program; models of equal structure differ in their weights only."""
    num_normalised: int | None
    """Fewest values of one image that a BatchNorm has for a channel, if any has."""
    matrices: tuple[str, ...]
    """Names of parameter tensors of two axes or more."""
    matrix_kinds: tuple[str, ...]
    """Their kinds, such as ``"conv_w"``; each proxy counts those of some."""
    uncounted: tuple[str, ...]
    """Those of them that are in no layer that is known, so that few proxies count."""
    taps: tuple["Seen", ...]
    """All that is tapped for one input, in the order of the calls."""

    def __str__(self) -> str:
        """Returns a table of what is tapped, and what is not counted."""
        rows = [(tap.name, tap.kind, _shaped(tap.shape)) for tap in self.taps]
        columns = zip(*rows, strict=True)
        widths = [max(map(len, column)) for column in columns]
        table = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=False))
            for row in rows
        ]
        left = ", ".join(self.uncounted)
        return "\n".join(
            (
                f"parameters: {self.num_params} in {self.num_tensors} tensors",
                f"multiply-adds of one input: {self.num_macs}",
                f"output of one input: {_shaped(self.output) or 'a number'}",
                f"loss: {self.loss or 'none by default, give loss='}",
                f"matrices by kind: {_by_kind(self.matrix_kinds)}",
                f"matrices that are not counted: {left or 'none'}",
                *(line.rstrip() for line in table),
            )
        )


class Seen(NamedTuple):
    """An activation or parameter that is tapped."""

    name: str
    kind: str
    shape: tuple[int, ...]
    """Of an activation, without the batch."""


def inspect(model: Model, x: Array, **use: Unpack[Use]) -> Anatomy:
    """Returns what would be tapped, counted and differentiated of a model; print it.

    Nothing is run.

    Args:
      model: a Linen or NNX module, or a function from ``nnx.Rngs`` to one.
      x: as in :func:`~jaxproxy.spaces.from_linen`.
      **use: ``call``, ``output`` and ``loss``, as there.

    Raises:
      ValueError: as there.
    """
    return anatomy("the model", model, x, Usage(**use))


def _by_kind(kinds: tuple[str, ...]) -> str:
    """Returns how many there are of each kind: ``conv_w 1, linear_w 13``."""
    counts = sorted(Counter(kinds).items())
    return ", ".join(f"{kind} {count}" for kind, count in counts) or "none"


def _shaped(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def make_network(model: Model, x: Array, **modes: Any) -> Network:
    """Returns the network of a model in any Flax dialect.

    Modes are those of :func:`~jaxproxy.measure.network_from_nnx`.

    Raises:
      ValueError: neither a module nor a function.
    """
    if isinstance(model, linen.Module):
        return network_from_linen(model, x, **modes)
    _check_makes(model)
    return network_from_nnx(model, **modes)


def _check_makes(model: Any) -> None:
    """Raises ValueError unless this is an NNX module or makes one."""
    if isinstance(model, nnx.Module):
        return
    forms = "a Linen module, an NNX module, or a function from nnx.Rngs to one"
    if not callable(model):
        raise ValueError(f"{model!r} is no model; give {forms}")
    name = getattr(model, "__name__", repr(model))
    if isinstance(model, type) and issubclass(model, linen.Module):
        raise ValueError(f"{name} is a class; give an instance, as in {name}(...)")
    if not _takes_rngs(model):
        if isinstance(model, type) and issubclass(model, nnx.Module):
            raise ValueError(
                f"{name} is a class that cannot be called as {name}(rngs); give an "
                f"instance, or lambda rngs: {name}(..., rngs=rngs)"
            )
        raise ValueError(f"{name} cannot be called with nnx.Rngs alone; give {forms}")
    try:
        made = nnx.eval_shape(lambda: model(nnx.Rngs(0)))
    except Exception as error:
        raise ValueError(
            f"{name}(nnx.Rngs(0)) ends with {type(error).__name__}: {error}; "
            f"give {forms}"
        ) from error
    if not isinstance(made, nnx.Module):
        raise ValueError(f"{name} gives no NNX module; give {forms}")


def _takes_rngs(model: Callable[..., Any]) -> bool:
    # The call of a class of NNX takes anything, and hands it on.
    function, *own = (model.__init__, None) if isinstance(model, type) else (model,)
    try:
        signature(function).bind(*own, None)
    except TypeError:
        return False
    except ValueError:  # written in C: nobody knows
        return True
    return True


@numerics("float32")
def anatomy(name: str, model: Model, x: Array, use: Usage = PLAIN) -> Anatomy:
    """What can be said of a model for inputs shaped like ``x``, and its use.

    Raises:
      ValueError: as :func:`~jaxproxy.spaces.from_linen`, naming the model.
    """
    real = jnp.issubdtype(x.dtype, jnp.floating)
    if not real and not jnp.issubdtype(x.dtype, jnp.integer):
        raise ValueError(f"inputs of {name} must be real numbers, not {x.dtype}")
    try:
        trace = _traced(model, x, use)
    except (TypeError, ValueError) as error:
        if real or "dtype" not in str(error):
            raise
        raise ValueError(
            f"{name} does not take {x.dtype}, which stands for tokens; give real "
            f"numbers if it takes those ({error})"
        ) from error
    given, seen = trace.given, trace.seen
    if given.shape[:1] != (1,) or not jnp.issubdtype(given.dtype, jnp.floating):
        raise ValueError(
            f"the output of {name} is {given.dtype}{list(given.shape)} for one input, "
            "not real numbers float[1, ...]"
        )
    output = given.shape[1:]
    sizes = [
        math.prod(leaf.shape) for leaf in jax.tree.leaves(trace.variables["params"])
    ]
    return Anatomy(
        num_params=sum(sizes),
        num_tensors=seen.num_tensors,
        num_macs=count_macs(trace.closed.jaxpr),
        output=output,
        loss=target_of(output, use.loss).name,
        kinds=_kinds(seen.recorder.kinds, output, real),
        num_normalised=min(seen.normalised, default=None),
        matrices=tuple(seen.matrices),
        matrix_kinds=tuple(seen.matrices.values()),
        uncounted=tuple(n for n, kind in seen.matrices.items() if kind == "other_w"),
        structure=trace.digest,
        taps=tuple(seen.taps),
    )


class _Trace(NamedTuple):
    """The program of a model for one input."""

    closed: Any
    given: jax.ShapeDtypeStruct
    """Its output."""
    variables: Any
    """Their shapes."""
    seen: "_Watch"
    digest: str


def _traced(model: Model, x: Array, use: Usage) -> _Trace:
    net = make_network(model, x, call=use.call, choose=use.chosen)
    variables = jax.eval_shape(net.init, jax.random.key(0))
    taps: list[_Watch] = []

    def apply(variables: Any, x: Array) -> Array:
        taps.append(_Watch())
        return net.apply(variables, x, None, taps[-1])

    one = jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype)
    closed, given = jax.make_jaxpr(apply, return_shape=True)(variables, one)
    seen = taps[-1]
    digest = structure(closed, apply, variables, one, seen.passed)
    return _Trace(closed, given, variables, seen, digest)


def _kinds(
    tapped: Iterable[str], output: tuple[int, ...], real: bool
) -> frozenset[str]:
    """Returns the kinds of taps that can be read, those of the reader among them."""
    kinds = {*tapped, "log_scale"}  # the latter without normalisation
    if not real:  # has no gradient, and its moments mean nothing
        kinds.discard("input")
    return frozenset(kinds | {"logits"} if len(output) == 1 else kinds)


class _Watch(Tap):
    """Notes what passes, and measures nothing."""

    def __init__(self) -> None:
        super().__init__(MeterSet(()))
        self.normalised: list[int] = []
        self.matrices: dict[str, str] = {}
        self.num_tensors = 0
        self.passed: list[tuple[str, str]] = []
        self.taps: list[Seen] = []

    def __call__(
        self, name: str, x: Array, kind: str = "activation", live: Array | None = None
    ) -> Array:
        self.passed.append((name, kind))
        self.taps.append(Seen(name, kind, x.shape[1:]))
        if kind == "bn":
            self.normalised.append(math.prod(x.shape[1:-1]))
        return super().__call__(name, x, kind, live)

    def parameter(
        self, name: str, weight: Array, kind: str, size: Array | None = None
    ) -> Array:
        self.passed.append((name, kind))
        self.taps.append(Seen(name, kind, weight.shape))
        self.num_tensors += 1
        if kind.endswith("_w") and weight.ndim > 1:
            self.matrices[name] = kind
        return super().parameter(name, weight, kind, size)
