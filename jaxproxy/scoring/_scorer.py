"""Scores of any number of architectures, in blocks of one fixed shape.

Nothing is compiled twice, and no score depends on how many architectures are asked for.
One seed means one set of weights, inputs and labels, shared by all architectures.
"""

import copy
import dataclasses
import operator
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import jax
import numpy as np

from jaxproxy.measure import EqualWeightsMeter, Meter, Pass, Slot
from jaxproxy.options import check_counts, quoted
from jaxproxy.proxies import Proxy
from jaxproxy.scoring._balance import blocks, deal, merge_blocks
from jaxproxy.scoring._program import BlockProgram, Blocks, BlockScores
from jaxproxy.spaces import Space
from jaxproxy.types import Batch, Fidelity


class Scorer:
    """A compiled scorer; :func:`~jaxproxy.scoring.make_scorer` makes it.

    Attributes:
      space: where codes come from.
      proxies: what is computed; those with ``count`` are left to :meth:`counts`.
      fidelity: size of the network and batch.
      seeds: int, one set of weights and inputs each.
      block_size: codes per compiled call, a multiple of ``num_devices``.
      lanes: architectures side by side on a device, or ``"auto"`` for as many as fit.
    """

    def __init__(
        self,
        space: Space,
        proxies: Sequence[Proxy],
        *,
        fidelity: Fidelity,
        seeds: Sequence[int],
        images: Batch,
        image_source: str,
        blocks: Blocks,
    ) -> None:
        """Takes checked arguments; compiles nothing yet."""
        self.space, self.fidelity = space, fidelity
        self.proxies, self.seeds = tuple(proxies), tuple(seeds)
        self.block_size, self.num_devices = blocks.size, blocks.devices.num
        self.lanes = blocks.lanes.said
        self._image_source = image_source
        self._programs = [
            BlockProgram(
                space,
                group,
                fidelity=fidelity,
                seeds=self.seeds,
                images=images,
                blocks=blocks.in_float64() if in_float64 else blocks,
            )
            for in_float64, group in _by_precision(self.proxies).items()
        ]

    def score_block(self, codes: np.ndarray) -> BlockScores:
        """Returns scores of int[n, G] codes, n at most ``block_size``.

        Fewer cost less, but the same memory; with lanes they cost as much.

        Raises:
          ValueError: wrong codes, or too many.
        """
        codes = self.space.check_codes(codes)
        if not 0 < len(codes) <= self.block_size:
            raise ValueError(
                f"a block has 1 to {self.block_size} codes, not {len(codes)}"
            )
        measured = BlockScores({}, {}, {}, {})
        if not self._programs:  # counts only: nothing to share out
            return measured
        order = np.argsort(self.space.cost(codes), kind="stable")
        # Padded with complements of the cheapest, which are skipped; each device gets a
        # slice, and all the same work.
        padding = self.block_size - len(codes)
        order = np.concatenate([np.repeat(order[:1], padding), order])
        padded = np.concatenate([~codes[order[:padding]], codes[order[padding:]]])
        # All are started before one is waited for: they may be on other devices.
        started = [one.start(padded[self._places]) for one in self._programs]
        for program, running in zip(self._programs, started, strict=True):
            parts = zip(measured, program.finish(running), strict=True)
            measured = BlockScores(*(one | other for one, other in parts))
        places = np.argsort(self._places)[padding:]
        return merge_blocks([measured], places[np.argsort(order[padding:])])

    def score(self, codes: np.ndarray) -> BlockScores:
        """Scores int[n, G] codes, any number of them, in blocks of like cost.

        Raises:
          ValueError: wrong codes, or none.
        """
        codes = self.space.check_codes(codes)
        by_cost = np.argsort(self.space.cost(codes), kind="stable")
        groups = [by_cost[block] for block in blocks(len(codes), self.block_size)]
        scored = [self.score_block(codes[group]) for group in groups]
        return merge_blocks(scored, np.argsort(np.concatenate(groups)))

    def reseeded(self, seeds: Sequence[int]) -> "Scorer":
        """Returns the same scorer with other seeds; nothing is compiled again.

        Args:
          seeds: distinct, in [0, 2**31); each draws its own weights and inputs.

        Raises:
          ValueError: as :func:`~jaxproxy.scoring.make_scorer`.
        """
        other = copy.copy(self)
        other.seeds = check_seeds(seeds)
        other._programs = [one.reseeded(other.seeds) for one in self._programs]
        return other

    def lower(self) -> list[jax.stages.Lowered]:
        """Returns the programs that score, lowered for devices that need not be there.

        One for proxies in float32, one for networks of equal weights in float64.
        """
        return [program.lower() for program in self._programs]

    def counts(self, codes: np.ndarray) -> dict[str, np.ndarray]:
        """Exact counts on the host, proxy name -> float64[n]."""
        counts = ((p.name, p.count) for p in self.proxies if p.count is not None)
        return {n: np.asarray(count(self.space, codes), float) for n, count in counts}

    def describe(self) -> dict[str, Any]:
        """All that defines the numbers, for JSON; functions are known by name only."""
        flags = (
            *("default_prng_impl", "threefry_partitionable", "random_seed_offset"),
            "enable_x64",
        )
        return {
            "space": self.space.name,
            "num_classes": self.space.task.num_outputs,
            **self.space.settings,
            "proxies": [proxy.name for proxy in self.proxies],
            "lower_is_better": [p.name for p in self.proxies if not p.higher_is_better],
            # Runs that were stored before epsinas had a meter do not list it.
            "meters": [m.name for m in self.meters if not _is_equal_weights(m)],
            "fidelity": dataclasses.asdict(self.fidelity),
            "seeds": list(self.seeds),
            "images": self._image_source,
            "inputs": "gaussian",
            "jax": {flag: getattr(jax.config, f"jax_{flag}") for flag in flags},
        }

    @property
    def meters(self) -> tuple[Meter, ...]:
        """The union of the proxies' meters."""
        return tuple(m for program in self._programs for m in program.meters)

    @property
    def passes(self) -> tuple[Pass, ...]:
        """What is run for each architecture and seed, shared by the proxies."""
        return tuple(one for program in self._programs for one in program.passes)

    @property
    def num_traces(self) -> int:
        """How often a program was traced, so that tests can count compilations."""
        return sum(program.num_traces for program in self._programs)

    @cached_property
    def layout(self) -> dict[str, tuple[Slot, ...]]:
        """Meter name -> its slots with kind, depth and channels."""
        layouts = [program.layout for program in self._programs]
        return {name: slots for layout in layouts for name, slots in layout.items()}

    @cached_property
    def slots(self) -> dict[str, list[str]]:
        """Meter name -> names of its slots."""
        return {m: [slot.name for slot in slots] for m, slots in self.layout.items()}

    @cached_property
    def _places(self) -> np.ndarray:
        """Ranks by cost in the order of the devices' slices of a block."""
        slice_size = self.block_size // self.num_devices
        return np.concatenate(deal(self.block_size, slice_size))


def check_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Returns seeds as integers: 0, 1... if it is said how many.

    Raises:
      ValueError: not distinct, none, or out of [0, 2**31).
    """
    if isinstance(seeds, int) and seeds > 0:
        check_counts(seeds=seeds)  # before a billion of them are made
    numbers = range(seeds) if isinstance(seeds, int) else [*map(operator.index, seeds)]
    # A seed is traced as an int32, so that seeds share one compiled program.
    wrong = len(set(numbers)) < len(numbers) or any(not 0 <= n < 2**31 for n in numbers)
    if wrong or not numbers:
        raise ValueError(
            "seeds must be distinct, at least one, and in [0, 2**31), got "
            f"{quoted(seeds)}"
        )
    return tuple(numbers)


def _by_precision(proxies: Sequence[Proxy]) -> dict[bool, list[Proxy]]:
    """Returns proxies with a score in float32, and those of equal weights in float64.

    The key is whether they need float64.

    Raises:
      ValueError: a proxy that needs both.
    """
    groups: dict[bool, list[Proxy]] = {}
    for proxy in proxies:
        if proxy.score is None:
            continue
        kinds = {_is_equal_weights(meter) for meter in proxy.meters}
        if len(kinds) > 1:
            raise ValueError(
                f"proxy {proxy.name!r} reads networks of equal weights and others; "
                "make it two proxies"
            )
        groups.setdefault(kinds.pop(), []).append(proxy)
    return dict(sorted(groups.items()))


def _is_equal_weights(meter: Meter) -> bool:
    return isinstance(meter, EqualWeightsMeter)
