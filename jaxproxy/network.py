"""Networks as pairs of pure functions: the only file that adapts Flax.

A module calls ``tap(name, x, kind)`` where an activation may be measured; a user's own
module needs no edits, since :func:`from_linen` and :func:`from_nnx` put taps behind its
layers and parameters.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import linen, nnx

from jaxproxy.taps import Rows, Slot, Tap
from jaxproxy.types import Array

__all__ = ["Block", "Network", "Rows", "Slot", "Tap", "from_linen", "from_nnx"]

Params = Any


class Block(NamedTuple):
    """n layers in a row that differ in their parameters only."""

    apply: Callable[[Any, Array], Array]
    """(parameters of one layer, x) -> its output, shaped like x if n > 1."""
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


def from_nnx(
    make: Callable[[nnx.Rngs], nnx.Module], *, tapped: bool = False
) -> Network:
    """Network of an NNX module.

    In a module that is not ``tapped``, slots have the paths of its attributes as names.
    Activations are in the order of the calls, parameters in that of the tree; a tensor
    of three or more axes counts as a convolution's, a ``scale`` as BatchNorm's.

    Args:
      make: builds the module from ``nnx.Rngs``. A module that takes its architecture as
        data has ``__call__(x, code, tap)``, and may have ``blocks(code)`` (see
        :class:`Network`); with ``tapped=False`` it has
        ``__call__(x)``, is used as it is, and every Linear, Conv and BatchNorm in it is
        tapped behind its back.
      tapped: whether the module taps its activations and parameters itself.
    """
    abstract = nnx.eval_shape(lambda: make(nnx.Rngs(0)))
    graph, params, rest = nnx.split(abstract, nnx.Param, ...)

    def init(key: Array) -> Params:
        _, weights, state = nnx.split(make(nnx.Rngs(key)), nnx.Param, ...)
        return {"params": nnx.to_pure_dict(weights), "rest": nnx.to_pure_dict(state)}

    def module(weights: Params, state: Params) -> Any:
        filled = _filled(params, weights), _filled(rest, state)
        return nnx.merge(graph, *filled, copy=True)

    def apply(variables: Params, x: Array, code: Array | None, tap: Tap) -> Array:
        weights = variables["params"]
        if tapped:
            return module(weights, variables["rest"])(x, code, tap)
        model = module(_tap_parameters(weights, tap), variables["rest"])
        _tap_layers(model, tap)
        return model(x)

    def blocks(variables: Params, code: Array | None) -> tuple[Block, ...]:
        return module(variables["params"], variables["rest"]).blocks(code)

    has_blocks = tapped and hasattr(abstract, "blocks")
    return Network(init, apply, blocks if has_blocks else None)


def _filled(abstract: Any, values: dict[Any, Any]) -> Any:
    state = jax.tree.map(lambda leaf: leaf, abstract)
    nnx.replace_by_pure_dict(state, values)
    return state


_NNX_KINDS = {nnx.Conv: "conv", nnx.Linear: "linear", nnx.BatchNorm: "bn"}
_LINEN_KINDS = {linen.Conv: "conv", linen.Dense: "linear", linen.BatchNorm: "bn"}


def _kind(layer: object, kinds: dict[type, str]) -> str | None:
    return next((kind for t, kind in kinds.items() if isinstance(layer, t)), None)


def _tap_layers(module: nnx.Module, tap: Tap) -> None:
    """Puts a tap behind every layer of a module that lives for one trace only."""
    for path, layer in list(nnx.iter_modules(module)):
        if kind := _kind(layer, _NNX_KINDS):
            name = ".".join(map(str, path))
            layer.__class__ = _tapped_class(type(layer), name, kind, tap)


def _tapped_class(base: type, name: str, kind: str, tap: Tap) -> type:
    def call(self: Any, *args: Any, **kwargs: Any) -> Array:
        return tap(name, base.__call__(self, *args, **kwargs), kind)

    return type(base.__name__, (base,), {"__call__": call})


def _tap_parameters(params: Any, tap: Tap) -> Any:
    """Taps every parameter tensor under the path that it has in the tree."""

    def tapped(path: tuple[Any, ...], weight: Array) -> Array:
        *parents, last = (key.key for key in path)
        siblings = functools.reduce(lambda tree, key: tree[key], parents, params)
        kind = _parameter_kind(last, weight, siblings)
        return tap.parameter(".".join(map(str, [*parents, last])), weight, kind)

    return jax.tree_util.tree_map_with_path(tapped, params)


def _parameter_kind(name: str | int, weight: Array, siblings: dict[Any, Any]) -> str:
    """``conv_w``, ``linear_b``, ``bn_w``... by the tensor's name and shape."""
    if name == "scale":
        return "bn_w"
    if name == "bias" and "scale" in siblings:
        return "bn_b"
    kernel = siblings.get("kernel", weight) if name == "bias" else weight
    layer = "linear" if kernel.ndim <= 2 else "conv"
    return f"{layer}_{'b' if name == 'bias' else 'w'}"


def from_linen(module: linen.Module, x: Array) -> Network:
    """Network of an unmodified Linen module, for inputs shaped like ``x``.

    Every Dense, Conv and BatchNorm is tapped by intercepting its call; collections
    other than ``params`` (batch statistics) are used and their updates dropped. Names,
    order and kinds of the slots are as in :func:`from_nnx`.

    Args:
      module: called as ``module(x)``; a training flag is bound beforehand, as in
        ``module.clone(train=True)`` or a default value.
      x: float[B, ...], only its shape is used.
    """

    def init(key: Array) -> Params:
        return linen.unbox(module.init(key, x))

    def apply(variables: Params, x: Array, code: Array | None, tap: Tap) -> Array:
        weights = _tap_parameters(variables["params"], tap)
        running: list[tuple[str, ...]] = []

        def intercept(
            call: Callable[..., Any],
            args: Any,
            kwargs: Any,
            context: linen.module.InterceptorContext,
        ) -> Any:
            kind, path = _kind(context.module, _LINEN_KINDS), context.module.path
            # A subclass that calls its parent's __call__ is one layer, not two.
            if kind is None or context.method_name != "__call__" or path in running:
                return call(*args, **kwargs)
            running.append(path)
            y = call(*args, **kwargs)
            running.pop()
            return tap(".".join(path), y, kind)

        mutable = [name for name in variables if name != "params"]
        with linen.intercept_methods(intercept):
            y, _ = module.apply({**variables, "params": weights}, x, mutable=mutable)
        return y

    return Network(init, apply)
