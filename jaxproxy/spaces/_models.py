"""Anybody's Flax model as a search space of one architecture."""

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
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
from jaxproxy.spaces._mode import Mode
from jaxproxy.spaces._records import Counts, Task
from jaxproxy.spaces._space import Space
from jaxproxy.spaces._structure import structure
from jaxproxy.types import Fidelity

Model = linen.Module | nnx.Module | Callable[[nnx.Rngs], nnx.Module]
_PRESETS = {
    "paper": Fidelity(width=1, cells=1, batch_size=64),
    "fast": Fidelity(width=1, cells=1, batch_size=16),
}


class Anatomy(NamedTuple):
    """What can be said of a model without running it."""

    num_params: int
    num_tensors: int
    num_macs: int
    """Multiply-adds of all convolutions and matrix products, for one input."""
    num_classes: int
    kinds: frozenset[str]
    """Of its taps."""
    structure: str
    """Its program; models of equal structure differ in their weights only."""
    num_normalised: int | None
    """Fewest values of one image that a BatchNorm has for a channel, if any has."""
    matrices: tuple[str, ...]
    """Names of parameter tensors of two axes or more."""
    uncounted: tuple[str, ...]
    """Those of them that are in no layer that is known, so that few proxies count."""


def from_linen(
    module: linen.Module,
    x: Array,
    *,
    name: str = "model",
    call: Mapping[str, Any] | None = None,
) -> Space:
    """The space whose one architecture is a Linen module, used as it is.

    Layers, normalisations, ``jax.nn.relu`` and the input are tapped, so every proxy
    applies that reads no cells, stages or features before pooling. A proxy that wants
    the default weights gets those of the module's own initialisers. BatchNorm is in the
    mode of the setup, whatever that of the module.

    Args:
      module: called as ``module(x, **call)``, with logits float[B, K] as its output.
      x: float[B, ...]; its shape without B is that of all inputs. Of a fidelity, only
        the batch size counts.
      name: string of the architecture.
      call: keyword arguments of every call, such as ``{"train": True}``.

    Raises:
      ValueError: inputs that are not real numbers, or outputs that are not logits.
    """
    return model_space({name: module}, x, call=call)


def from_nnx(
    make: Callable[[nnx.Rngs], nnx.Module] | nnx.Module,
    x: Array,
    *,
    name: str = "model",
    call: Mapping[str, Any] | None = None,
) -> Space:
    """The space whose one architecture is an NNX module, as :func:`from_linen`.

    Args:
      make: builds the module from ``nnx.Rngs``, or is one, whose weights all seeds
        then share.
      x: as in :func:`from_linen`.
      name: string of the architecture.
      call: as in :func:`from_linen`.

    Raises:
      ValueError: as :func:`from_linen`.
    """
    return model_space({name: make}, x, call=call)


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
        inspect.signature(function).bind(*own, None)
    except TypeError:
        return False
    except ValueError:  # written in C: nobody knows
        return True
    return True


def anatomy(
    name: str, model: Model, x: Array, call: Mapping[str, Any] | None = None
) -> Anatomy:
    """What can be said of a model for inputs shaped like ``x``, called as ``call``.

    Raises:
      ValueError: as :func:`from_linen`, naming the model.
    """
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"inputs of {name} must be real numbers, not {x.dtype}")
    net = make_network(model, x, call=call)
    variables = jax.eval_shape(net.init, jax.random.key(0))
    taps: list[_Watch] = []

    def apply(variables: Any, x: Array) -> Array:
        taps.append(_Watch())
        return net.apply(variables, x, None, taps[-1])

    one = jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype)
    closed, logits = jax.make_jaxpr(apply, return_shape=True)(variables, one)
    if logits.ndim != 2 or not jnp.issubdtype(logits.dtype, jnp.floating):
        raise ValueError(
            f"the output of {name} is {logits.dtype}{list(logits.shape)} for one "
            "input, not logits float[1, K]"
        )
    seen = taps[-1]
    sizes = [math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"])]
    return Anatomy(
        num_params=sum(sizes),
        num_tensors=seen.num_tensors,
        num_macs=count_macs(closed.jaxpr),
        num_classes=logits.shape[1],
        # The last two are tapped by the reader, and without normalisation.
        kinds=frozenset({*seen.recorder.kinds, "logits", "log_scale"}),
        num_normalised=min(seen.normalised, default=None),
        matrices=tuple(seen.matrices),
        uncounted=tuple(n for n, kind in seen.matrices.items() if kind == "other_w"),
        structure=structure(closed, apply, variables, one, seen.passed),
    )


class _Watch(Tap):
    """Notes what passes, and measures nothing."""

    def __init__(self) -> None:
        super().__init__(MeterSet(()))
        self.normalised: list[int] = []
        self.matrices: dict[str, str] = {}
        self.num_tensors = 0
        self.passed: list[tuple[str, str]] = []

    def __call__(
        self, name: str, x: Array, kind: str = "activation", live: Array | None = None
    ) -> Array:
        self.passed.append((name, kind))
        if kind == "bn":
            self.normalised.append(math.prod(x.shape[1:-1]))
        return super().__call__(name, x, kind, live)

    def parameter(
        self, name: str, weight: Array, kind: str, size: Array | None = None
    ) -> Array:
        self.passed.append((name, kind))
        self.num_tensors += 1
        if kind.endswith("_w") and weight.ndim > 1:
            self.matrices[name] = kind
        return super().parameter(name, weight, kind, size)


def model_space(
    models: Mapping[str, Model],
    x: Array,
    known: Anatomy | None = None,
    call: Mapping[str, Any] | None = None,
) -> Space:
    """The space of models of one structure, each with weights of its own.

    Args:
      models: name -> model, all of equal ``anatomy(...).structure``.
      x: as in :func:`from_linen`.
      known: their anatomy, if it is known.
      call: as in :func:`from_linen`.

    Raises:
      ValueError: as :func:`from_linen`.
    """
    names, members = list(models), list(models.values())
    known = known or anatomy(names[0], members[0], x, call)

    # Flax takes a while to make one, and every proxy's setup asks for it.
    @functools.cache
    def made(weights: str | None, norm: str) -> Network:
        modes = {"weights": weights, "norm": norm, "call": call}
        nets = [make_network(model, x, **modes) for model in members]
        return nets[0] if len(nets) == 1 else _choice(nets)

    def network(fidelity: Fidelity, mode: Mode) -> Network:
        # The default stands for the weights of the model's own initialisers.
        own = mode.weights == Mode().weights
        return made(None if own else mode.weights, mode.norm)

    def count(number: int) -> Callable[[np.ndarray], np.ndarray]:
        return lambda codes: np.full(np.shape(codes)[:-1], number, np.int64)

    def from_str(name: str) -> np.ndarray:
        if name not in models:
            raise ValueError(f"unknown model {name!r}; choose from {names}")
        return np.array([names.index(name)], np.int32)

    return Space(
        name="models",
        choices=(len(names),),
        to_str=lambda code: names[code[0]],
        from_str=from_str,
        network=network,
        task=Task.of_inputs(x.shape[1:], known.num_classes),
        counts=Counts(
            count(known.num_params), count(known.num_macs), count(known.num_tensors)
        ),
        enumerate=lambda: np.arange(len(names), dtype=np.int32)[:, None],
        presets=_PRESETS,
        settings={"models": names, "input": list(x.shape[1:])},
    )


def _choice(networks: list[Network]) -> Network:
    """One program for networks of equal structure; the code chooses the weights."""

    def init(key: Array) -> Any:
        return jax.tree.map(
            lambda *leaves: jnp.stack(leaves), *[net.init(key) for net in networks]
        )

    def choose(params: Any, code: Array) -> Any:
        return jax.tree.map(lambda leaf: leaf[code[0]], params)

    return Network(init, networks[0].apply, choose=choose)
