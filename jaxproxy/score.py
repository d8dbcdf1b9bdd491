"""Scores on devices: one compiled program for any number of architectures.

The architecture axis is a ``lax.map`` on each device, sharded over devices: under
``vmap`` a ``switch`` would run every branch. Blocks have one fixed shape, so nothing is
compiled twice and no score depends on how many architectures are asked for. One seed
means one set of weights, inputs and labels, shared by all architectures.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxproxy.meters import Meter
from jaxproxy.network import Slot
from jaxproxy.proxies import Proxy, grey_images, parse_proxy
from jaxproxy.readings import collect
from jaxproxy.spaces import Space
from jaxproxy.types import PRESETS, Array, Batch, Fidelity

__all__ = ["BlockScores", "Scorer", "make_batch", "make_scorer", "score"]


class BlockScores(NamedTuple):
    """Scores of n codes on S seeds, on the host."""

    scores: dict[str, np.ndarray]
    """Proxy name -> float64[n, S]; what is not finite stays so."""
    readings: dict[str, np.ndarray]
    """Meter name -> float[n, S, L, ...]."""
    present: dict[str, np.ndarray]
    """Meter name -> bool[n, L], the slots an architecture has."""


def make_batch(key: Array, fidelity: Fidelity, num_classes: int) -> Batch:
    """Gaussian images and uniformly random labels, shared by all architectures."""
    shape = (fidelity.batch_size, fidelity.resolution, fidelity.resolution, 3)
    image_key, label_key = jax.random.split(key)
    x = jax.random.normal(image_key, shape)
    return Batch(x, jax.random.randint(label_key, shape[:1], 0, num_classes))


class Scorer:
    """A compiled scorer; :func:`make_scorer` makes it.

    Attributes:
      space: where codes come from.
      proxies: what is computed; those with ``count`` are left to :meth:`counts`.
      fidelity: size of the network and batch.
      seeds: int, one set of weights and inputs each.
      block_size: codes per compiled call, a multiple of ``num_devices``.
    """

    def __init__(
        self,
        space: Space,
        proxies: Sequence[Proxy],
        *,
        fidelity: Fidelity,
        seeds: Sequence[int],
        images: Array,
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
        self._network = space.network(fidelity)
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
        padding = np.repeat(codes[:1], self.block_size - len(codes), axis=0)
        block = jax.device_put(
            np.concatenate([codes, padding]), self._sharding("arch")
        )
        scores, readings, present = self._measured(block)
        for proxy in self.proxies:
            if proxy.program is not None:
                scores[proxy.name] = self._programmed(proxy, block)
        return BlockScores(
            *({k: v[: len(codes)] for k, v in d.items()} for d in (scores, readings, present))
        )

    def counts(self, codes: np.ndarray) -> dict[str, np.ndarray]:
        """Exact counts on the host, proxy name -> float64[n]."""
        counted = (p for p in self.proxies if p.count is not None)
        return {p.name: np.asarray(p.count(self.space, codes), float) for p in counted}

    def describe(self) -> dict[str, Any]:
        """All that defines the numbers, for JSON."""
        return {
            "space": self.space.name,
            "num_classes": self.space.num_classes,
            "proxies": [proxy.name for proxy in self.proxies],
            "fidelity": dataclasses.asdict(self.fidelity),
            "seeds": list(self.seeds),
            "images": self._image_source,
            "inputs": "gaussian",
            "prng": str(jax.config.jax_default_prng_impl),
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
        variables = jax.eval_shape(self._variables, 0)
        readings = jax.eval_shape(
            lambda v, c: collect(self._network, *v, c, self.meters), variables, code
        )
        return readings.layout.slots

    def _sharding(self, *axes: str) -> jax.NamedSharding:
        return jax.NamedSharding(self._mesh, jax.P(*axes))

    def _variables(self, seed: Array | int) -> tuple[Any, Batch]:
        weight_key, batch_key = jax.random.split(jax.random.key(seed))
        batch = make_batch(batch_key, self.fidelity, self.space.num_classes)
        return self._network.init(weight_key), batch

    @cached_property
    def _seeded(self) -> list[tuple[Any, Batch]]:
        make = jax.jit(self._variables, out_shardings=self._sharding())
        return [make(seed) for seed in self.seeds]

    def _over_archs(self, one: Callable[..., Any]) -> Callable[..., Any]:
        """Maps ``one(shared, code)`` over a block, on all devices."""

        def mapped(shared: Any, codes: Array) -> Any:
            return lax.map(lambda code: one(shared, code), codes)

        specs = (jax.P(), jax.P("arch"))
        # check_vma=True would sum the gradients of constants over devices.
        return jax.jit(
            jax.shard_map(
                mapped,
                mesh=self._mesh,
                in_specs=specs,
                out_specs=jax.P("arch"),
                check_vma=False,
            )
        )

    @cached_property
    def _collect(self) -> Callable[..., Any]:
        def one(shared: tuple[Any, Batch], code: Array) -> Any:
            self.num_traces += 1
            readings = collect(self._network, *shared, code, self.meters)
            scores = {p.name: p.score(readings) for p in self.proxies if p.score}
            return scores, readings.values, readings.mask

        return self._over_archs(one)

    def _measured(self, block: Array) -> tuple[dict[str, np.ndarray], ...]:
        if not self.meters:
            return {}, {}, {}
        results = [self._collect(shared, block) for shared in self._seeded]
        scores, readings, present = zip(*jax.device_get(results), strict=True)
        return (
            {k: v.astype(np.float64) for k, v in _over_seeds(scores).items()},
            _over_seeds(readings),
            present[0],
        )

    def _programmed(self, proxy: Proxy, block: Array) -> np.ndarray:
        """Scores float64[n, S] of a proxy with a pass of its own."""
        with jax.enable_x64(True) if proxy.x64 else nullcontext():
            run = self._programs[proxy.name]
            if proxy.inputs == "images":
                scores = jax.device_get(run(self._images, block))
                return np.repeat(scores[:, None].astype(float), len(self.seeds), axis=1)
            seeds = [jax.device_get(run(b.x, block)) for _, b in self._seeded]
            return np.stack(seeds, axis=1).astype(float)

    @cached_property
    def _programs(self) -> dict[str, Callable[..., Any]]:
        return {p.name: self._program(p) for p in self.proxies if p.program}

    def _program(self, proxy: Proxy) -> Callable[..., Any]:
        def mapped(images: Array, codes: Array) -> Array:
            self.num_traces += 1
            labels = jnp.zeros(len(images), jnp.int32)
            run = proxy.program(self.space, self.fidelity, Batch(images, labels))  # type: ignore[misc]
            return lax.map(run, codes)

        return jax.jit(
            jax.shard_map(
                mapped,
                mesh=self._mesh,
                in_specs=(jax.P(), jax.P("arch")),
                out_specs=jax.P("arch"),
                check_vma=False,
            )
        )


def _over_seeds(results: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {k: np.stack([r[k] for r in results], axis=1) for k in results[0]}


def make_scorer(
    space: Space,
    proxies: Sequence[Proxy | str],
    *,
    fidelity: Fidelity | str = "paper",
    seeds: int | Sequence[int] = 1,
    images: np.ndarray | Array | None = None,
    devices: int | Sequence[jax.Device] | None = None,
    block_size: int | None = None,
) -> Scorer:
    """A scorer of a space's architectures.

    Args:
      space: for instance ``spaces.nasbench201()``.
      proxies: proxies, or names and variants such as ``"intrain(layers=relu)"``.
      fidelity: size of network and batch, or the name of a preset.
      seeds: how many (0, 1...), or which; each draws its own weights and inputs.
      images: float[B, R, R, 3] for the proxies that take images; grey ones by default.
      devices: how many local devices, or which; all of them by default.
      block_size: codes per compiled call, rounded up to a multiple of the devices;
        by default so that a block takes about a second.

    Raises:
      ValueError: an argument that cannot be used, with the choices.
    """
    chosen = [parse_proxy(p) if isinstance(p, str) else p for p in proxies]
    names = [proxy.name for proxy in chosen]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"give at least one proxy, and each once, not {names}")
    if isinstance(fidelity, str):
        if fidelity not in PRESETS:
            raise ValueError(
                f"unknown preset {fidelity!r}; choose from {sorted(PRESETS)}"
            )
        fidelity = PRESETS[fidelity]
    numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not numbers or len(set(numbers)) < len(numbers) or min(numbers) < 0:
        raise ValueError(f"seeds must be distinct and not negative, got {seeds!r}")
    used = _devices(devices)
    if block_size is None:
        block_size = _block_size(fidelity)
    if block_size < 1:
        raise ValueError(f"block_size must be at least 1, got {block_size}")
    source = "grey images, 64 of 32x32" if images is None else _digest(images)
    return Scorer(
        space,
        chosen,
        fidelity=fidelity,
        seeds=numbers,
        images=grey_images(64, 32) if images is None else _checked_images(images),
        image_source=source,
        devices=used,
        block_size=-(-block_size // len(used)) * len(used),
    )


def score(
    space: Space,
    archs: Sequence[str] | np.ndarray,
    proxies: Sequence[Proxy | str] = ("intrain",),
    **options: Any,
) -> dict[str, np.ndarray]:
    """Scores of architectures, proxy name -> float64[N], averaged over seeds.

    Args:
      space: where the architectures come from.
      archs: N strings, or codes int[N, G].
      proxies: as in :func:`make_scorer`, which also takes the ``options``.
      **options: see :func:`make_scorer`.
    """
    codes = archs
    if not isinstance(archs, np.ndarray):
        codes = np.stack([space.from_str(arch) for arch in archs])
    codes = space.check_codes(np.asarray(codes))
    options.setdefault("block_size", min(len(codes), 256))
    scorer = make_scorer(space, proxies, **options)
    size = scorer.block_size
    blocks = [scorer(codes[i : i + size]).scores for i in range(0, len(codes), size)]
    means = {k: np.concatenate([b[k] for b in blocks]).mean(1) for k in blocks[0]}
    means |= scorer.counts(codes)
    return {proxy.name: means[proxy.name] for proxy in scorer.proxies}


def _devices(devices: int | Sequence[jax.Device] | None) -> list[jax.Device]:
    local = jax.local_devices()
    if devices is None:
        return local
    if not isinstance(devices, int):
        return list(devices)
    if not 1 <= devices <= len(local):
        raise ValueError(
            f"devices={devices}, but this process has {len(local)}; on CPU, set "
            'jax.config.update("jax_num_cpu_devices", n) before using JAX'
        )
    return local[:devices]


def _block_size(fidelity: Fidelity) -> int:
    """A power of two that takes about a second on two CPU cores."""
    pixels = fidelity.batch_size * fidelity.resolution**2
    work = pixels * fidelity.width**2 * fidelity.cells
    return 2 ** int(np.clip(np.log2(4e8 / work), 2, 9))


def _checked_images(images: np.ndarray | Array) -> Array:
    if images.ndim != 4 or images.shape[3] != 3 or images.shape[1] != images.shape[2]:
        raise ValueError(f"images must be [N, R, R, 3], not {list(images.shape)}")
    if not np.isfinite(images).all():
        raise ValueError("images contain NaN or infinity")
    return jnp.asarray(images, jnp.float32)


def _digest(images: np.ndarray | Array) -> str:
    data = np.ascontiguousarray(np.asarray(images, np.float32))
    return f"{list(data.shape)} sha256:{hashlib.sha256(data.tobytes()).hexdigest()}"
