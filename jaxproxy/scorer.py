"""Scores on devices: one compiled program for any number of architectures.

The architecture axis is a ``lax.map`` on each device, sharded over devices: under
``vmap`` a ``switch`` would run every branch. Blocks have one fixed shape, so nothing is
compiled twice and no score depends on how many architectures are asked for. One seed
means one set of weights, inputs and labels, shared by all architectures.
"""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxproxy.batches import make_batch, make_batches
from jaxproxy.deal import blocks, deal, merge_blocks
from jaxproxy.meters import Meter
from jaxproxy.network import Slot
from jaxproxy.passes import Prepared, make_passes, make_runner, run_passes
from jaxproxy.proxies import Proxy
from jaxproxy.setups import Setup
from jaxproxy.spaces import Space
from jaxproxy.types import Array, Batch, Fidelity

__all__ = ["BlockScores", "Scorer"]


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


class Scorer:
    """A compiled scorer; :func:`~jaxproxy.score.make_scorer` makes it.

    Attributes:
      space: where codes come from.
      proxies: what is computed; those with ``count`` are left to :meth:`counts`.
      fidelity: size of the network and batch.
      seeds: int, one set of weights and inputs each.
      block_size: codes per compiled call, a multiple of ``num_devices``.
      passes: what is run for each architecture and seed, shared by the proxies.
      num_traces: how often a program was traced, so that tests can count compilations.
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
        devices: Sequence[jax.Device],
        block_size: int,
    ) -> None:
        """Takes checked arguments; compiles nothing yet."""
        self.space, self.fidelity = space, fidelity
        self.proxies, self.seeds = tuple(proxies), tuple(seeds)
        self.block_size, self.num_devices = block_size, len(devices)
        self._images, self._image_source = images, image_source
        self._mesh = jax.sharding.Mesh(np.array(devices), ("arch",))
        self.passes = make_passes(m for p in self.proxies for m in p.meters)
        self._runners = [make_runner(space, fidelity, one) for one in self.passes]
        self._scratch: Any = None
        self.num_traces = 0

    def __call__(self, codes: np.ndarray) -> BlockScores:
        """Scores int[n, G] codes, n at most ``block_size``; fewer cost as much.

        Raises:
          ValueError: wrong codes, or too many.
        """
        codes = self.space.check_codes(codes)
        if not 0 < len(codes) <= self.block_size:
            raise ValueError(
                f"a block has 1 to {self.block_size} codes, not {len(codes)}"
            )
        order = np.argsort(self.space.cost(codes), kind="stable")
        # Padded with the cheapest; each device gets a slice, and all the same work.
        padding = self.block_size - len(codes)
        order = np.concatenate([np.repeat(order[:1], padding), order])
        block = jax.device_put(codes[order[self._lanes]], self._sharding("arch"))
        measured = self._measured(block)
        for proxy in self.proxies:
            if proxy.program is not None:
                scores = self._programmed(proxy, block)
                measured.scores[proxy.name] = scores
                measured.valid[proxy.name] = np.isfinite(scores)
        places = np.argsort(self._lanes)[padding:]
        return merge_blocks([measured], places[np.argsort(order[padding:])])

    def score(self, codes: np.ndarray) -> BlockScores:
        """Scores int[n, G] codes, any number of them, in blocks of like cost.

        Raises:
          ValueError: wrong codes, or none.
        """
        codes = self.space.check_codes(codes)
        by_cost = np.argsort(self.space.cost(codes), kind="stable")
        groups = [by_cost[block] for block in blocks(len(codes), self.block_size)]
        scored = [self(codes[group]) for group in groups]
        return merge_blocks(scored, np.argsort(np.concatenate(groups)))

    def counts(self, codes: np.ndarray) -> dict[str, np.ndarray]:
        """Exact counts on the host, proxy name -> float64[n]."""
        counts = ((p.name, p.count) for p in self.proxies if p.count is not None)
        return {n: np.asarray(count(self.space, codes), float) for n, count in counts}

    def describe(self) -> dict[str, Any]:
        """All that defines the numbers, for JSON; functions are known by name only."""
        flags = ("default_prng_impl", "threefry_partitionable", "enable_x64")
        return {
            "space": self.space.name,
            "num_classes": self.space.num_classes,
            **self.space.settings,
            "proxies": [proxy.name for proxy in self.proxies],
            "lower_is_better": [p.name for p in self.proxies if not p.higher_is_better],
            "meters": [meter.name for meter in self.meters],
            "fidelity": dataclasses.asdict(self.fidelity),
            "seeds": list(self.seeds),
            "images": self._image_source,
            "inputs": "gaussian",
            "jax": {flag: getattr(jax.config, f"jax_{flag}") for flag in flags},
        }

    @cached_property
    def meters(self) -> tuple[Meter, ...]:
        """The union of the proxies' meters."""
        return tuple(dict.fromkeys(m for p in self.proxies for m in p.meters))

    @cached_property
    def slots(self) -> dict[str, list[str]]:
        """Meter name -> names of its slots."""
        return {m: [slot.name for slot in slots] for m, slots in self.layout.items()}

    @cached_property
    def layout(self) -> dict[str, tuple[Slot, ...]]:
        """Meter name -> its slots with kind, depth and channels."""
        if not self.meters:
            return {}
        code = jax.ShapeDtypeStruct((len(self.space.choices),), jnp.int32)
        prepared = jax.eval_shape(self._prepare, 0)
        read = partial(run_passes, self._runners)
        return jax.eval_shape(read, prepared, code)[0].layout.slots

    @cached_property
    def _lanes(self) -> np.ndarray:
        """Ranks by cost in the order of the devices' slices of a block."""
        slice_size = self.block_size // self.num_devices
        return np.concatenate(deal(self.block_size, slice_size))

    def _sharding(self, *axes: str) -> jax.NamedSharding:
        return jax.NamedSharding(self._mesh, jax.P(*axes))

    def _prepare(self, seed: Array | int) -> list[Prepared]:
        """What the passes run on; equal weights and noise for equal seeds."""
        weight_key, batch_key = jax.random.split(jax.random.key(seed))
        space = self.space

        def batches(setup: Setup) -> Batch:
            return make_batches(
                batch_key, setup, self.fidelity, space.num_classes, self._images,
                space.draw,
            )  # fmt: skip

        return [
            Prepared(
                runner.network.init(weight_key),
                batches(runner.run.setup),
                jax.random.fold_in(batch_key, 0),
            )
            for runner in self._runners
        ]

    @cached_property
    def _seeded(self) -> list[list[Prepared]]:
        make = jax.jit(self._prepare, out_shardings=self._sharding())
        return [make(seed) for seed in self.seeds]

    def _over_archs(self, mapped: Callable[..., Any]) -> Callable[..., Any]:
        """Compiles ``mapped(shared, codes, scratch)``, sharded over devices.

        The scratch is donated; it is None for a program without any.
        """
        over = jax.P("arch")
        return jax.jit(
            jax.shard_map(
                mapped,
                mesh=self._mesh,
                in_specs=(jax.P(), over, over),
                out_specs=over,
                # True would sum the gradients of constants over devices.
                check_vma=False,
            ),
            donate_argnums=2,
        )

    @cached_property
    def _collect(self) -> Callable[..., Any]:
        kept = [meter.name for meter in self.meters if meter.keep]

        def mapped(prepared: list[Prepared], codes: Array, scratch: Any) -> Any:
            def one(scratch: Any, code: Array) -> tuple[Any, Any]:
                self.num_traces += 1
                readings, scratch = run_passes(self._runners, prepared, code, scratch)
                scores = {p.name: p.score(readings) for p in self.proxies if p.score}
                valid = {
                    p.name: p.is_valid(readings, scores[p.name])
                    for p in self.proxies
                    if p.score
                }
                values = {name: readings.values[name] for name in kept}
                mask = {name: readings.mask[name] for name in kept}
                return scratch, (scores, valid, values, mask)

            return lax.scan(one, scratch, codes)

        return self._over_archs(mapped)

    def _cleared_scratch(self, block: Array) -> Any:
        """Scratch of each device, cleared; to do so for every block would be slow."""

        def mapped(prepared: list[Prepared], codes: Array, _: None) -> Any:
            runs = zip(self._runners, prepared, strict=True)
            return [runner.scratch(given, codes[0]) for runner, given in runs]

        return self._over_archs(mapped)(self._seeded[0], block, None)

    def _measured(self, block: Array) -> BlockScores:
        if not self.meters:
            return BlockScores({}, {}, {}, {})
        # Donated: none is left here if a call is interrupted.
        scratch, self._scratch = self._scratch, None
        if scratch is None:
            scratch = self._cleared_scratch(block)
        results = []
        for prepared in self._seeded:
            scratch, result = self._collect(prepared, block, scratch)
            results.append(result)
        self._scratch = scratch
        scores, valid, readings, present = zip(*jax.device_get(results), strict=True)
        scores = {k: v.astype(np.float64) for k, v in _over_seeds(scores).items()}
        return BlockScores(
            scores, _over_seeds(valid), _over_seeds(readings), present[0]
        )

    def _programmed(self, proxy: Proxy, block: Array) -> np.ndarray:
        """Scores float64[n, S] of a proxy with a pass of its own."""
        # Before x64 is enabled, under which other numbers would be drawn.
        batches = [self._images] if proxy.inputs == "images" else self._noise
        with jax.enable_x64(True) if proxy.x64 else nullcontext():
            run = self._programs[proxy.name]
            columns = [jax.device_get(run(batch, block, None)) for batch in batches]
        # The user's images are the same for all seeds.
        columns *= len(self.seeds) // len(columns)
        return np.stack(columns, axis=1).astype(float)

    @cached_property
    def _noise(self) -> list[Batch]:
        keys = [jax.random.split(jax.random.key(seed))[1] for seed in self.seeds]
        space = self.space
        draw = space.draw or partial(make_batch, num_classes=space.num_classes)
        return [draw(key, self.fidelity) for key in keys]

    @cached_property
    def _programs(self) -> dict[str, Callable[..., Any]]:
        made = ((p.name, p.program) for p in self.proxies)
        return {name: self._program(make) for name, make in made if make is not None}

    def _program(self, make: Callable[..., Callable[[Array], Array]]) -> Any:
        def mapped(batch: Batch, codes: Array, _: None) -> Array:
            self.num_traces += 1
            return lax.map(make(self.space, self.fidelity, batch), codes)

        return self._over_archs(mapped)


def _over_seeds(results: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {k: np.stack([r[k] for r in results], axis=1) for k in results[0]}
