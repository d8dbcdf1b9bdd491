"""What a proxy is: the call that made it, what it reads, and a pure function."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxproxy.measure import Meter, Readings, Setup
from jaxproxy.options import call_name, check_options
from jaxproxy.spaces import Space

P = ParamSpec("P")
Inputs = Literal["gaussian", "images"]
"""Noise with random labels, or the user's images with theirs."""


@dataclass(frozen=True)
class Proxy:
    """A zero-cost score of an architecture, by one of two routes: ``score``, ``count``.

    Equal names are equal calls, where :func:`proxy` decorates the factory.
    """

    name: str = ""
    """Of its column: the call that made it, such as ``"intrain(layers=relu)"``."""
    meters: tuple[Meter, ...] = ()
    """What ``score`` reads; proxies share the passes that their meters need."""
    score: Callable[[Readings], Array] | None = None
    """Readings of one architecture -> float[]; pure."""
    count: Callable[[Space, np.ndarray], np.ndarray] | None = None
    """(space, codes int[N, G]) -> float64[N], exact and on the host."""
    valid: Callable[[Readings], Array] | None = None
    """Readings of one architecture -> bool[], whether its score means anything.

    By default, whether it is finite. Nothing is put in its place if not.
    """
    higher_is_better: bool = True
    """Whether a larger score predicts a better architecture."""
    invariant: bool = False
    """Whether isomorphic architectures have equal scores, so that one is scored."""
    reference: str = ""
    """The paper."""

    def __post_init__(self) -> None:
        """Checks that exactly one route is given, and a score what it reads."""
        routes = ("score", "count")
        given = [route for route in routes if getattr(self, route) is not None]
        if len(given) != 1:
            raise ValueError(
                f"proxy {self.name!r} gives {given}; give exactly one of {routes}"
            )
        if self.score is not None and not self.meters:
            raise ValueError(f"proxy {self.name!r} has no meters for its score to read")

    def is_valid(self, readings: Readings, score: Array) -> Array:
        """Returns whether the score of an architecture means anything, bool[]."""
        finite = jnp.isfinite(score)
        return finite if self.valid is None else finite & self.valid(readings)


def proxy(factory: Callable[P, Proxy]) -> Callable[P, Proxy]:
    """Names what a factory makes by the call: ``intrain(layers=relu,dead=live)``.

    Options that are given are written, in the order of the signature. Those annotated
    as a ``Literal`` or ``bool`` are checked, and are what ``ablate`` varies.
    """
    signature = inspect.signature(factory)

    @functools.wraps(factory)
    def named(*args: P.args, **kwargs: P.kwargs) -> Proxy:
        call = signature.bind(*args, **kwargs)
        check_options(factory, call.arguments)
        made = factory(*args, **kwargs)
        return dataclasses.replace(made, name=call_name(factory, call.arguments))

    return named


def is_factory(value: object) -> bool:
    """Returns whether a value is a factory that :func:`proxy` decorates."""
    hints = getattr(value, "__annotations__", {})
    return hasattr(value, "__wrapped__") and hints.get("return") is Proxy


def data_setup(inputs: Inputs, **options: Any) -> Setup:
    """Returns the setup of a proxy that may see noise or the user's images.

    Args:
      inputs: ``"gaussian"`` or ``"images"``.
      **options: other fields of the setup.

    Raises:
      ValueError: as :class:`~jaxproxy.measure.Setup`.
    """
    return Setup(inputs=inputs, **options)
