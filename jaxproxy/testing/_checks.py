"""Checks for users' own additions: spaces and proxies."""

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxproxy.measure import MeterSet, Tap
from jaxproxy.proxies import PROXIES, Proxy, parse_proxy
from jaxproxy.scoring import BlockScores, Scorer, make_scorer
from jaxproxy.spaces import Mode, Space
from jaxproxy.types import Fidelity

SMALL = Fidelity(width=4, cells=1, batch_size=4, resolution=8)


def check_space(space: Space, *, num: int = 50, seed: int = 0) -> None:
    """Raises ValueError if a space breaks its contract.

    Strings and codes must be inverse to each other, canonical forms idempotent and
    valid, mutants different, counts integers, those of devices equal to the host's,
    functions of many codes equal to those of one, and the network must take a code and
    a batch of the task, at the preset ``fast``.

    Args:
      space: what to check.
      num: how many random architectures.
      seed: of the sample.
    """
    rng = np.random.default_rng(seed)
    codes = space.sample(rng, min(num, space.num_archs))
    for code in codes:
        text = space.to_str(code)
        require(np.array_equal(space.from_str(text), code), f"from_str({text!r})")
        canonical = space.canonical(code)
        again = space.canonical(canonical)
        require(np.array_equal(again, canonical), f"canonical form of {text!r}")
        space.check_codes(np.asarray(canonical)[None])
        mutant = space.mutate(rng, code)
        require((mutant != code).sum() == 1, f"mutant of {text!r}")
        child = space.crossover(rng, code, mutant)
        inherited = bool(((child == code) | (child == mutant)).all())
        require(inherited, f"child of {text!r} and a mutant")
        _check_graph(space, code)
        for count in _counts(space, code):
            require(bool(int(count) == count >= 0), f"counts of {text!r}")
    _check_many(space, rng, codes)
    costs = space.cost(codes)
    require(costs.shape == (len(codes),) and bool((costs > 0).all()), "cost")
    _check_on_device(space, rng, codes)
    _check_network(space)


def _check_many(space: Space, rng: np.random.Generator, codes: np.ndarray) -> None:
    """Checks the functions of many codes against those of one."""
    archs = [space.to_str(code) for code in codes]
    require(space.to_strs(codes) == archs, "to_strs, which to_str contradicts")
    read = space.from_strs(archs)
    require(np.array_equal(read, codes), "from_strs, which from_str contradicts")
    one_by_one = [space.canonical(code) for code in codes]
    same = np.array_equal(space.canonical(codes), one_by_one)
    require(same, "canonical, of many codes at once and of one")
    changed = (space.mutants(rng, codes) != codes).sum(1)
    require(bool((changed == 1).all()), "mutants")


def _check_on_device(space: Space, rng: np.random.Generator, codes: np.ndarray) -> None:
    """Checks what devices count and draw against the host, if they do."""
    device = space.on_device
    if device is None:
        return
    # Codes of an architecture, and others that may be none.
    shape = len(codes), len(space.choices)
    both = np.concatenate(
        [codes, rng.integers(0, space.choices, shape)], dtype=np.int32
    )
    most = np.iinfo(np.int32).max
    for name, count, host in (
        ("params", device.params, space.num_params),
        ("macs", device.macs, space.num_macs),
    ):
        counted = np.asarray(jax.jit(jax.vmap(count))(both))
        same = np.array_equal(counted, np.minimum(host(both), most))
        require(same, f"{name} of a device are those of the host")
    if device.valid is not None:
        valid = np.asarray(jax.jit(jax.vmap(device.valid))(both))
        same = np.array_equal(valid, space.valid(both))
        require(same, "a device knows which codes are architectures")
    keys = jax.random.split(jax.random.key(0), len(codes))
    if device.sampler is not None:
        space.check_codes(np.asarray(jax.jit(jax.vmap(device.sampler))(keys)))
    if device.mutation is not None:
        mutants = np.asarray(jax.jit(jax.vmap(device.mutation))(keys, codes))
        within = (mutants >= 0) & (mutants < np.array(space.choices))
        require(bool(within.all()), "a mutation keeps genes within their choices")


def _check_network(space: Space) -> None:
    """Traces the network with a batch of the task; nothing is compiled."""
    fidelity = space.presets["fast"]
    space.check_fidelity(fidelity)
    network, key = space.make_network(fidelity, Mode()), jax.random.key(0)

    def loss(code: Array) -> Array:
        batch, tap = space.task.batch(key, fidelity), Tap(MeterSet(()))
        logits = network.apply(network.init(key), batch.x, code, tap)
        return space.task.loss(logits, batch.y)

    code = jax.ShapeDtypeStruct((len(space.choices),), jnp.int32)
    require(jax.eval_shape(loss, code).shape == (), "the loss is one number")


def _counts(space: Space, code: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the counts that a space has of an architecture."""
    yield space.num_params(code)
    if space.counts is not None and space.counts.macs is not None:
        yield space.num_macs(code)
    if space.counts is None or space.counts.tensors is not None:
        yield space.num_tensors(code)


def _check_graph(space: Space, code: np.ndarray) -> None:
    """Checks the drawing of an architecture, if there is one."""
    if space.graph is None:
        return
    nodes, edges = space.graph(code)
    forward = all(0 <= source < target < len(nodes) for source, target, _ in edges)
    require(forward, f"graph of {space.to_str(code)!r}")


def check_proxy(
    proxy: Proxy,
    space: Space,
    *,
    fidelity: Fidelity = SMALL,
    num: int = 6,
    scorer: Scorer | None = None,
) -> None:
    """Raises ValueError if a proxy breaks its contract on a space.

    Scores must be scalars, finite somewhere, and independent of the order of the
    architectures and of those that share a block; flags must be boolean and imply a
    finite score; readings must have a row for each slot, zero where there is none. A
    proxy of the table must have a reference and a name that gives it back.

    Args:
      proxy: what to check.
      space: where.
      fidelity: small, since a program is compiled.
      num: how many random architectures, at least 2.
      scorer: one that has the proxy among others, lest each be compiled alone; by
        default one of this fidelity and of blocks of ``num``.
    """
    codes = space.sample(np.random.default_rng(0), num)
    _check_names(proxy)
    if proxy.count is not None:
        _check_count(proxy.name, functools.partial(proxy.count, space), codes)
        return
    if scorer is None:
        scorer = make_scorer(
            space, [proxy], fidelity=fidelity, devices=1, block_size=num
        )
    whole = scorer.score(codes)
    scores, valid = whole.scores[proxy.name], whole.valid[proxy.name]
    shape = (num, len(scorer.seeds))
    require(scores.shape == shape, f"{proxy.name} gives one number a code and seed")
    require(bool(np.isfinite(scores).any()), f"{proxy.name} is finite somewhere")
    flags = valid.shape == shape and valid.dtype == bool
    require(flags, f"{proxy.name} has one bool a score")
    require(bool(np.isfinite(scores[valid]).all()), f"valid {proxy.name} is finite")
    _check_readings(proxy, scorer, whole)
    # Other companions, another order, and blocks that are not full.
    for part in (np.arange(num)[::2], np.arange(num)[1::2][::-1]):
        again = scorer.score(codes[part])
        same = np.allclose(
            again.scores[proxy.name], scores[part], rtol=1e-5, equal_nan=True
        ) and np.array_equal(again.valid[proxy.name], valid[part])
        require(same, f"{proxy.name} independent of blocks and order")


def _check_names(proxy: Proxy) -> None:
    """Checks what a proxy says of itself."""
    direction = isinstance(proxy.higher_is_better, bool)
    require(direction, f"higher_is_better of {proxy.name} is a bool")
    if proxy.name.partition("(")[0] in PROXIES:
        require(bool(proxy.reference), f"{proxy.name} has a reference")
        parsed = parse_proxy(proxy.name)
        again = (parsed.name, parsed.higher_is_better)
        require(again == (proxy.name, proxy.higher_is_better), f"name {proxy.name!r}")


def _check_count(
    name: str, count: Callable[[np.ndarray], np.ndarray], codes: np.ndarray
) -> None:
    """Checks what is counted on the host."""
    counts = np.asarray(count(codes))
    require(counts.shape == codes.shape[:1], f"{name} counts one number a code")
    require(bool(np.isfinite(counts).all()), f"{name} is finite")
    alone = [np.asarray(count(code[None]))[0] for code in codes]
    require(np.array_equal(alone, counts), f"{name} independent of blocks and order")


def _check_readings(proxy: Proxy, scorer: Scorer, block: BlockScores) -> None:
    """Checks the shapes of what a run stores, and its zeros."""
    for meter in proxy.meters:
        require(meter.keep == (meter.name in block.readings), f"keep of {meter.name}")
        if not meter.keep:
            continue
        values, present = block.readings[meter.name], block.present[meter.name]
        codes, seeds, slots = len(present), len(scorer.seeds), scorer.layout[meter.name]
        mask = present.shape == (codes, len(slots)) and present.dtype == bool
        require(mask, f"{meter.name} has one bool a slot")
        # Batches, if there are several, come before slots.
        axes = [i for i in (2, 3) if values.shape[i : i + 1] == (len(slots),)]
        rows = values.shape[:2] == (codes, seeds) and bool(axes)
        require(rows, f"{meter.name} has a row for each slot")
        absent = (np.moveaxis(values, axis, 1)[~present] for axis in axes)
        zero = any(not rows.any() for rows in absent)
        require(zero, f"{meter.name} is zero where there is no slot")


def require(condition: bool, what: str) -> None:
    """Raises ValueError, saying which part of a contract is broken, if one is."""
    if not condition:
        raise ValueError(f"contract broken: {what}")
