"""Networks as pairs of pure functions: the only file that adapts Flax.

A module calls ``tap(name, x, kind)`` where an activation may be measured; a user's own
module needs no edits, since :func:`from_linen` and :func:`from_nnx` put taps behind its
layers and parameters.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen, nnx

from jaxproxy import marks
from jaxproxy.setups import NORMS, WEIGHTS, check_choices
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
    choose: Callable[[Params, Array], Params] | None = None
    """(parameters, code) -> those of the architecture, if they are not shared."""


class _Layer(NamedTuple):
    """What is known of a layer by its class."""

    kind: str
    features: tuple[int, ...] = ()
    """Its outputs, over one or several last axes; none for normalisation."""


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
    _check_modes(weights, norm)
    given = make if isinstance(make, nnx.Module) else None
    abstract = given or nnx.eval_shape(lambda: make(nnx.Rngs(0)))
    graph, params, rest = nnx.split(abstract, nnx.Param, ...)
    layers = {path: layer for path, module in nnx.iter_modules(abstract)
              if (layer := _layer(module))}  # fmt: skip

    def init(key: Array) -> Params:
        made = given or make(nnx.Rngs(key))
        _, own, state = nnx.split(made, nnx.Param, ...)
        return {
            "params": _drawn(weights, key, nnx.to_pure_dict(own), layers),
            "rest": nnx.to_pure_dict(state),
        }

    def module(weights: Params, state: Params) -> Any:
        filled = _filled(params, weights), _filled(rest, state)
        return nnx.merge(graph, *filled, copy=True)

    def marked(here: marks.Marks, variables: Params, x: Array) -> Array:
        marked = _tap_parameters(variables["params"], here, layers)
        model = module(marked, variables["rest"])
        _tap_layers(model, here, norm)
        return model(here("input", x, "input"))

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


def _check_modes(weights: str | None, norm: str) -> None:
    check_choices(norm=(norm, NORMS))
    if weights is not None:
        check_choices(weights=(weights, WEIGHTS))


_KINDS: dict[type, str] = {
    **dict.fromkeys((linen.Conv, linen.ConvTranspose), "conv"),
    **dict.fromkeys((nnx.Conv, nnx.ConvTranspose), "conv"),
    **dict.fromkeys((linen.Dense, linen.DenseGeneral), "linear"),
    **dict.fromkeys((nnx.Linear, nnx.LinearGeneral), "linear"),
    **dict.fromkeys((linen.BatchNorm, nnx.BatchNorm), "bn"),
    **dict.fromkeys((linen.LayerNorm, linen.GroupNorm, linen.InstanceNorm), "ln"),
    **dict.fromkeys((nnx.LayerNorm, nnx.GroupNorm, nnx.InstanceNorm), "ln"),
    **dict.fromkeys((linen.RMSNorm, nnx.RMSNorm), "ln"),
}


def _layer(module: object) -> _Layer | None:
    kind = next((kind for t, kind in _KINDS.items() if isinstance(module, t)), None)
    if kind is None or kind in ("bn", "ln"):
        return kind and _Layer(kind)
    features = getattr(module, "features", None) or getattr(module, "out_features", ())
    return _Layer(kind, (features,) if isinstance(features, int) else tuple(features))


def _tap_output(name: str, y: Array, layer: _Layer, tap: Any) -> Array:
    """An output through its tap, with all features in one last axis."""
    if len(layer.features) < 2:
        return tap(name, y, layer.kind)
    flat = y.reshape(*y.shape[: -len(layer.features)], -1)
    return tap(name, flat, layer.kind).reshape(y.shape)


def _normalised(
    name: str, call: Callable[..., Array], args: Any, kwargs: Any, kind: str,
    norm: str, tap: Any,
) -> Array:  # fmt: skip
    """Output of a normalisation in a mode of ``setups.NORMS``."""
    x, *others = args
    x = tap(f"{name}.input", x, f"{kind}_input")
    if norm == "none":
        return tap(name, x, kind)
    if norm == "fixed" and kind == "bn":
        kwargs = {**kwargs, "use_running_average": True}
    return tap(name, call(x, *others, **kwargs), kind)


def _tap_layers(module: nnx.Module, tap: Any, norm: str) -> None:
    """Puts a tap behind every layer of a module that lives for one trace only."""
    for path, layer in list(nnx.iter_modules(module)):
        if known := _layer(layer):
            name = ".".join(map(str, path))
            layer.__class__ = _tapped_class(type(layer), name, known, tap, norm)


def _tapped_class(base: type, name: str, layer: _Layer, tap: Any, norm: str) -> type:
    def call(self: Any, *args: Any, **kwargs: Any) -> Array:
        inner = functools.partial(base.__call__, self)
        if not layer.features:
            return _normalised(name, inner, args, kwargs, layer.kind, norm, tap)
        return _tap_output(name, inner(*args, **kwargs), layer, tap)

    return type(base.__name__, (base,), {"__call__": call})


def _tap_parameters(params: Any, tap: Any, layers: dict[Any, _Layer]) -> Any:
    """Taps every parameter tensor under the path that it has in the tree."""

    def tapped(path: tuple[Any, ...], weight: Array) -> Array:
        names = [key.key for key in path]
        kind = _parameter_kind(names, layers)
        return tap.parameter(".".join(map(str, names)), weight, kind)

    return jax.tree_util.tree_map_with_path(tapped, params)


def _parameter_kind(names: list[Any], layers: dict[Any, _Layer]) -> str:
    """``conv_w``, ``linear_b``, ``bn_w``..., or ``other_w`` outside of known layers."""
    layer = layers.get(tuple(names[:-1]))
    if layer is None:
        return "other_w"
    return f"{layer.kind}_{'b' if names[-1] == 'bias' else 'w'}"


def _drawn(scheme: str | None, key: Array, params: Any, layers: Any) -> Any:
    """Parameters with weights drawn anew, biases 0 and scales 1; or as they are."""
    if scheme is None:
        return params

    def drawn(number: int, path: tuple[Any, ...], own: Array) -> Array:
        names = [key.key for key in path]
        kind = _parameter_kind(names, layers)
        if kind == "other_w":
            return jnp.abs(own) if scheme == "abs" else own
        if kind.endswith("_b"):
            return jnp.zeros_like(own)
        if kind in ("bn_w", "ln_w"):
            return jnp.ones_like(own)
        outputs = math.prod(layers[tuple(names[:-1])].features)
        window = math.prod(own.shape[:-2]) if kind == "conv_w" else 1
        here = jax.random.fold_in(key, number)
        z = jax.random.normal(here, (own.size,)).reshape(own.shape)
        return WEIGHTS[scheme](z, own.size // outputs, window * outputs)

    leaves, tree = jax.tree_util.tree_flatten_with_path(params)
    return tree.unflatten([drawn(i, *leaf) for i, leaf in enumerate(leaves)])


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
    _check_modes(weights, norm)
    layers: dict[Any, _Layer] = {}

    def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        if layer := _layer(context.module):
            layers[context.module.path] = layer
        return call(*args, **kwargs)

    with linen.intercept_methods(note):
        jax.eval_shape(module.init, jax.random.key(0), x)

    def init(key: Array) -> Params:
        variables = linen.unbox(module.init(key, x))
        return {
            **variables,
            "params": _drawn(weights, key, variables["params"], layers),
        }

    def marked(here: marks.Marks, variables: Params, x: Array) -> Array:
        weights = _tap_parameters(variables["params"], here, layers)
        mutable = [name for name in variables if name != "params"]
        with linen.intercept_methods(_interceptor(here, norm)):
            x = here("input", x, "input")
            y, _ = module.apply({**variables, "params": weights}, x, mutable=mutable)
        return y

    def apply(variables: Params, x: Array, code: Array | None, tap: Tap) -> Array:
        return marks.run(marked, tap, variables, x)

    return Network(init, apply)


def _interceptor(tap: Any, norm: str) -> Callable[..., Any]:
    running: list[tuple[str, ...]] = []

    def intercept(
        call: Callable[..., Any],
        args: Any,
        kwargs: Any,
        context: linen.module.InterceptorContext,
    ) -> Any:
        layer, path = _layer(context.module), context.module.path
        # A subclass that calls its parent's __call__ is one layer, not two.
        if layer is None or context.method_name != "__call__" or path in running:
            return call(*args, **kwargs)
        name = ".".join(path)
        running.append(path)
        if layer.features:
            y = _tap_output(name, call(*args, **kwargs), layer, tap)
        else:
            y = _normalised(name, call, args, kwargs, layer.kind, norm, tap)
        running.pop()
        return y

    return intercept
