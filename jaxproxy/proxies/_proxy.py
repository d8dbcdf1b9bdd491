"""What a proxy is: a name, what it needs, and a pure function to a score."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import jax.numpy as jnp
from jax import Array

from jaxproxy.measure import Setup
from jaxproxy.options import check_choices

if TYPE_CHECKING:
    import numpy as np

    from jaxproxy.measure import Meter, Readings
    from jaxproxy.spaces import Space
    from jaxproxy.types import Batch, Fidelity


@dataclass(frozen=True)
class Proxy:
    """A zero-cost score of an architecture, by exactly one of three routes.

    Attributes:
      name: column name, such as ``"intrain"``; variants append their options.
      meters: what ``score`` reads.
      score: readings of one architecture -> float[]; pure. All proxies of this kind
        share one forward and one backward pass.
      valid: readings of one architecture -> bool[], whether its score means anything;
        by default, whether it is finite. Nothing is put in its place if not.
      program: ``(space, fidelity, batch) -> (code int32[G] -> float[])``, for a proxy
        that needs a pass of its own. Work that no gene changes belongs before the
        returned function, which is mapped over architectures.
      count: ``(space, codes int[N, G]) -> float64[N]``, exact and on the host.
      x64: ``program`` is to be built and traced under ``jax.enable_x64(True)``.
      inputs: what ``program`` gets as ``batch``: ``"gaussian"`` noise of the fidelity's
        batch size and resolution with random labels, or the user's ``"images"`` in
        their own, whose labels are all 0.
      higher_is_better: whether a larger score predicts a better architecture.
      invariant: isomorphic architectures have equal scores, so that one of them needs
        to be scored.
      reference: the paper.
    """

    name: str
    meters: "tuple[Meter, ...]" = ()
    score: "Callable[[Readings], Array] | None" = None
    valid: "Callable[[Readings], Array] | None" = None
    program: "Callable[[Space, Fidelity, Batch], Callable[[Array], Array]] | None" = (
        None
    )
    count: "Callable[[Space, np.ndarray], np.ndarray] | None" = None
    x64: bool = False
    inputs: Literal["gaussian", "images"] = "gaussian"
    higher_is_better: bool = True
    invariant: bool = False
    reference: str = ""

    def __post_init__(self) -> None:
        """Checks that exactly one route is given, and a score what it reads."""
        routes = ("score", "program", "count")
        given = [route for route in routes if getattr(self, route) is not None]
        if len(given) != 1:
            raise ValueError(
                f"proxy {self.name!r} gives {given}; give exactly one of {routes}"
            )
        if self.score is not None and not self.meters:
            raise ValueError(f"proxy {self.name!r} has no meters for its score to read")

    def is_valid(self, readings: "Readings", score: Array) -> Array:
        """Whether the score of an architecture means anything, bool[]."""
        finite = jnp.isfinite(score)
        return finite if self.valid is None else finite & self.valid(readings)


def data_setup(inputs: str, **options: Any) -> Setup:
    """The setup of a proxy that may see noise or the user's images.

    Args:
      inputs: ``"gaussian"`` or ``"images"``.
      **options: other fields of the setup.

    Raises:
      ValueError: other inputs, or as :class:`~jaxproxy.measure.Setup`.
    """
    check_choices(inputs=(inputs, ("gaussian", "images")))
    return Setup(inputs=inputs, **options)
