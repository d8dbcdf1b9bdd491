"""Networks as pairs of pure functions.

A module calls ``tap(name, x, kind)`` where an activation may be measured; a user's own
module needs no edits, since :func:`from_linen` and :func:`from_nnx` put taps behind its
layers and parameters.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import linen, nnx

from jaxproxy import marks
from jaxproxy.flax_layers import (
    Layer,
    check_modes,
    draw_weights,
    find_layer,
    interceptor,
    tap_input,
    tap_layers,
    tap_parameters,
)
from jaxproxy.taps import Rows, Slot, Tap
from jaxproxy.types import Array

__all__ = ["Block", "Network", "Rows", "Slot", "Tap", "from_linen", "from_nnx"]

Params = Any


class Block(NamedTuple):
    """n layers in a row that differ in their parameters only."""

    apply: Callable[[Any, Array], Array]
    """(parameters of one layer, x) -> its output, shaped like x if n > 1.

    Can be differentiated by x, once and in reverse.
    """
    params: Any
    """Parameters of all, stacked along a leading axis n."""


class Network(NamedTuple):
    """A network whose architecture is an argument."""

    init: Callable[[Array], Params]
    """key -> parameters, shared by all architectures."""
    apply: Callable[[Params, Array, Array | None, Tap], Array]
    """(parameters, x, code, tap) -> logits; ``code`` is None for a single network."""
    blocks: Callable[[Params, Array | None], tuple[Block, ...]] | None = None
    """(parameters, code) -> what turns images into features, block after block."""
    choose: Callable[[Params, Array], Params] | None = None
    """(parameters, code) -> those of the architecture, if they are not shared."""


def from_nnx(
    make: Callable[[nnx.Rngs], nnx.Module] | nnx.Module,
    *,
    tapped: bool = False,
    weights: str | None = None,
    norm: str = "batch",
) -> Network:
    """Network of an NNX module.

    In a module that is not ``tapped``, slots have the paths of its attributes as names.
    Convolutions, linear layers, normalisations, ``jax.nn.relu`` and the input are
    tapped, activations in the order of the calls, parameters in that of the tree.

    Args:
      make: builds the module from ``nnx.Rngs``, or is one, whose weights all seeds
        then share. A module that takes its architecture as data has
        ``__call__(x, code, tap)``, and may have ``blocks(code)`` (see
        :class:`Network`); with ``tapped=False`` it has ``__call__(x)`` and is used as
        it is.
      tapped: whether the module taps its activations and parameters itself.
      weights: name in ``setups.WEIGHTS``, drawn in place of the module's own; for a
        module that is not ``tapped``, as is ``norm``.
      norm: name in ``setups.NORMS``. With ``"fixed"``, BatchNorm uses its running
        statistics; with ``"none"``, there is no normalisation of any kind.

    Raises:
      ValueError: an unknown name.
    """
    check_modes(weights, norm)
    given = make if isinstance(make, nnx.Module) else None
    abstract = given or nnx.eval_shape(lambda: make(nnx.Rngs(0)))
    graph, params, rest = nnx.split(abstract, nnx.Param, ...)
    layers = {path: layer for path, module in nnx.iter_modules(abstract)
              if (layer := find_layer(module))}  # fmt: skip

    def init(key: Array) -> Params:
        made = given or make(nnx.Rngs(key))
        _, own, state = nnx.split(made, nnx.Param, ...)
        return {
            "params": draw_weights(weights, key, nnx.to_pure_dict(own), layers),
            "rest": nnx.to_pure_dict(state),
        }

    def module(weights: Params, state: Params) -> Any:
        filled = _filled(params, weights), _filled(rest, state)
        return nnx.merge(graph, *filled, copy=True)

    def marked(here: marks.Marks, variables: Params, x: Array) -> Array:
        marked = tap_parameters(variables["params"], here, layers)
        model = module(marked, variables["rest"])
        tap_layers(model, here, norm)
        return model(tap_input(x, here, norm))

    def apply(variables: Params, x: Array, code: Array | None, tap: Tap) -> Array:
        if tapped:
            return module(variables["params"], variables["rest"])(x, code, tap)
        return marks.run(marked, tap, variables, x)

    def blocks(variables: Params, code: Array | None) -> tuple[Block, ...]:
        return module(variables["params"], variables["rest"]).blocks(code)

    has_blocks = tapped and hasattr(abstract, "blocks")
    return Network(init, apply, blocks if has_blocks else None)


def _filled(abstract: Any, values: dict[Any, Any]) -> Any:
    state = jax.tree.map(lambda leaf: leaf, abstract)
    nnx.replace_by_pure_dict(state, values)
    return state


def from_linen(
    module: linen.Module, x: Array, *, weights: str | None = None, norm: str = "batch"
) -> Network:
    """Network of an unmodified Linen module, for inputs shaped like ``x``.

    Layers are tapped by intercepting their calls; collections other than ``params``
    (batch statistics) are used and their updates dropped. Names, order and kinds of the
    slots are as in :func:`from_nnx`.

    Args:
      module: called as ``module(x)``; a training flag is bound beforehand, as in
        ``module.clone(train=True)`` or a default value.
      x: float[B, ...], only its shape is used.
      weights: as in :func:`from_nnx`.
      norm: as in :func:`from_nnx`.

    Raises:
      ValueError: an unknown name.
    """
    check_modes(weights, norm)
    layers: dict[Any, Layer] = {}

    def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        if layer := find_layer(context.module):
            layers[context.module.path] = layer
        return call(*args, **kwargs)

    with linen.intercept_methods(note):
        jax.eval_shape(module.init, jax.random.key(0), x)

    def init(key: Array) -> Params:
        variables = linen.unbox(module.init(key, x))
        return {
            **variables,
            "params": draw_weights(weights, key, variables["params"], layers),
        }

    def marked(here: marks.Marks, variables: Params, x: Array) -> Array:
        weights = tap_parameters(variables["params"], here, layers)
        mutable = [name for name in variables if name != "params"]
        with linen.intercept_methods(interceptor(here, norm)):
            x = tap_input(x, here, norm)
            y, _ = module.apply({**variables, "params": weights}, x, mutable=mutable)
        return y

    def apply(variables: Params, x: Array, code: Array | None, tap: Tap) -> Array:
        return marks.run(marked, tap, variables, x)

    return Network(init, apply)
