"""What numbers a program computes with, and how it is traced."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import jax


@contextmanager
def numerics(precision: str, *, x64: bool) -> Iterator[None]:
    """The context in which all of a program is built and run.

    Args:
      precision: of products and convolutions, as ``jax.default_matmul_precision``
        takes it. JAX's own default differs between platforms, and so would scores.
      x64: whether numbers are float64 where nothing else is said, whatever JAX is set
        to.
    """
    double = jax.enable_x64(True) if x64 else nullcontext()
    with jax.default_matmul_precision(precision), double:
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
