"""epsinas against PyTorch, a full-width network and what theory says."""

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.equal_weights import make_program

from jaxproxy.measure import MeterSet, Tap
from jaxproxy.proxies import epsinas, grey_images, search_weights
from jaxproxy.proxies._epsinas import dispersion
from jaxproxy.spaces import Mode, nasbench201
from jaxproxy.spaces import _equal_weights as equal_weights
from jaxproxy.spaces._nasbench201 import _equal_weights as collapse
from jaxproxy.spaces._nasbench201._canonical import canonical
from jaxproxy.spaces._nasbench201._codes import enumerate_codes, from_str
from jaxproxy.spaces._nasbench201._network import network
from jaxproxy.types import Batch, Fidelity

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
SMALL = Fidelity(width=4, cells=1)
CODES = np.random.default_rng(3).integers(0, 5, (40, 6)).astype(np.int32)
SPACE = nasbench201()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@functools.cache
def scorer(fidelity: Fidelity, **options: object) -> Callable:
    """Scores as a scorer computes them: one map over codes, one compilation."""
    proxy = epsinas(**options)

    @jax.jit
    def scores(images: jax.Array, codes: jax.Array) -> jax.Array:
        batch = Batch(images, jnp.zeros(len(images), jnp.int32))
        return jax.lax.map(make_program(proxy, SPACE, fidelity, batch), codes)

    return scores


def score(
    codes: np.ndarray, images: np.ndarray, fidelity: Fidelity = SMALL, **options: object
) -> np.ndarray:
    with jax.enable_x64(True):
        scores = scorer(fidelity, **options)(jnp.asarray(images), jnp.asarray(codes))
        return np.asarray(scores)


def connected(code: np.ndarray) -> bool:
    """Whether some path from node 0 to node 3 avoids ``none``."""
    reached = {0}
    for (source, target), op in zip(EDGES, code, strict=True):
        if op and source in reached:
            reached.add(target)
    return 3 in reached


@pytest.fixture(scope="module")
def oracle(shared_data: Path) -> Path:
    folder = shared_data.parent / "oracle"
    if not folder.is_dir():
        pytest.skip("the folder shared/oracle with PyTorch's values is not there")
    return folder


@pytest.fixture(scope="module", params=["oracle.json", "oracle_full.json"])
def case(oracle: Path, request: pytest.FixtureRequest) -> tuple:
    """Codes, images, fidelity and PyTorch's scores by precision, NaN for null."""
    archs = json.loads((oracle / request.param).read_text())["archs"]
    if request.param == "oracle.json":
        images, fidelity = np.load(oracle / "oracle.npz")["x"], SMALL
    else:
        images = np.random.default_rng(777).standard_normal((16, 3, 32, 32))
        fidelity = Fidelity(width=16, cells=5)
    images = images.astype(np.float32).transpose(0, 2, 3, 1)
    codes = np.stack([from_str(arch["arch"]) for arch in archs])
    values = {
        precision: np.array([arch[precision]["epsinas"] for arch in archs], float)
        for precision in ("f32", "f64")
    }
    return codes, images, fidelity, values


def test_stable_is_pytorch_float64(case: tuple) -> None:
    codes, images, fidelity, values = case
    np.testing.assert_allclose(
        score(codes, images, fidelity, mode="stable"), values["f64"], rtol=1e-9
    )


def test_paper_is_pytorch_float32(case: tuple) -> None:
    codes, images, fidelity, values = case
    ours = score(codes, images, fidelity, mode="paper")
    # assert_allclose also checks that the NaNs are the same ones.
    np.testing.assert_allclose(ours, values["f32"], rtol=3e-6)


def full_width_logits(
    images: np.ndarray, code: np.ndarray, weight: float, fidelity: Fidelity
) -> np.ndarray:
    """The same network with all its channels and no algebra, float64[B]."""

    def conv(x, out, size, stride=1):
        kernel = jnp.full((size, size, x.shape[-1], out), weight)
        pad = [(size // 2, size // 2)] * 2
        axes = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), pad, dimension_numbers=axes
        )

    def norm(x):
        deviation = x - x.mean((0, 1, 2), keepdims=True)
        variance = (deviation**2).mean((0, 1, 2), keepdims=True)
        return weight * deviation / jnp.sqrt(variance + 1e-5)

    def average(x, size, stride, pad):
        window, strides = (1, size, size, 1), (1, stride, stride, 1)
        pads = ((0, 0), (pad, pad), (pad, pad), (0, 0))
        total, count = (
            jax.lax.reduce_window(
                y, np.zeros((), y.dtype), jax.lax.add, window, strides, pads
            )
            for y in (x, jnp.ones_like(x))
        )
        return total / count

    def apply(op, x):
        out = x.shape[-1]
        if op in (2, 3):
            return norm(conv(jax.nn.relu(x), out, 2 * int(op) - 3))
        return (jnp.zeros_like(x), x, None, None, average(x, 3, 1, 1))[op]

    def cell(x):
        nodes = [x, 0.0, 0.0, 0.0]
        for (source, target), op in zip(EDGES, code, strict=True):
            nodes[target] = nodes[target] + apply(op, nodes[source])
        return nodes[3]

    def reduction(x):
        out = 2 * x.shape[-1]
        y = norm(conv(jax.nn.relu(x), out, 3, 2))
        y = norm(conv(jax.nn.relu(y), out, 3))
        return y + conv(average(x, 2, 2, 0), out, 1)

    x = norm(conv(jnp.asarray(images, jnp.float64), fidelity.width, 3))
    for stage in range(3):
        x = reduction(x) if stage else x
        for _ in range(fidelity.cells):
            x = cell(x)
    x = jax.nn.relu(norm(x)).mean((1, 2))
    return np.asarray((x * weight).sum(1))


@pytest.mark.parametrize("weight", [1e-3, 1.0])
def test_one_channel_is_enough(weight: float) -> None:
    images, fidelity = noise(3, 12, 12, 3), Fidelity(width=3, cells=1)
    codes = [[4, 2, 3, 1, 0, 3], [3, 0, 4, 2, 1, 2], [2, 4, 1, 0, 3, 4]]
    with jax.enable_x64(True):
        network = collapse.equal_weights(fidelity)
        value = jnp.asarray(weight)
        stem = network.stem(jnp.asarray(images), value)
        logits = jax.jit(network.logits)
        for code in codes:
            ours = np.asarray(logits(stem, jnp.asarray(code), value))
            full = full_width_logits(images, code, weight, fidelity)
            np.testing.assert_allclose(ours, full, rtol=1e-9)


def test_fifty_architectures_at_full_width() -> None:
    """The library's own network, all weights and scales equal, has the same logits."""
    codes = np.stack([c for c in enumerate_codes()[::300] if connected(c)][:50])
    with jax.enable_x64(True):
        images, full = (
            jnp.asarray(noise(3, 8, 8, 3), jnp.float64),
            network(SMALL, Mode()),
        )
        shapes = jax.eval_shape(full.init, jax.random.key(0))
        narrow = collapse.equal_weights(SMALL)

        @jax.jit
        def both(code: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
            params = jax.tree.map_with_path(
                lambda path, leaf: jnp.full(
                    leaf.shape, 0.0 if "bias" in str(path[-1]) else weight
                ),
                shapes,
            )
            wide = full.apply(params, images, code, Tap(MeterSet(())))
            return wide, narrow.logits(narrow.stem(images, weight), code, weight)

        assert len(codes) == 50
        for weight in (1e-3, 1.0):
            for code in codes:
                wide, one = (np.asarray(v) for v in both(code, jnp.asarray(weight)))
                np.testing.assert_allclose(wide, wide[:, :1] + 0 * wide, rtol=1e-12)
                scale = wide[:, 0] @ one / (one @ one)  # a positive factor is free
                assert scale > 0
                np.testing.assert_allclose(wide[:, 0], scale * one, rtol=1e-6)


def test_rounding_is_that_of_float32() -> None:
    values = (noise(1000) * np.float32(10.0) ** -np.linspace(30, 45, 1000)).astype("f4")
    weight = np.float32(2.0**-10)
    with jax.enable_x64(True):
        layers = collapse.Layers(jnp.asarray(2.0**-10), jnp.ones(()), True)
        ours = np.asarray(layers.scaled(jnp.asarray(values.astype(np.float64))))
    np.testing.assert_array_equal(ours, (values * weight).astype(np.float64))
    assert 0 < np.count_nonzero(ours) < 1000  # some underflow, and not all


def test_stable_is_nan_only_without_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    images, deep = noise(4, 8, 8, 3), Fidelity(width=4, cells=6)
    scores = score(CODES, images, deep, mode="stable", weights=(1e-9, 1.0))
    np.testing.assert_array_equal(np.isfinite(scores), [connected(c) for c in CODES])
    monkeypatch.setattr(equal_weights, "_TINY", np.inf)  # a new unit after every cell
    scorer.cache_clear()
    again = score(CODES, images, deep, mode="stable", weights=(1e-9, 1.0))
    scorer.cache_clear()
    np.testing.assert_allclose(again, scores, rtol=1e-6, atol=1e-12)


def test_isomorphic_architectures_and_order_and_scale() -> None:
    images = noise(6, 8, 8, 3)
    scores = score(CODES, images)
    assert 0 < np.isfinite(scores).sum() < len(CODES)
    close = dict(rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(score(canonical(CODES), images), scores, **close)
    np.testing.assert_array_equal(score(CODES[::-1], images)[::-1], scores)
    np.testing.assert_allclose(score(CODES, images[::-1]), scores, **close)
    # Up to BatchNorm's eps, which large images make negligible with a weight of 1.
    large = score(CODES, images * 1e4, weights=(1.0, 1e-7))
    huge = score(CODES, images * 1e8, weights=(1.0, 1e-7))
    np.testing.assert_allclose(huge, large, rtol=1e-5, atol=1e-9)


def test_dispersion_by_hand() -> None:
    first, second = jnp.array([3.0, 1.0, 2.0]), jnp.array([40.0, 0.0, 30.0])
    # normalised 1, NaN, .5 and 1, NaN, .75: mean difference .125, mean .8125
    assert float(dispersion(first, second)) == pytest.approx(0.125 / 0.8125)
    # the equal logits of ten classes change nothing
    tiled = dispersion(jnp.repeat(first, 10), jnp.repeat(second, 10))
    assert float(tiled) == pytest.approx(0.125 / 0.8125)
    assert np.isnan(dispersion(jnp.ones(3), second))


def test_grey_images() -> None:
    images = np.asarray(grey_images(5, 8))
    assert images.shape == (5, 8, 8, 3) and images.dtype == np.float32
    np.testing.assert_array_equal(images[:, 3, 4, 1], [-1, -0.5, 0, 0.5, 1])
    assert (images == images[:, :1, :1, :1]).all()
    assert np.isfinite(score(CODES, images)).any()


def test_search_weights_finds_the_widest_pair() -> None:
    images, options = noise(4, 8, 8, 3), dict(fidelity=SMALL, num_archs=30, seed=5)
    assert search_weights(SPACE, images, mode="stable", **options) == (1e-7, 1.0)
    first, second = search_weights(SPACE, images, **options)
    codes = SPACE.sample(np.random.default_rng(5), 30)
    assert np.isnan(score(codes, images, weights=(first, second))).mean() < 0.1
    wider = (first / 10, second)
    assert np.isnan(score(codes, images, weights=wider)).mean() >= 0.1


def test_traces_once() -> None:
    traces = []

    def counted(fidelity: Fidelity, *, underflow: bool) -> collapse.EqualWeights:
        traces.append(underflow)
        return collapse.equal_weights(fidelity, underflow=underflow)

    space = dataclasses.replace(SPACE, equal_weights=counted)
    batch = Batch(jnp.asarray(noise(3, 8, 8, 3)), jnp.zeros(3, jnp.int32))
    with jax.enable_x64(True):
        program = make_program(epsinas(), space, SMALL, batch)
        scores = jax.jit(lambda codes: jax.lax.map(program, codes))
        for codes in (CODES[:7], CODES[7:14]):
            assert scores(jnp.asarray(codes)).dtype == jnp.float64
        assert scores._cache_size() == 1
    assert traces == [True]


def test_mistakes() -> None:
    with pytest.raises(ValueError, match=r"mode 'exact'; choose from .'paper'"):
        epsinas(mode="exact")
    for weights in [(0.0, 1.0), (1.0,), (1.0, np.inf), (np.nan, 1.0)]:
        with pytest.raises(ValueError, match="two positive numbers, got"):
            epsinas(weights=weights)
    with pytest.raises(ValueError, match=r"enable_x64\(True\)"):
        collapse.equal_weights(SMALL)
    with pytest.raises(ValueError, match="n >= 2 and resolution >= 1, got 1 and 8"):
        grey_images(1, 8)
    with jax.enable_x64(True):
        stem = collapse.equal_weights(SMALL).stem
        with pytest.raises(ValueError, match=r"\[B, R, R, 3\], got \[2, 3, 8, 8\]"):
            stem(jnp.zeros((2, 3, 8, 8)), jnp.ones(()))
        with pytest.raises(ValueError, match="multiple of 4 from 8, got 10"):
            stem(jnp.zeros((2, 10, 10, 3)), jnp.ones(()))
        flat = dataclasses.replace(SPACE, name="flat", equal_weights=None)
        with pytest.raises(ValueError, match="which flat does not have"):
            make_program(
                epsinas(),
                flat,
                SMALL,
                Batch(jnp.zeros((2, 8, 8, 3)), jnp.zeros(2, int)),
            )
    images = noise(2, 8, 8, 3)
    with pytest.raises(ValueError, match=r"low < high, got \(0, -7\)"):
        search_weights(SPACE, images, exponents=(0, -7))
    with pytest.raises(ValueError, match="without a score; the best leaves"):
        search_weights(
            SPACE, images, fidelity=SMALL, exponents=(-9, -7), num_archs=9, max_nan=0.01
        )
