"""What can be measured at a tap."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from jaxproxy.meters._activation import Activation
from jaxproxy.types import Array

__all__ = ["Meter", "Probe"]


@dataclass(frozen=True)
class Meter:
    """A small summary of one kind of tap; equal names mean equal meters.

    Attributes:
      name: identifies the meter with all its options, e.g. ``"covariance(conv)"``.
      kinds: tap kinds it reads, e.g. ``("conv",)``.
      phase: when it is taken. ``forward``: from the activation; ``backward``: from the
        activation and the gradient of the loss; ``gradient``: from a parameter tensor
        and its gradient.
      measure: ``forward(activation)``, ``backward(activation, cotangent)`` or
        ``gradient(weight, grad)``, giving one small float array. What ``backward``
        gives is zero where the cotangent is, since such taps are left out.
    """

    name: str
    kinds: tuple[str, ...]
    phase: Literal["forward", "backward", "gradient"]
    measure: Callable[..., Array] = field(compare=False, repr=False)


@dataclass(frozen=True)
class Probe:
    """The union of the meters of one run, asked by the taps of a network."""

    meters: tuple[Meter, ...]

    def select(self, phase: str, kind: str) -> tuple[Meter, ...]:
        """The meters of a phase that read a kind of tap."""
        return tuple(m for m in self.meters if m.phase == phase and kind in m.kinds)

    def forward(self, kind: str, activation: Activation) -> dict[str, Array]:
        """Forward summaries by meter name."""
        return {m.name: m.measure(activation) for m in self.select("forward", kind)}

    def backward(
        self, kind: str, activation: Activation, cotangent: Array
    ) -> dict[str, Array]:
        """Backward summaries by meter name."""
        meters = self.select("backward", kind)
        return {m.name: m.measure(activation, cotangent) for m in meters}

    def gradient(self, kind: str, weight: Array, grad: Array) -> dict[str, Array]:
        """Parameter summaries by meter name."""
        meters = self.select("gradient", kind)
        return {m.name: m.measure(weight, grad) for m in meters}

    def wants(self, phase: str, *kinds: str) -> bool:
        """Whether any meter of this phase reads one of the kinds."""
        return any(self.select(phase, kind) for kind in kinds)

    def needs_gradients(self) -> bool:
        """Whether a backward pass is needed at all."""
        return any(m.phase != "forward" for m in self.meters)


def as_kinds(
    group: str | tuple[str, ...], table: dict[str, tuple[str, ...]]
) -> tuple[tuple[str, ...], str]:
    """Tap kinds of a named group, or the kinds themselves, and a label for names."""
    if isinstance(group, tuple):
        return group, "+".join(group)
    if group not in table:
        raise ValueError(f"unknown taps {group!r}; choose from {sorted(table)}")
    return table[group], group
