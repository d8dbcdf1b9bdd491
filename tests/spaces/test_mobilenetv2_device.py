"""What devices count, draw and change in the MobileNetV2 space."""

from collections import Counter
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxproxy.search import Budget, make_genes, run, zennas_evolution
from jaxproxy.spaces import mobilenetv2, mobilenetv2_mutation
from jaxproxy.spaces._mobilenetv2 import _codes as host

SPACE = mobilenetv2()
DEVICE: Any = SPACE.on_device
SEED = (
    "SuperConvK3BNRELU(3,8,2,1)SuperResIDWE6K3(8,32,2,8,1)SuperResIDWE6K3(32,48,2,32,1)"
    "SuperResIDWE6K3(48,96,2,48,1)SuperResIDWE6K3(96,128,2,96,1)"
    "SuperConvK1BNRELU(128,2048,1,1)"
)
LONG = (
    "SuperConvK3BNRELU(3,40,2,1)SuperResIDWE1K7(40,40,2,40,3)"
    "SuperResIDWE2K5(40,64,2,64,5)SuperResIDWE4K7(64,96,2,184,4)"
    "SuperResIDWE2K7(96,224,2,224,5)SuperResIDWE4K5(224,320,1,16,2)"
    "SuperConvK1BNRELU(320,2048,1,1)"
)
SCALES = 2.5, 2, 1.5, 1.25, 1, 1 / 1.25, 1 / 1.5, 1 / 2, 1 / 2.5


def _large(rng: np.random.Generator, num: int) -> np.ndarray:
    """Codes with most genes at their largest, whose counts are beyond an int32."""
    codes = np.tile(np.array(host.CHOICES) - 1, (num, 1))
    halved = rng.random(codes.shape) < rng.uniform(0, 0.6, (num, 1))
    return np.where(halved, codes // 2, codes).astype(np.int32)


@pytest.mark.parametrize("resolution", [224, 320])
def test_devices_count_as_the_host_does(resolution: int) -> None:
    space, rng = mobilenetv2(resolution=resolution), np.random.default_rng(0)
    device: Any = space.on_device
    codes = np.concatenate([space.sample(rng, 4000), _large(rng, 2000)])
    most = np.iinfo(np.int32).max
    for count, on_device in (
        (space.num_params, device.params),
        (space.num_macs, device.macs),
    ):
        expected = count(codes)
        counted = np.asarray(jax.jit(jax.vmap(on_device))(codes))
        assert counted.dtype == np.int32
        np.testing.assert_array_equal(counted, np.minimum(expected, most))
    # Which wrap around once, to a negative number, and more often.
    macs = space.num_macs(codes)
    assert ((macs > most) & (macs < 2**32)).sum() > 500
    assert (macs > 2**32).sum() > 500


def test_counts_at_the_edge_of_an_int32() -> None:
    """Hundreds within a thousandth of it, on both sides."""
    codes = _large(np.random.default_rng(1), 200_000)
    macs = SPACE.num_macs(codes)
    near = codes[np.abs(macs - 2**31) < 2e6]
    assert len(near) > 100
    assert 0.2 < (SPACE.num_macs(near) < 2**31).mean() < 0.8
    counted = np.asarray(jax.jit(jax.vmap(DEVICE.macs))(near))
    np.testing.assert_array_equal(counted, np.minimum(SPACE.num_macs(near), 2**31 - 1))


def test_a_wrong_resolution_is_refused_on_devices_too() -> None:
    device: Any = mobilenetv2(resolution=100).on_device
    with pytest.raises(ValueError, match="multiple of 32, got 100"):
        device.macs(jnp.zeros(32, jnp.int32))


def test_random_architectures_are_those_of_the_host() -> None:
    """In the mean of each gene, under a tight budget."""
    space = mobilenetv2(max_macs=300_000_000)
    device: Any = space.on_device
    keys = jax.random.split(jax.random.key(0), 2000)
    codes = np.asarray(jax.jit(jax.vmap(device.sampler))(keys))
    space.check_codes(codes)
    expected = space.sample(np.random.default_rng(0), 2000)
    error = (expected.var(0) / 2000 + codes.var(0) / 2000) ** 0.5
    assert (np.abs(codes.mean(0) - expected.mean(0)) < 4.5 * error).all()


def _blocks(arch: str) -> list[tuple[str, list[int]]]:
    words = [word.split("(") for word in arch.split(")")[:-1]]
    return [(name, [int(n) for n in fields.split(",")]) for name, fields in words]


def _channels(width: int, widest: int) -> list[int]:
    return sorted(
        {min(max(8, round(width * scale / 8) * 8), widest) for scale in SCALES}
    )


def _followers(arch: str, block: int) -> Counter[str]:
    """What a change of a block makes, as often as it is drawn; of strings only."""
    blocks, found = _blocks(arch), Counter[str]()
    name, fields = blocks[block]
    strided = [i for i, (_, f) in enumerate(blocks) if i and len(f) > 4 and f[2] == 2]
    if name == "SuperConvK1BNRELU":
        return Counter([arch])
    if block == 0:
        for width in _channels(fields[1], 64):
            found[_written([(name, [3, width, 2, 1]), *blocks[1:]])] += 1
        return found
    _, out, stride, middle, depth = fields
    stage = [0, 1, 2, 4][strided.index(block)] if stride == 2 else None
    if stage is None:
        stage = [0, 1, 2, 4][strided.index(block - 1)] + 1
    free = stage in (2, 4) and len(blocks[block + 1][1]) == 4
    free |= stage in (2, 4) and blocks[block + 1][1][2] == 2
    depths = {d for d in range(depth - 2, depth + 3) if d > 0 and (free or d <= 5)}
    widest = host.WIDEST[stage]
    for e, k, o, m, d in product(
        (1, 2, 4, 6), (3, 5, 7), _channels(out, widest), _channels(middle, widest),
        sorted(depths),
    ):  # fmt: skip
        kind = f"SuperResIDWE{e}K{k}"
        new = [(kind, [0, o, stride, m, d])]
        if d >= 6:
            new = [(kind, [0, o, stride, m, 3]), (kind, [0, o, 1, m, 3])]
        found[_written([*blocks[:block], *new, *blocks[block + 1 :]])] += 1
    return found


def _written(blocks: list[tuple[str, list[int]]]) -> str:
    """With inputs as wide as what is before them."""
    words, width = [], 3
    for name, fields in blocks:
        words.append(f"{name}({','.join(map(str, [width, *fields[1:]]))})")
        width = fields[1]
    return "".join(words)


@pytest.mark.parametrize("arch", [SEED, LONG])
def test_the_mutation_is_that_of_zennas(arch: str) -> None:
    """All that it makes can be made, and each block is drawn as often as any other.

    Of what a block becomes, what is drawn together is counted by kinds, widths and
    depths, one after another.
    """
    num = 20_000
    code = SPACE.from_str(arch)
    keys = jax.random.split(jax.random.key(0), num)
    mutate = jax.jit(jax.vmap(mobilenetv2_mutation, (0, None)))
    drawn = np.asarray(mutate(keys, jnp.asarray(code, jnp.int32)))
    drawn = Counter(SPACE.to_str(row) for row in SPACE.check_codes(drawn))
    number = len(_blocks(arch))
    expected: dict[str, float] = {}
    for block in range(number):
        made = _followers(arch, block)
        for text, times in made.items():
            share = times / sum(made.values()) / number
            expected[text] = expected.get(text, 0.0) + share
    assert set(drawn) <= set(expected)
    assert sum(expected.values()) == pytest.approx(1)
    for feature in (_stem, _depths, _kinds, _outs, _middles):
        ours, theirs = Counter(), Counter()
        for text, times in drawn.items():
            ours[feature(text)] += times
        for text, share in expected.items():
            theirs[feature(text)] += share
        for value, share in theirs.items():
            error = (share * (1 - share) / num) ** 0.5
            assert abs(ours[value] / num - share) < 4.5 * error + 1e-9, (value, share)


def _stem(arch: str) -> Any:
    return _blocks(arch)[0][1][1]


def _depths(arch: str) -> Any:
    return tuple(fields[-1] for _, fields in _blocks(arch)[1:-1])


def _kinds(arch: str) -> Any:
    return tuple(name for name, _ in _blocks(arch)[1:-1])


def _outs(arch: str) -> Any:
    return tuple(fields[1] for _, fields in _blocks(arch)[1:-1])


def _middles(arch: str) -> Any:
    return tuple(fields[3] for _, fields in _blocks(arch)[1:-1])


def test_mutants_of_anything_are_codes() -> None:
    codes = SPACE.sample(np.random.default_rng(2), 3000)
    keys = jax.random.split(jax.random.key(1), 3000)
    mutants = np.asarray(jax.jit(jax.vmap(mobilenetv2_mutation))(keys, codes))
    SPACE.check_codes(mutants)
    same = (mutants == codes).all(1).mean()
    assert 0.05 < same < 0.2


def _score(code: jax.Array) -> jax.Array:
    return code.sum().astype(jnp.float32)


@pytest.mark.parametrize("million", [450, 600, 1000])
def test_budgets_are_held_without_asking_the_host(million: int) -> None:
    """By the budget of a search and by that of a space."""
    most = million * 10**6
    limited = mobilenetv2(max_macs=most)
    start = SPACE.from_str(SEED).tolist()
    for genes in (
        make_genes(limited, mutation=mobilenetv2_mutation),
        make_genes(SPACE, budget=Budget(macs=most), mutation=mobilenetv2_mutation),
    ):
        search = zennas_evolution(genes, pool=30, start=start)
        program = jax.jit(lambda key, search=search: run(search, _score, 400, key))
        assert "callback" not in program.lower(jax.random.key(0)).as_text()
        trace = program(jax.random.key(0))
        macs = SPACE.num_macs(np.asarray(trace.codes))
        assert macs.max() <= most
        assert macs.max() > 0.8 * most or million == 1000
        assert int(trace.state.core.refused) > 0 or million == 1000


def test_a_limit_beyond_an_int32_is_asked_of_the_host() -> None:
    space = mobilenetv2(max_macs=3 * 10**9)
    device: Any = space.on_device
    assert device.valid is None and device.sampler is None
    for genes in (make_genes(space), make_genes(SPACE, budget=Budget(macs=3 * 10**9))):
        assert genes.allowed is not None
        codes = _large(np.random.default_rng(0), 50)
        codes = np.concatenate([codes, SPACE.sample(np.random.default_rng(1), 50)])
        allowed = np.asarray(jax.jit(jax.vmap(genes.allowed))(codes))
        np.testing.assert_array_equal(allowed, SPACE.num_macs(codes) <= 3 * 10**9)
        assert 10 < allowed.sum() < 90
