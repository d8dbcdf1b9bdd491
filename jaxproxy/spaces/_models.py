"""Anybody's Flax model as a search space of one architecture."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx
from jax import Array
from jax.extend import core

from jaxproxy.measure import (
    MeterSet,
    Network,
    Tap,
    network_from_linen,
    network_from_nnx,
)
from jaxproxy.spaces._mode import Mode
from jaxproxy.spaces._records import Counts, Task
from jaxproxy.spaces._space import Space
from jaxproxy.startup import numerics
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


def from_linen(module: linen.Module, x: Array, *, name: str = "model") -> Space:
    """The space whose one architecture is a Linen module, used as it is.

    Layers, normalisations, ``jax.nn.relu`` and the input are tapped, so every proxy
    applies that reads no cells, stages or features before pooling. A proxy that wants
    the default weights gets those of the module's own initialisers.

    Args:
      module: called as ``module(x)``, a training flag bound beforehand, with logits
        float[B, K] as its output.
      x: float[B, ...]; its shape without B is that of all inputs. Of a fidelity, only
        the batch size counts.
      name: string of the architecture.

    Raises:
      ValueError: inputs that are not real numbers, or outputs that are not logits.
    """
    return model_space({name: module}, x)


def from_nnx(
    make: Callable[[nnx.Rngs], nnx.Module] | nnx.Module,
    x: Array,
    *,
    name: str = "model",
) -> Space:
    """The space whose one architecture is an NNX module, as :func:`from_linen`.

    Args:
      make: builds the module from ``nnx.Rngs``, or is one, whose weights all seeds
        then share.
      x: as in :func:`from_linen`.
      name: string of the architecture.

    Raises:
      ValueError: as :func:`from_linen`.
    """
    return model_space({name: make}, x)


def make_network(model: Model, x: Array, **modes: Any) -> Network:
    """Returns the network of a model in any Flax dialect.

    Modes are those of :func:`~jaxproxy.measure.network_from_nnx`.

    Raises:
      ValueError: neither a module nor a function.
    """
    if isinstance(model, linen.Module):
        return network_from_linen(model, x, **modes)
    if not callable(model):
        raise ValueError(
            f"{model!r} is no model; give a Linen module, an NNX module, or a function "
            "from nnx.Rngs to one"
        )
    return network_from_nnx(model, **modes)


@numerics("float32")
def anatomy(name: str, model: Model, x: Array) -> Anatomy:
    """What can be said of a model for inputs shaped like ``x``.

    Raises:
      ValueError: as :func:`from_linen`, naming the model.
    """
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"inputs of {name} must be real numbers, not {x.dtype}")
    net = make_network(model, x)
    variables = jax.eval_shape(net.init, jax.random.key(0))
    taps: list[Tap] = []

    def apply(variables: Any, x: Array) -> Array:
        taps.append(Tap(MeterSet(())))
        return net.apply(variables, x, None, taps[-1])

    one = jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype)
    closed, logits = jax.make_jaxpr(apply, return_shape=True)(variables, one)
    if logits.ndim != 2 or not jnp.issubdtype(logits.dtype, jnp.floating):
        raise ValueError(
            f"the output of {name} is {logits.dtype}{list(logits.shape)} for one "
            "input, not logits float[1, K]"
        )
    sizes = [math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"])]
    constants = [np.asarray(c).tobytes() for c in closed.consts]
    return Anatomy(
        num_params=sum(sizes),
        num_tensors=len(sizes),
        num_macs=_macs(closed.jaxpr),
        num_classes=logits.shape[1],
        # The last two are tapped by the reader, and without normalisation.
        kinds=frozenset({*taps[-1].recorder.kinds, "logits", "log_scale"}),
        structure=f"{closed.jaxpr}{constants}{jax.tree.structure(variables)}",
    )


def model_space(
    models: Mapping[str, Model], x: Array, known: Anatomy | None = None
) -> Space:
    """The space of models of one structure, each with weights of its own.

    Args:
      models: name -> model, all of equal ``anatomy(...).structure``.
      x: as in :func:`from_linen`.
      known: their anatomy, if it is known.

    Raises:
      ValueError: as :func:`from_linen`.
    """
    names, members = list(models), list(models.values())
    known = known or anatomy(names[0], members[0], x)

    # Flax takes a while to make one, and every proxy's setup asks for it.
    @functools.cache
    def made(weights: str | None, norm: str) -> Network:
        nets = [make_network(m, x, weights=weights, norm=norm) for m in members]
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


def _macs(jaxpr: Any) -> int:
    """Multiply-adds of a program's convolutions and matrix products."""
    total = 0
    for eqn in jaxpr.eqns:
        name, params = eqn.primitive.name, eqn.params
        if name == "conv_general_dilated":
            kernel, out = eqn.invars[1].aval.shape, eqn.outvars[0].aval.shape
            features = kernel[params["dimension_numbers"].rhs_spec[0]]
            total += math.prod(out) * math.prod(kernel) // features
        elif name == "dot_general":
            left, contracted = (
                eqn.invars[0].aval.shape,
                params["dimension_numbers"][0][0],
            )
            depth = math.prod(left[axis] for axis in contracted)
            total += math.prod(eqn.outvars[0].aval.shape) * depth
        elif name == "cond":
            total += max(_macs(branch.jaxpr) for branch in params["branches"])
        else:
            times = params.get("length", 1) if name == "scan" else 1
            total += times * sum(map(_macs, core.jaxprs_in_params(params)))
    return total
