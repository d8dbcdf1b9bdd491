"""What a seed draws for the passes of a program: weights, images and labels."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any, NamedTuple

import jax
from jax import Array

from jaxproxy.measure import (
    BoundEqualWeights,
    BoundPass,
    PassInputs,
    Setup,
    make_batches,
)
from jaxproxy.spaces import Task
from jaxproxy.types import Batch, Fidelity


class _Drawn(NamedTuple):
    """What is drawn for a seed, for all passes."""

    weights: dict[str, Any]
    """By scheme."""
    batches: dict[str, Batch]
    """By the label of ``Setup.shown``."""
    key: Array
    """For what meters of the whole network draw."""


class SeededInputs:
    """Inputs of passes by the seed, drawn by a program of their own.

    Images of passes of equal weights are those that were given, in their own number.
    """

    def __init__(
        self,
        bound: Sequence[BoundPass],
        task: Task,
        fidelity: Fidelity,
        images: Batch,
        shared: jax.sharding.Sharding,
    ) -> None:
        """Compiles nothing yet."""
        self._bound, self._task, self._fidelity = bound, task, fidelity
        self._images, self._shared = images, shared

    def of(self, seed: int) -> list[PassInputs]:
        """Returns the inputs of each pass."""
        return self._by_pass(self._compiled.result()(seed))

    def start(self) -> None:
        """Begins to compile in the background."""
        _ = self._compiled

    @cached_property
    def shapes(self) -> list[PassInputs]:
        """Of the inputs of each pass; arrays are shared."""
        return self._by_pass(self._traced.out_info)

    @cached_property
    def _traced(self) -> jax.stages.Traced:
        return jax.jit(self._draw, out_shardings=self._shared).trace(0)

    @cached_property
    def _compiled(self) -> Future[jax.stages.Compiled]:
        lowered = self._traced.lower()
        pool = ThreadPoolExecutor(1)
        compiled = pool.submit(lowered.compile)
        pool.shutdown(wait=False)
        return compiled

    def _draw(self, seed: Array | int) -> _Drawn:
        """What the passes run on; equal weights and noise for equal seeds.

        Weights of a scheme are the same in every mode, so they are drawn once.
        """
        weight_key, batch_key = jax.random.split(jax.random.key(seed))
        drawn = _Drawn({}, {}, jax.random.fold_in(batch_key, 0))
        for one in self._bound:
            setup = one.spec.setup
            if setup.weights not in drawn.weights:
                drawn.weights[setup.weights] = one.init(weight_key)
            if setup.shown.label not in drawn.batches:
                drawn.batches[setup.shown.label] = self._show(batch_key, one)
        return drawn

    def _show(self, key: Array, one: BoundPass) -> Batch:
        """Returns the batches [M, B, ...] of a pass."""
        if isinstance(one, BoundEqualWeights):
            return jax.tree.map(lambda leaf: leaf[None], self._images)
        setup: Setup = one.spec.setup
        task = self._task
        return make_batches(
            key, setup, self._fidelity, task.num_outputs, self._images, task.draw
        )

    def _by_pass(self, drawn: _Drawn) -> list[PassInputs]:
        setups = [one.spec.setup for one in self._bound]
        return [
            PassInputs(
                drawn.weights[setup.weights],
                drawn.batches[setup.shown.label],
                drawn.key,
            )
            for setup in setups
        ]
