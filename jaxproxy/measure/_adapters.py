"""Networks of Flax modules: of our own, which tap themselves, and of anybody's.

A module of a space calls ``tap(name, x, kind)`` where an activation may be measured; a
user's own module needs no edits, since :func:`network_from_linen` and
:func:`network_from_nnx` put taps behind its layers and parameters.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen, nnx
from jax import Array

from jaxproxy.measure._flax import (
    Layer,
    check_modes,
    draw_weights,
    find_layer,
    interceptor,
    tap_input,
    tap_layers,
    tap_parameters,
)
from jaxproxy.measure._flow import switch
from jaxproxy.measure._jaxpr import Tags, tap_jaxpr
from jaxproxy.measure._network import Block, Network, Params
from jaxproxy.measure._random import Draws, drawn
from jaxproxy.measure._tap import Tap

_KEY = "jaxproxy"
"""A collection of a Linen module with the data of a key."""
_DRAWN = 0x64726F70


def network_from_tapped(make: Callable[[nnx.Rngs], nnx.Module]) -> Network:
    """Returns the network of an NNX module that taps itself and takes a code.

    Args:
      make: builds from ``nnx.Rngs`` a module with ``__call__(x, code, tap)``, which
        taps its activations and parameters, and perhaps with ``blocks(code)`` (see
        :class:`Network`).
    """
    abstract = nnx.eval_shape(lambda: make(nnx.Rngs(0)))
    split = _Split(abstract)

    def init(key: Array) -> Params:
        return split.variables(make(nnx.Rngs(key)))

    def apply(variables: Params, x: Array, code: Array | None, tap: Tap) -> Array:
        return split.module(variables)(x, code, tap)

    def blocks(variables: Params, code: Array | None) -> tuple[Block, ...]:
        return split.module(variables).blocks(code)

    return Network(init, apply, blocks if hasattr(abstract, "blocks") else None)


def network_from_draws(make: Callable[[Draws], nnx.Module]) -> Network:
    """Returns the network of a module that taps itself, as :func:`network_from_tapped`.

    Args:
      make: builds the module from the numbers that it draws, all of them in one loop.
    """
    return network_from_tapped(drawn(make))


def network_from_nnx(
    make: Callable[[nnx.Rngs], nnx.Module] | nnx.Module,
    *,
    weights: str | None = None,
    norm: str = "batch",
    takes_code: bool = False,
    call: Mapping[str, Any] | None = None,
    choose: Callable[[Any], Array] = lambda output: output,
) -> Network:
    """Returns the network of an unmodified NNX module, called as ``module(x)``.

    Slots have the paths of its attributes as names. Convolutions, linear layers,
    normalisations, ``jax.nn.relu`` and the input are tapped, activations in the order
    of the calls, parameters in that of the tree.

    Args:
      make: builds the module from ``nnx.Rngs``, or is one, whose weights all seeds
        then share.
      weights: name in :data:`WEIGHTS`, drawn in place of the module's own; None for
        those of its initialisers.
      norm: name in :data:`NORMS`. With ``"fixed"``, BatchNorm uses its running
        statistics; with ``"none"``, there is no normalisation of any kind.
      takes_code: whether the module is called as ``module(x, code, tap)``: its
        architecture is data, and it may tap more than its layers.
      call: keyword arguments of every call, such as ``{"train": True}``.
      choose: what the module gives -> the array that is scored.

    Raises:
      ValueError: an unknown name.
    """
    check_modes(weights, norm)
    keywords = dict(call or {})
    given = make if isinstance(make, nnx.Module) else None
    abstract = given or nnx.eval_shape(lambda: make(nnx.Rngs(0)))
    split = _Split(abstract)
    layers = {
        path: layer
        for path, module in nnx.iter_modules(abstract)
        if (layer := find_layer(module))
    }

    def init(key: Array) -> Params:
        variables = split.variables(given or make(nnx.Rngs(key)))
        params = draw_weights(weights, key, variables["params"], layers)
        return {**variables, "params": params}

    def tagged(tags: Tags, variables: Params, x: Array, code: Array | None) -> Array:
        params = tap_parameters(variables["params"], tags, layers)
        model = split.module({**variables, "params": params})
        tap_layers(model, tags, norm)
        x = tap_input(x, tags, norm)
        inputs = (x, code, tags) if takes_code else (x,)
        return choose(model(*inputs, **keywords))

    def apply(variables: Params, x: Array, code: Array | None, tap: Tap) -> Array:
        return tap_jaxpr(tagged, tap, switch, variables, x, code)

    return Network(init, apply)


class _Split:
    """An NNX module as a pure function of its parameters and other state."""

    def __init__(self, abstract: nnx.Module) -> None:
        self.graph, self.params, self.rest = nnx.split(abstract, nnx.Param, ...)

    def variables(self, module: nnx.Module) -> Params:
        """Returns the state of a module of this structure as plain dictionaries."""
        _, params, rest = nnx.split(module, nnx.Param, ...)
        return {"params": nnx.to_pure_dict(params), "rest": nnx.to_pure_dict(rest)}

    def module(self, variables: Params) -> Any:
        """Returns a module with this state, made anew for one trace."""
        params = _filled(self.params, variables["params"])
        rest = _filled(self.rest, variables["rest"])
        return nnx.merge(self.graph, params, rest, copy=True)


def _filled(abstract: Any, values: dict[Any, Any]) -> Any:
    state = jax.tree.map(lambda leaf: leaf, abstract)
    nnx.replace_by_pure_dict(state, values)
    return state


def network_from_linen(
    module: linen.Module,
    x: Array,
    *,
    weights: str | None = None,
    norm: str = "batch",
    call: Mapping[str, Any] | None = None,
    choose: Callable[[Any], Array] = lambda output: output,
) -> Network:
    """Returns the network of an unmodified Linen module, for inputs shaped like ``x``.

    Layers are tapped by intercepting their calls; collections other than ``params``
    (batch statistics) are used and their updates dropped. Names, order and kinds of the
    slots are as in :func:`network_from_nnx`. What a module draws in a call, as dropout
    does, is drawn of one key, which comes with the parameters: equal in all passes.

    Args:
      module: called as ``module(x)``.
      x: float[B, ...], only its shape is used.
      weights: as in :func:`network_from_nnx`.
      norm: as in :func:`network_from_nnx`.
      call: as in :func:`network_from_nnx`.
      choose: as in :func:`network_from_nnx`.

    Raises:
      ValueError: an unknown name.
    """
    check_modes(weights, norm)
    keywords = dict(call or {})
    layers = _layers_of(partial(module.init, **keywords), x)

    def init(key: Array) -> Params:
        variables = {"params": {}, **linen.unbox(module.init(key, x, **keywords))}
        params = draw_weights(weights, key, variables["params"], layers)
        drawn = jax.random.key_data(jax.random.fold_in(key, _DRAWN))
        return {**variables, "params": params, _KEY: {"data": drawn}}

    def tagged(tags: Tags, variables: Params, x: Array) -> Array:
        params = tap_parameters(variables["params"], tags, layers)
        state = {k: v for k, v in variables.items() if k not in ("params", _KEY)}
        # Streams of other names, "dropout" among them, are drawn of this one.
        # Parameters that were not drawn here come without it.
        key = variables.get(_KEY)
        rngs = key and {"params": jax.random.wrap_key_data(key["data"])}
        with linen.intercept_methods(interceptor(tags, norm)):
            x = tap_input(x, tags, norm)
            y, _ = module.apply(
                {**state, "params": params}, x, rngs=rngs, mutable=list(state),
                **keywords,
            )  # fmt: skip
        return choose(y)

    def apply(variables: Params, x: Array, code: Array | None, tap: Tap) -> Array:
        return tap_jaxpr(tagged, tap, switch, variables, x)

    return Network(init, apply)


def _layers_of(init: Callable[..., Any], x: Array) -> dict[Any, Layer]:
    """Path -> layer, of all that initialising a Linen module calls."""
    layers: dict[Any, Layer] = {}

    def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        output = call(*args, **kwargs)
        if layer := find_layer(context.module):
            own = linen.unbox(context.module.variables.get("params", {}))
            shapes = tuple((name, jnp.shape(w)) for name, w in own.items())
            layers[context.module.path] = layer._replace(shapes=shapes)
        return output

    with linen.intercept_methods(note):
        jax.eval_shape(init, jax.random.key(0), x)
    return layers
