"""Networks as pairs of pure functions, and a network bound to one architecture."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, NamedTuple, final

from jax import Array

from jaxproxy.measure._meter import Meter, MeterSet
from jaxproxy.measure._setup import cross_entropy
from jaxproxy.measure._tap import Substitute, Tap
from jaxproxy.types import Batch

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

    def replacing(self, kinds: Collection[str], substitute: Substitute) -> "Network":
        """Returns the same network with other weights in place of its own.

        Args:
          kinds: of the tensors that are replaced, where they pass their taps.
          substitute: (kind, weight, how many elements exist) -> weight.

        Raises:
          ValueError: when it is applied, and no such tensor passes a tap.
        """

        def apply(params: Params, x: Array, code: Array | None, tap: Tap) -> Array:
            seen, outer = set[str](), tap.recorder.substitute

            def replace(kind: str, weight: Array, size: Array | None) -> Array:
                weight = outer(kind, weight, size) if outer else weight
                if kind not in kinds:
                    return weight
                seen.add(kind)
                return substitute(kind, weight, size)

            tap.recorder.substitute = replace
            outputs = self.apply(params, x, code, tap)
            if not seen:
                raise ValueError(
                    "the network has no weights to replace: no parameter passes a tap "
                    f"as one of {sorted(kinds)}"
                )
            return outputs

        return self._replace(apply=apply)


@final
@dataclass(frozen=True, eq=False)
class NetworkMeter(Meter):
    """A meter of a network as a whole, which it may differentiate as it likes."""

    measure: "Callable[[Model], Array]"
    """Gives one small array."""
    cost: str = "forward and backward"
    """What it runs, in the words of ``scoring.COSTS``."""
    needs_blocks: bool = False
    """Whether it reads ``Network.blocks``."""
    classes: bool = False
    """Whether it reads labels or which class is likely, so that one says nothing."""
    plain: bool = True
    """Whether it differentiates by parameters itself, or twice.

    Others get the network that taps are read of, which is faster.
    """


class Model(NamedTuple):
    """A network bound to an architecture: what meters of the whole network read.

    For a meter that asks for the ``plain`` network, its functions can be differentiated
    with respect to parameters and inputs, and twice.
    """

    network: Network
    params: Params
    batch: Batch
    """The first batch of the setup."""
    code: Array | None
    key: Array
    """For what the meter draws."""
    loss: Callable[[Array, Array], Array] = cross_entropy
    """Of the task."""

    def logits(self, params: Params, x: Array) -> Array:
        """Returns the logits float[B, K] of images float[B, R, R, 3]."""
        return self.network.apply(params, x, self.code, Tap(MeterSet(())))
