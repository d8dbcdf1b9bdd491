"""What can be measured at a tap."""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from jax import Array

from jaxproxy.measure._activation import Activation
from jaxproxy.measure._setup import DEFAULT, Setup
from jaxproxy.options import check_choices


@dataclass(frozen=True)
class Meter:
    """A small summary of one kind of tap; equal names mean equal meters.

    Attributes:
      name: identifies the meter with all its options, e.g. ``"covariance(conv)"``.
      kinds: tap kinds it reads, e.g. ``("conv",)``; none for ``network``.
      phase: when it is taken. ``forward``: from the activation; ``backward``: from the
        activation and the gradient of the loss; ``weight``: from a parameter tensor;
        ``gradient``: from a parameter tensor and its gradient; ``slope``: from the
        derivatives by its first element, one for each image; ``network``: from the
        network as a whole, which it may differentiate as it likes.
      measure: ``forward(activation)``, ``backward(activation, cotangent)``,
        ``weight(weight)``, ``gradient(weight, grad)``, ``slope(slopes)`` or
        ``network(model)``, giving one small array. What ``backward`` gives is zero
        where the cotangent is, since such taps are left out. Parameters of different
        sizes may give vectors of different lengths, which get zeros behind.
      sized: whether a ``weight`` or ``gradient`` meter also takes, as its last
        argument, the number of elements that exist, int32[] or ``None`` for all. Where
        widths are data, tensors have the size of the widest, zeros in between.
      setup: what the network is prepared with; part of the name if not the default.
      keep: whether a run stores the readings. Large ones are for scores only.
      add: whether readings of several batches are added up rather than stacked.
      over_batches: gives the reading of a tap from those of all batches, [M, ...], or
        from their sum, if added. They may be as large as a gradient; what is left is
        for the readings of an architecture. Zeros may stand behind them.
      cost: what a ``network`` meter runs, in the words of ``plan.COSTS``; those of the
        other phases follow from the phase.
      needs_blocks: whether a ``network`` meter reads ``Network.blocks``.
      plain: whether a ``network`` meter differentiates by parameters itself, or twice;
        others get the network that taps are read of, which is faster.
    """

    name: str
    kinds: tuple[str, ...]
    phase: Literal["forward", "backward", "weight", "gradient", "slope", "network"]
    measure: Callable[..., Array] = field(compare=False, repr=False)
    setup: Setup = DEFAULT
    keep: bool = True
    add: bool = False
    over_batches: Callable[[Array], Array] | None = field(
        default=None, compare=False, repr=False
    )
    cost: str = "forward and backward"
    needs_blocks: bool = False
    plain: bool = True
    sized: bool = False

    def under(self, setup: Setup) -> "Meter":
        """The same meter under another setup."""
        name = self.name.removesuffix(self.setup.label) + setup.label
        return dataclasses.replace(self, name=name, setup=setup)


@dataclass(frozen=True)
class MeterSet:
    """The union of the meters of one run, asked by the taps of a network."""

    meters: tuple[Meter, ...]

    @classmethod
    def of(cls, meters: Iterable[Meter]) -> "MeterSet":
        """Of meters, each taken once, in order of appearance.

        Raises:
          ValueError: two different meters of one name.
        """
        found = tuple(dict.fromkeys(meters))
        names = [meter.name for meter in found]
        if len(set(names)) < len(names):
            raise ValueError(
                f"two different meters have one name, among {sorted(names)}"
            )
        return cls(found)

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

    def weight(
        self, kind: str, weight: Array, size: Array | None = None
    ) -> dict[str, Array]:
        """Summaries of a parameter alone, by meter name."""
        meters = self.select("weight", kind)
        return {m.name: m.measure(weight, *_size(m, size)) for m in meters}

    def gradient(
        self, kind: str, weight: Array, grad: Array, size: Array | None = None
    ) -> dict[str, Array]:
        """Parameter summaries by meter name."""
        meters = self.select("gradient", kind)
        return {m.name: m.measure(weight, grad, *_size(m, size)) for m in meters}

    def slope(self, kind: str, slopes: Array) -> dict[str, Array]:
        """Summaries of the slopes float[B] of a parameter, by meter name."""
        return {m.name: m.measure(slopes) for m in self.select("slope", kind)}

    def wants(self, phase: str, *kinds: str) -> bool:
        """Whether any meter of this phase reads one of the kinds."""
        return any(self.select(phase, kind) for kind in kinds)

    def needs_gradients(self) -> bool:
        """Whether a backward pass is needed at all."""
        return any(m.phase in ("backward", "gradient", "slope") for m in self.meters)


def _size(meter: Meter, size: Array | None) -> tuple[Array | None, ...]:
    return (size,) if meter.sized else ()


def as_kinds(
    group: str | tuple[str, ...], table: dict[str, tuple[str, ...]]
) -> tuple[tuple[str, ...], str]:
    """Tap kinds of a named group, or the kinds themselves, and a label for names."""
    if isinstance(group, tuple):
        return group, "+".join(group)
    check_choices(taps=(group, table))
    return table[group], group
