"""Names, depths and presence of the taps of a stage of NAS-Bench-201 cells."""

from collections.abc import Callable
from typing import ClassVar

import jax.numpy as jnp
from jax import Array

from jaxproxy.measure import Rows, Slot
from jaxproxy.spaces._nasbench201._kernel._buffers import (
    DST,
    NONE,
    POOL,
    SKIP,
    SRC,
    is_conv,
)


class Slots:
    """Names, depths and presence of the taps of a stage."""

    _SUFFIX: ClassVar[dict[str, str]] = {
        "none": ".none", "skip": ".skip", "pool": ".pool", "relu": ".relu",
        "conv_w": ".conv.weight", "conv": ".conv", "bn_input": ".bn.input",
        "bn_w": ".bn.weight", "bn_b": ".bn.bias", "bn": ".bn",
    }  # fmt: skip

    def __init__(
        self,
        first: int,
        cells: int,
        channels: int,
        code: Array,
        advance: Callable[[int], int],
    ) -> None:
        """Of some cells, from number ``first`` on; takes up depths by ``advance``."""
        self.cells = range(first, first + cells)
        self.channels, self.code = channels, code
        self.stride = len(self._SUFFIX)
        self.base = advance(cells * (6 * self.stride + 1))

    @property
    def kinds(self) -> set[str]:
        """Of all taps of a stage."""
        return {*self._SUFFIX, "cell", "log_scale"}

    def rows(self, kind: str, values: dict[str, Array]) -> Rows:
        """Rows of one kind of tap: one per cell, or one per edge of every cell."""
        if kind in ("cell", "log_scale"):
            suffix = ".scale" if kind == "log_scale" else ""
            slots = [(f"cells.{k}{suffix}", self._depth(n + 1, 0) - 1)
                     for n, k in enumerate(self.cells)]  # fmt: skip
            present = None
        else:
            order = list(self._SUFFIX).index(kind)
            slots = [
                (f"cells.{k}.e{SRC[e]}{DST[e]}{self._SUFFIX[kind]}",
                 self._depth(n, e) + order)
                for n, k in enumerate(self.cells) for e in range(6)
            ]  # fmt: skip
            present = jnp.tile(self._present(kind), len(self.cells))
        named = tuple(Slot(name, kind, depth, self.channels) for name, depth in slots)
        return Rows(named, values, present)

    def _depth(self, cell: int, edge: int) -> int:
        return self.base + cell * (6 * self.stride + 1) + edge * self.stride

    def _present(self, kind: str) -> Array:
        operations = {"none": NONE, "skip": SKIP, "pool": POOL}
        if kind in operations:
            return self.code == operations[kind]
        return is_conv(self.code)
