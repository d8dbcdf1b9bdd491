"""Kinds of taps, and named groups of them."""

from collections.abc import Mapping
from typing import Literal

LayerGroup = Literal[
    "relu", "conv", "bn", "linear", "convlin", "cell", "rcb", "rcbl", "leaf"
]
Layers = LayerGroup | tuple[str, ...]
"""A name in :data:`ACTIVATIONS`, or tap kinds."""

ParameterGroup = Literal["all", "weights", "conv", "scales"]
Params = ParameterGroup | tuple[str, ...]
"""A name in :data:`PARAMETERS`, or tensor kinds."""

ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "relu": ("relu",),
    "conv": ("conv",),
    "bn": ("bn",),
    "linear": ("linear",),
    "convlin": ("conv", "linear"),
    "cell": ("cell", "reduction"),
    "rcb": ("relu", "conv", "bn"),
    "rcbl": ("relu", "conv", "bn", "linear"),
    "leaf": (
        *("none", "skip", "relu", "conv", "bn", "pool", "linear"),
        *("ln", "gelu", "attention"),
    ),
}
"""Groups of taps by name: the readings of InTrain that its paper leaves open."""

PARAMETERS: dict[str, tuple[str, ...]] = {
    "all": (
        *("conv_w", "conv_b", "bn_w", "bn_b", "linear_w", "linear_b"),
        *("ln_w", "ln_b", "attention_w", "other_w", "other_b"),
    ),
    "weights": ("conv_w", "linear_w", "attention_w"),
    "conv": ("conv_w",),
    "scales": ("conv_w", "bn_w", "linear_w", "ln_w", "attention_w"),
}
"""Groups of parameter tensors by name: ``scales`` are weights and scales of norms.

Matrices before and behind attention are of a kind of their own. ``ln`` is every
normalisation but BatchNorm, ``other_w`` what is in no layer that is known, such as
positions and tokens, and ``other_b`` vectors there: scales, shifts and biases alike.
"""


def kinds_of(
    group: str | tuple[str, ...], table: Mapping[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """Returns the kinds of a named group, or the kinds themselves."""
    return group if isinstance(group, tuple) else table[group]
