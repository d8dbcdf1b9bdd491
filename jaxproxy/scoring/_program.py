"""Readings and scores of a block of architectures: one compiled program.

The architecture axis is a loop on each device, sharded over devices. A step of the loop
is one architecture on a CPU, since under ``vmap`` a ``switch`` would run every branch,
and may be many side by side elsewhere (``_lanes``).
"""

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxproxy.measure import (
    EqualWeightsPass,
    PassInputs,
    Readings,
    Slot,
    make_passes,
    read_passes,
)
from jaxproxy.proxies import Proxy
from jaxproxy.scoring._bound import bind_pass
from jaxproxy.scoring._devices import Devices
from jaxproxy.scoring._inputs import SeededInputs
from jaxproxy.scoring._lanes import Lanes, largest_that_fits, over_lanes
from jaxproxy.scoring._tracing import no_collection, tracing
from jaxproxy.spaces import Space
from jaxproxy.types import Batch, Fidelity


class Blocks(NamedTuple):
    """How codes are shared out: what is compiled for, and nothing of what is scored."""

    devices: Devices
    size: int
    """Codes of a block, a multiple of the devices."""
    lanes: Lanes

    def in_float64(self) -> "Blocks":
        """Returns how a program in float64 runs: beside an accelerator, on the host.

        Networks of equal weights are a few million operations in float64, which a TPU
        emulates and a GPU starts slower than a CPU computes.

        Raises:
          ValueError: there is an accelerator, and JAX was told not to use the CPU.
        """
        host = self.devices.of_host()
        return self if host is self.devices else Blocks(host, self.size, Lanes(1))


class BlockScores(NamedTuple):
    """Scores of n codes on S seeds, on the host."""

    scores: dict[str, np.ndarray]
    """Proxy name -> float64[n, S]; what is not finite stays so."""
    valid: dict[str, np.ndarray]
    """Proxy name -> bool[n, S], whether the score means anything."""
    readings: dict[str, np.ndarray]
    """Meter name -> float[n, S, L, ...], or [n, S, M, L, ...] for M batches."""
    present: dict[str, np.ndarray]
    """Meter name -> bool[n, L], the slots an architecture has."""


class BlockProgram:
    """Scores of a block of codes by the readings of all passes, compiled once.

    Passes of equal weights run in float64 and the others do not, so that the proxies of
    a program need passes of one kind.

    Attributes:
      meters: the union of the proxies' meters.
      passes: what is run for each architecture and seed, shared by the proxies.
      num_traces: how often the program was traced.
    """

    def __init__(
        self,
        space: Space,
        proxies: Sequence[Proxy],
        *,
        fidelity: Fidelity,
        seeds: Sequence[int],
        images: Batch,
        blocks: Blocks,
    ) -> None:
        """Takes what :class:`~jaxproxy.scoring.Scorer` takes; compiles nothing yet."""
        self.meters = tuple(dict.fromkeys(m for p in proxies for m in p.meters))
        self.passes = make_passes(self.meters)
        self.num_traces = 0
        self._space, self._fidelity = space, fidelity
        self._proxies, self._seeds = tuple(proxies), seeds
        self._devices, self._block_size, self._asked = blocks
        self._x64 = any(isinstance(one, EqualWeightsPass) for one in self.passes)
        with self._numerics():
            self._bound = [bind_pass(space, fidelity, one) for one in self.passes]
        shared = self._devices.shared
        self._draws = SeededInputs(self._bound, space.task, fidelity, images, shared)
        self._scratch: Any = None

    def start(self, block: np.ndarray) -> list[Any]:
        """Starts to score a block int32[block size, G]; :meth:`finish` waits for it.

        A row that only fills it up is the complement ``~code`` of a code, and what is
        returned for it means nothing.
        """
        with self._numerics():
            codes = jax.device_put(block, self._devices.by_arch)
            # Donated: none is left here if a call is interrupted.
            scratch, self._scratch = self._scratch, None
            lanes, compiled = self._compiled
            if lanes == 1 and scratch is None:
                scratch = self._clear(self._seeded[0], codes, None)
            results = []
            for inputs in self._seeded:
                scratch, result = compiled(inputs, codes, scratch)
                results.append(result)
            self._scratch = scratch
        return results

    def finish(self, started: list[Any]) -> BlockScores:
        """Returns the scores of a block that was started."""
        # What does not depend on the seed was computed once.
        results = jax.device_get(started) * (len(self._seeds) // len(started))
        scores, valid, readings, present = zip(*results, strict=True)
        scores = {k: v.astype(np.float64) for k, v in _over_seeds(scores).items()}
        return BlockScores(
            scores, _over_seeds(valid), _over_seeds(readings), present[0]
        )

    def reseeded(self, seeds: Sequence[int]) -> "BlockProgram":
        """Returns the same program with other seeds, compiled once for both."""
        with self._numerics():
            _ = self._compiled  # for both
        other = copy.copy(self)
        other._seeds, other._scratch = seeds, None
        other.__dict__.pop("_seeded", None)  # drawn of the seeds
        return other

    @cached_property
    def layout(self) -> dict[str, tuple[Slot, ...]]:
        """Meter name -> its slots with kind, depth and channels."""
        code = jax.ShapeDtypeStruct((len(self._space.choices),), jnp.int32)

        def read(inputs: list[PassInputs], code: Array) -> Readings:
            return read_passes(self._bound, self._prepared(inputs), code)[0]

        with self._numerics():
            return jax.eval_shape(read, self._draws.shapes, code).layout.slots

    def _numerics(self) -> AbstractContextManager[None]:
        """Returns the context in which all of the program is built and run."""
        return tracing(self._fidelity.precision, x64=self._x64)

    def _prepared(self, inputs: Sequence[PassInputs]) -> list[Any]:
        """For each pass, what no gene changes."""
        pairs = zip(self._bound, inputs, strict=True)
        return [one.prepare(own) for one, own in pairs]

    @cached_property
    def _seeded(self) -> list[list[PassInputs]]:
        """Inputs of every seed; of the first, where they are the same for all."""
        seeds = self._seeds[:1] if self._x64 else self._seeds
        return [self._draws.of(seed) for seed in seeds]

    def _shapes(self) -> tuple[Any, Any]:
        """Of what is drawn for a seed, and of a block of codes."""
        codes = (self._block_size, len(self._space.choices))
        block = jax.ShapeDtypeStruct(codes, jnp.int32)
        inputs = _on(self._devices.shared, self._draws.shapes)
        return inputs, _on(self._devices.by_arch, block)

    @cached_property
    def lanes(self) -> int:
        """How many architectures are scored side by side on a device."""
        with self._numerics():
            return self._compiled[0]

    @cached_property
    def _compiled(self) -> tuple[int, jax.stages.Compiled]:
        """Lanes, and program ``(inputs, codes, scratch)`` -> scratch and results."""
        lanes, memory = self._asked
        if lanes is not None:
            return lanes, self._compile(lanes)
        return largest_that_fits(self._compile, self._most, memory)

    def lower(self) -> jax.stages.Lowered:
        """Returns the program, with as many lanes as may be, lowered for its devices.

        They need not be there.
        """
        with self._numerics():
            return self._lower(self._asked.number or self._most)

    @property
    def _most(self) -> int:
        """Lanes that fill a block."""
        return self._block_size // self._devices.num

    def _compile(self, lanes: int) -> jax.stages.Compiled:
        self._draws.start()  # compiles while this one is traced
        with no_collection():
            lowered = self._lower(lanes)
        return lowered.compile()

    def _lower(self, lanes: int) -> jax.stages.Lowered:
        shapes, scratch = self._shapes(), None
        if lanes == 1:
            cleared = jax.eval_shape(self._clear, *shapes, None)
            scratch = _on(self._devices.by_arch, cleared)

        def mapped(inputs: list[PassInputs], codes: Array, scratch: Any) -> Any:
            prepared = self._prepared(inputs)

            def one(scratch: Any, code: Array) -> tuple[Any, Any]:
                self.num_traces += 1
                return self._one(prepared, code, scratch)

            if lanes == 1:
                return lax.scan(_unless_padding(one), scratch, codes)
            codes = jnp.where(codes < 0, ~codes, codes)
            return None, over_lanes(lambda code: one(None, code)[1], codes, lanes)

        return self._devices.over_archs(mapped).lower(*shapes, scratch)

    def _one(self, prepared: list[Any], code: Array, scratch: Any) -> tuple[Any, Any]:
        """Scratch for the next architecture, and scores and readings of one."""
        readings, scratch = read_passes(self._bound, prepared, code, scratch)
        scores = {p.name: p.score(readings) for p in self._proxies if p.score}
        valid = {p.name: p.is_valid(readings, scores[p.name]) for p in self._proxies}
        kept = [meter.name for meter in self.meters if meter.keep]
        values = {name: readings.values[name] for name in kept}
        mask = {name: readings.mask[name] for name in kept}
        return scratch, (scores, valid, values, mask)

    @cached_property
    def _clear(self) -> jax.stages.Wrapped:
        """Makes the scratch of each device; to do so for every block would be slow."""

        def mapped(inputs: list[PassInputs], codes: Array, _: None) -> Any:
            pairs = zip(self._bound, inputs, strict=True)
            return [one.scratch(own, codes[0]) for one, own in pairs]

        return self._devices.over_archs(mapped)


def _unless_padding(
    one: Callable[[Any, Array], tuple[Any, Any]],
) -> Callable[[Any, Array], tuple[Any, Any]]:
    """Returns the step of a scan that skips codes which only fill a block up.

    Their genes are complements, so negative; a search whose block of 64 has five new
    architectures waits for five.
    """
    traced = jax.jit(one, inline=True)  # once, for the shapes and for the branch

    def step(scratch: Any, code: Array) -> tuple[Any, Any]:
        shapes = jax.eval_shape(traced, scratch, code)[1]
        nothing = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

        def skip(scratch: Any, _: Array) -> tuple[Any, Any]:
            return scratch, nothing

        return lax.cond(code[0] < 0, skip, traced, scratch, code)

    return step


def _on(sharding: jax.sharding.Sharding, shapes: Any) -> Any:
    """Shapes with a sharding."""
    return jax.tree.map(
        lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=sharding), shapes
    )


def _over_seeds(results: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {k: np.stack([r[k] for r in results], axis=1) for k in results[0]}
