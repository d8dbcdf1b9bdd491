"""What can be measured: meters of taps, named by the calls that made them."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, TypeVar, final

from jax import Array

from jaxproxy.measure._activation import Activation, Parameter
from jaxproxy.measure._alike import alike
from jaxproxy.measure._setup import DEFAULT, Setup
from jaxproxy.options import call_name, check_choices, check_options

P = ParamSpec("P")
M = TypeVar("M", bound="Meter")


@dataclass(frozen=True, kw_only=True, eq=False)
class Meter:
    """A small summary of what a network shows; equal names are equal calls.

    It is an :class:`ActivationMeter`, a :class:`ParameterMeter` or a
    :class:`NetworkMeter`, which differ in what their ``measure`` is given.
    """

    name: str = ""
    """The call that made it, such as ``"covariance(conv)"``; see :func:`meter`."""
    setup: Setup = DEFAULT
    """What the network is prepared with; part of the name if not the default."""
    keep: bool = True
    """Whether a run stores the readings; large ones are for scores only."""
    add: bool = False
    """Whether readings of several batches are added up rather than stacked."""
    compares: bool = False
    """Whether it compares images with each other, so that one says nothing."""
    over_batches: Callable[[Array], Array] | None = None
    """Readings of all batches [M, ...], or their sum, -> the reading of a tap.

    The former may be as large as a gradient; zeros may stand behind them.
    """

    def under(self: M, setup: Setup) -> M:
        """Returns the same meter under another setup."""
        name = self.name.removesuffix(self.setup.label) + setup.label
        return dataclasses.replace(self, name=name, setup=setup)

    def __eq__(self, other: object) -> bool:
        """Whether both are of one kind, and all fields and their code are alike."""
        if not isinstance(other, Meter) or type(self) is not type(other):
            return False
        names = (field.name for field in dataclasses.fields(self))
        return all(alike(getattr(self, n), getattr(other, n)) for n in names)

    def __hash__(self) -> int:
        """Of what tells most meters apart."""
        return hash((self.name, self.setup))


@final
@dataclass(frozen=True, eq=False)
class ActivationMeter(Meter):
    """A meter of activations, taken as they pass their taps."""

    kinds: tuple[str, ...]
    """Tap kinds that it reads, such as ``("conv",)``."""
    measure: Callable[[Activation], Array]
    """Gives one small array."""
    gradient: bool = False
    """Whether it reads ``activation.gradient``, of the loss.

    What it gives must be zero where that is, since such taps are left out.
    """

    def __post_init__(self) -> None:
        """Checks what it reads."""
        _check_kinds(self.name, self.kinds)

    @property
    def phase(self) -> str:
        """Whether it is taken ``"forward"`` or ``"backward"``."""
        return "backward" if self.gradient else "forward"


@final
@dataclass(frozen=True, eq=False)
class ParameterMeter(Meter):
    """A meter of parameter tensors."""

    kinds: tuple[str, ...]
    """Tensor kinds that it reads, such as ``("conv_w", "linear_w")``."""
    measure: Callable[[Parameter], Array]
    """Gives one small array.

    Tensors of different sizes may give vectors of different lengths, which get zeros
    behind.
    """
    reads: Literal["weight", "gradient", "slope"] = "weight"
    """What else of a parameter it reads: nothing, its gradient, or its slopes."""

    def __post_init__(self) -> None:
        """Checks what it reads."""
        _check_kinds(self.name, self.kinds)
        check_choices(reads=(self.reads, ("weight", "gradient", "slope")))

    @property
    def phase(self) -> str:
        """When it is taken: ``"weight"`` forward, the others backward."""
        return self.reads


def _check_kinds(name: str, kinds: tuple[str, ...]) -> None:
    if isinstance(kinds, str) or not kinds:
        raise ValueError(
            f"kinds of meter {name!r} are a tuple of names such as ('conv',), not "
            f"{kinds!r}"
        )


def meter(factory: Callable[P, M]) -> Callable[P, M]:
    """Names what a factory makes by the call: ``covariance(conv,rows=raw)``.

    Positional options are always written, others where they are not the default.
    Options annotated as a ``Literal`` or ``bool`` are checked.
    """
    signature = inspect.signature(factory)

    @functools.wraps(factory)
    def named(*args: P.args, **kwargs: P.kwargs) -> M:
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        check_options(factory, call.arguments)
        written = {
            option: value
            for option, value in call.arguments.items()
            if signature.parameters[option].kind is not inspect.Parameter.KEYWORD_ONLY
            or value != signature.parameters[option].default
        }
        made = factory(*args, **kwargs)
        name = call_name(factory, written) + made.setup.label
        return dataclasses.replace(made, name=name)

    return named


@dataclass(frozen=True)
class MeterSet:
    """The union of the meters of one pass, asked by the taps of a network."""

    meters: tuple[Meter, ...]

    @classmethod
    def of(cls, meters: Iterable[Meter]) -> "MeterSet":
        """Returns a set of meters, each taken once, in order of appearance.

        Raises:
          ValueError: two different meters of one name, whose readings would be mixed
            up, or a meter without a name.
        """
        unique = tuple(dict.fromkeys(meters))
        names = [meter.name for meter in unique]
        if not all(names):
            raise ValueError(
                "a meter has no name; decorate its factory with jaxproxy.meters.meter"
            )
        if len(set(names)) < len(names):
            raise ValueError(
                f"two different meters have one name, among {sorted(names)}"
            )
        return cls(unique)

    def __iter__(self) -> Iterator[Meter]:
        """Yields the meters."""
        return iter(self.meters)

    def select(self, phase: str, kind: str) -> tuple[Any, ...]:
        """Returns the meters of a phase that read a kind of tap."""
        return tuple(
            meter
            for meter in self.meters
            if isinstance(meter, ActivationMeter | ParameterMeter)
            and meter.phase == phase
            and kind in meter.kinds
        )

    def forward(self, kind: str, activation: Activation) -> dict[str, Array]:
        """Returns summaries of an activation by meter name."""
        return {m.name: m.measure(activation) for m in self.select("forward", kind)}

    def backward(
        self, kind: str, activation: Activation, gradient: Array
    ) -> dict[str, Array]:
        """Returns summaries of an activation and its gradient by meter name."""
        activation = activation.with_gradient(gradient)
        return {m.name: m.measure(activation) for m in self.select("backward", kind)}

    def weight(
        self, kind: str, weight: Array, size: Array | None = None
    ) -> dict[str, Array]:
        """Returns summaries of a parameter alone, by meter name."""
        parameter = Parameter(weight, size=size)
        return {m.name: m.measure(parameter) for m in self.select("weight", kind)}

    def gradient(
        self, kind: str, weight: Array, grad: Array, size: Array | None = None
    ) -> dict[str, Array]:
        """Returns summaries of a parameter and its gradient, by meter name."""
        parameter = Parameter(weight, gradient=grad, size=size)
        return {m.name: m.measure(parameter) for m in self.select("gradient", kind)}

    def slope(self, kind: str, slopes: Array) -> dict[str, Array]:
        """Returns summaries of the slopes float[B] of a parameter, by meter name."""
        parameter = Parameter(None, slopes=slopes)
        return {m.name: m.measure(parameter) for m in self.select("slope", kind)}

    def wants(self, phase: str, *kinds: str) -> bool:
        """Returns whether any meter of this phase reads one of the kinds."""
        return any(self.select(phase, kind) for kind in kinds)

    def needs_gradients(self) -> bool:
        """Returns whether a backward pass is needed at all."""
        phases = {getattr(meter, "phase", "") for meter in self.meters}
        return not phases.isdisjoint(("backward", "gradient", "slope"))
