"""How a program is traced: with which numbers, and without pauses."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import jax

from jaxproxy.startup import numerics


@contextmanager
def tracing(precision: str, *, x64: bool) -> Iterator[None]:
    """The context in which all of a program is built and run.

    Args:
      precision: of products, as :func:`~jaxproxy.startup.numerics` takes it.
      x64: whether numbers are float64 where nothing else is said, whatever JAX is set
        to.
    """
    with numerics(precision), jax.enable_x64(True) if x64 else nullcontext():
        yield


@contextmanager
def no_collection() -> Iterator[None]:
    """Collecting garbage took a quarter of tracing, which makes little of it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
