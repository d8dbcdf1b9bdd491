"""What is known of Flax layers: kinds of taps, and how to measure and redraw them."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx
from jax import Array

from jaxproxy.measure._random import normals
from jaxproxy.measure._setup import NORMS, WEIGHTS
from jaxproxy.options import check_choices


class Layer(NamedTuple):
    """What is known of a layer by its class."""

    kind: str
    features: tuple[int, ...] = ()
    """Its outputs, over one or several last axes; none for normalisation."""
    axes: tuple[tuple[str, int], ...] = ()
    """How many axes its tensors have by name; more are of layers in a stack."""
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """Of its tensors, where it was seen to be called."""
    places: tuple[int, ...] = ()
    """Axes of the features in the output, from its end; the last ones by default."""
    columns: tuple[int, ...] = ()
    """Axes of the features in the kernel, from its end, where they say their number."""

    def num_outputs(self, shape: tuple[int, ...]) -> int:
        """Returns how many features a layer has whose kernel has a shape."""
        if self.columns:
            return math.prod(shape[axis] for axis in self.columns)
        return math.prod(self.features)

    def stack(self, name: str, weight: Array) -> tuple[int, ...]:
        """Returns the shape of the stack that a tensor of the layer is of.

        ``nn.scan``, ``nnx.scan`` and ``vmap`` over layers keep them in one tensor.

        Raises:
          ValueError: the stack is not along the first axes.
        """
        more = max(weight.ndim - dict(self.axes).get(name, weight.ndim), 0)
        own = dict(self.shapes).get(name, weight.shape[more:])
        if weight.shape[more:] != own:
            raise ValueError(
                f"a stack of {self.kind} layers has a {name} {list(weight.shape)}, and "
                f"one of them {list(own)}; a stack must be along the first axis"
            )
        return weight.shape[:more]


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


def find_layer(module: object) -> Layer | None:
    """What is known of a module of either dialect, if it is a layer."""
    if isinstance(module, linen.Einsum | nnx.Einsum):
        return _einsum(module.einsum_str)
    kind = next((kind for t, kind in _KINDS.items() if isinstance(module, t)), None)
    if kind is None:
        return None
    if kind in ("bn", "ln"):
        axes = _number(getattr(module, "feature_axes", getattr(module, "axis", -1)))
        return Layer(kind, (), (("scale", axes), ("bias", axes)))
    features = getattr(module, "features", None) or getattr(module, "out_features", ())
    features = (features,) if isinstance(features, int) else tuple(features)
    bias = len(features)
    if kind == "conv":
        kernel = _number(module.kernel_size) + 2  # type: ignore[missing-attribute]
    else:
        # In front of both, general layers may have axes of the batch.
        bias += len(getattr(module, "batch_dims", getattr(module, "batch_axis", ())))
        inputs = getattr(module, "in_features", getattr(module, "axis", -1))
        kernel = bias + _number(inputs)
    return Layer(kind, features, (("kernel", kernel), ("bias", bias)))


def _einsum(text: str | None) -> Layer | None:
    """Returns the linear layer of an einsum of inputs and a kernel, if it is one.

    ``btc,tn->bnc`` is a dense layer over t whose n outputs are the axis before the
    last. No layer is known of a kernel that has an axis for each input too, as that of
    a mixture of experts, nor of inputs whose first axis is not that of the outputs.
    """
    inputs, _, rest = (text or "").replace(" ", "").partition(",")
    kernel, _, outputs = rest.partition("->")
    if "..." in outputs and not outputs.startswith("..."):
        return None
    images = (inputs.startswith("..."), outputs.startswith("..."))
    if images != (True, True) and inputs[:1] != outputs[:1]:
        return None
    inputs, kernel, outputs = (
        one.replace("...", "") for one in (inputs, kernel, outputs)
    )
    shared = set(kernel) & set(inputs)
    repeats = any(len(set(one)) < len(one) for one in (inputs, kernel, outputs))
    if repeats or not shared or shared & set(outputs):
        return None
    own = [letter for letter in outputs if letter in kernel]
    if set(kernel) != shared | set(own) or not own:
        return None
    places = tuple(outputs.index(letter) - len(outputs) for letter in own)
    # How many each of them has is known of the kernel alone.
    columns = tuple(kernel.index(letter) - len(kernel) for letter in own)
    axes = (("kernel", len(kernel)), ("bias", len(own)))
    return Layer("linear", (0,) * len(own), axes, (), places, columns)


def _number(axes: Any) -> int:
    return 1 if isinstance(axes, int) else len(axes)


def _tap_output(name: str, y: Array, layer: Layer, tap: Any) -> Array:
    """An output through its tap, with all features in one last axis."""
    if len(layer.features) < 2 and layer.places in ((), (-1,)):
        return tap(name, y, layer.kind)
    last = tuple(range(-len(layer.features), 0))
    moved = jnp.moveaxis(y, layer.places or last, last)
    flat = moved.reshape(*moved.shape[: -len(last)], -1)
    tapped = tap(name, flat, layer.kind).reshape(moved.shape)
    return jnp.moveaxis(tapped, last, layer.places or last)


def tap_input(x: Array, tap: Any, norm: str) -> Array:
    """The input through its tap."""
    if norm == "none":
        # Nothing is divided to stay in range, and what overflows is invalid.
        tap("scale", jnp.zeros(1, x.dtype), "log_scale")
    return tap("input", x, "input")


def _normalised(
    name: str, kind: str, module: Any, call: Callable[..., Array], args: Any,
    kwargs: Any, norm: str, tap: Any,
) -> Array:  # fmt: skip
    """Output of a normalisation in a mode of ``NORMS``.

    BatchNorm may be in training or evaluation mode, and know of other devices: it is in
    the mode that is asked for, and alone.
    """
    x, *others = args
    x = tap(f"{name}.input", x, f"{kind}_input")
    if norm == "none":
        return tap(name, x, kind)
    if kind == "bn":
        # Linen takes the flag from its module or its call, but not from both.
        object.__setattr__(module, "use_running_average", norm == "fixed")
        object.__setattr__(module, "axis_name", None)
        kwargs = {k: v for k, v in kwargs.items() if k != "use_running_average"}
        others = []
    return tap(name, call(x, *others, **kwargs), kind)


def tap_layers(module: nnx.Module, tap: Any, norm: str) -> None:
    """Puts a tap behind every layer of a module that lives for one trace only."""
    for path, layer in list(nnx.iter_modules(module)):
        if known := find_layer(layer):
            name = ".".join(map(str, path))
            layer.__class__ = _tapped_class(type(layer), name, known, tap, norm)


def _tapped_class(base: type, name: str, layer: Layer, tap: Any, norm: str) -> type:
    def call(self: Any, *args: Any, **kwargs: Any) -> Array:
        inner = functools.partial(base.__call__, self)
        if not layer.features:
            return _normalised(name, layer.kind, self, inner, args, kwargs, norm, tap)
        return _tap_output(name, inner(*args, **kwargs), layer, tap)

    return type(base.__name__, (base,), {"__call__": call})


def tap_parameters(params: Any, tap: Any, layers: dict[Any, Layer]) -> Any:
    """Taps every parameter tensor under the path that it has in the tree.

    A stack of layers is tapped layer by layer, as ``block.0.kernel``.
    """

    def tapped(path: tuple[Any, ...], weight: Array) -> Array:
        names = [key.key for key in path]
        *module, last = map(str, names)
        kind = _parameter_kind(names, weight, layers)
        layer = layers.get(tuple(names[:-1]))
        stack = layer.stack(last, weight) if layer else ()
        tensors = [
            tap.parameter(".".join([*module, *map(str, i), last]), weight[i], kind)
            for i in np.ndindex(stack)
        ]
        return jnp.stack(tensors).reshape(weight.shape) if stack else tensors[0]

    return jax.tree_util.tree_map_with_path(tapped, params)


def _parameter_kind(names: list[Any], weight: Array, layers: dict[Any, Layer]) -> str:
    """Returns ``conv_w``, ``linear_b``, ``bn_w``...

    Outside of known layers, a vector is ``other_b``: the scale of somebody's own
    normalisation is no weight, whatever its name. Others are ``other_w``.
    """
    layer = layers.get(tuple(names[:-1]))
    if layer is None:
        return "other_w" if weight.ndim > 1 else "other_b"
    return f"{layer.kind}_{'b' if names[-1] == 'bias' else 'w'}"


def draw_weights(scheme: str | None, key: Array, params: Any, layers: Any) -> Any:
    """Parameters with weights drawn anew, biases 0 and scales 1; or as they are."""
    if scheme is None:
        return params

    def drawn(path: tuple[Any, ...], own: Array, numbers: Array) -> Array:
        names = [key.key for key in path]
        kind = _parameter_kind(names, own, layers)
        if kind in ("other_w", "other_b"):
            return jnp.abs(own) if scheme == "abs" else own
        if kind.endswith("_b"):
            return jnp.zeros_like(own)
        if kind in ("bn_w", "ln_w"):
            return jnp.ones_like(own)
        layer = layers[tuple(names[:-1])]
        shape = own.shape[len(layer.stack(names[-1], own)) :]
        outputs = layer.num_outputs(shape)
        window = math.prod(shape[:-2]) if kind == "conv_w" else 1
        z = numbers.reshape(own.shape)
        return WEIGHTS[scheme](z, math.prod(shape) // outputs, window * outputs)

    leaves, tree = jax.tree_util.tree_flatten_with_path(params)
    numbers = normals(key, [(i, own.size) for i, (_, own) in enumerate(leaves)])
    return tree.unflatten(
        [drawn(*leaf, z) for leaf, z in zip(leaves, numbers, strict=True)]
    )


def interceptor(tap: Any, norm: str) -> Callable[..., Any]:
    """For ``linen.intercept_methods``: taps every layer, normalises by a mode."""
    running: list[tuple[str, ...]] = []

    def intercept(
        call: Callable[..., Any],
        args: Any,
        kwargs: Any,
        context: linen.module.InterceptorContext,
    ) -> Any:
        layer, path = find_layer(context.module), context.module.path
        # A subclass that calls its parent's __call__ is one layer, not two.
        if layer is None or context.method_name != "__call__" or path in running:
            return call(*args, **kwargs)
        name = ".".join(path)
        running.append(path)
        if layer.features:
            y = _tap_output(name, call(*args, **kwargs), layer, tap)
        else:
            y = _normalised(
                name, layer.kind, context.module, call, args, kwargs, norm, tap
            )
        running.pop()
        return y

    return intercept


def check_modes(weights: str | None, norm: str) -> None:
    """Raises ValueError for a name that is in neither ``WEIGHTS`` nor ``NORMS``."""
    check_choices(norm=(norm, NORMS))
    if weights is not None:
        check_choices(weights=(weights, WEIGHTS))
