"""Scorers: what is computed may not depend on how it is computed."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.blocks import assert_same, rows

import jaxproxy
from jaxproxy.measure import (
    DEFAULT,
    ActivationMeter,
    EqualWeights,
    Model,
    Network,
    NetworkMeter,
    Setup,
    Tap,
    make_batch,
    network_from_tapped,
)
from jaxproxy.meters import equal_weights_outputs, weight_norm
from jaxproxy.proxies import Proxy, intrain, params
from jaxproxy.scoring import BlockScores, Scorer, make_scorer
from jaxproxy.scoring._program import BlockProgram
from jaxproxy.spaces import Counts, Mode, Space, Task
from jaxproxy.types import Fidelity

OPS = ("skip", "relu", "tanh")
FUNCTIONS = (lambda h: h, jax.nn.relu, jnp.tanh)
TINY = Fidelity(width=4, cells=1, batch_size=4, resolution=8)


class _ToyNet(nnx.Module):
    def __init__(self, width: int, rngs: nnx.Rngs) -> None:
        shapes = [(3, width), (width, width), (width, width)]
        self.layers = nnx.List([nnx.Linear(*shape, rngs=rngs) for shape in shapes])
        self.head = nnx.Linear(width, 5, rngs=rngs)

    def __call__(self, x: jax.Array, code: jax.Array, tap: Tap) -> jax.Array:
        x = x.mean(1)
        for i, layer in enumerate(self.layers):
            kernel = tap.parameter(f"layer{i}.w", layer.kernel[...], "linear_w")
            x = tap(f"layer{i}", jax.lax.switch(code[i], FUNCTIONS, x @ kernel), "conv")
        return self.head(x.mean(1))


def _network(fidelity: Fidelity, mode: Mode) -> Network:
    return network_from_tapped(lambda rngs: _ToyNet(fidelity.width, rngs))


TOY = Space(
    name="toy",
    choices=(len(OPS),) * 3,
    to_str=lambda code: "|".join(OPS[int(gene)] for gene in code),
    from_str=lambda arch: np.array([OPS.index(op) for op in arch.split("|")], np.int32),
    network=_network,
    task=Task(5),
    counts=Counts(lambda code: 100 + code @ [1, 3, 9], lambda code: code.sum(-1)),
)
CODES = np.array([[0, 1, 2], [2, 1, 0], [1, 1, 1], [0, 0, 0], [2, 2, 1]], np.int32)
PROXIES = ("intrain", "capacity(dead=paper)")


def smooth(*, sign: float = 1.0) -> Proxy:
    """Mean square of layer outputs, of those where it is above a half; or NaN."""
    squares = ActivationMeter(
        ("conv",), lambda h: jnp.square(h.value).mean(), name="mean_square"
    )

    def score(readings: Any) -> jax.Array:
        values = readings[squares]
        return jnp.where(values.min() > 0.1, sign * values.sum(), jnp.nan)

    return Proxy("smooth", meters=(squares,), score=score, reference="none")


@pytest.fixture(scope="module")
def toy() -> Callable[..., Scorer]:
    """A scorer of the toy space; options as for ``make_scorer``."""

    def make(proxies: Sequence[Any] = PROXIES, **options: Any) -> Scorer:
        options = {"fidelity": TINY, "block_size": 8} | options
        return make_scorer(TOY, proxies, **options)

    return make


@pytest.fixture(scope="module")
def reference(toy: Callable[..., Scorer]) -> BlockScores:
    return toy(devices=1, seeds=3).score_block(CODES)


@pytest.mark.parametrize(("devices", "block_size"), [(2, 6), (3, 1), (4, 8)])
def test_blocks_order_and_devices_do_not_matter(
    toy: Callable[..., Scorer],
    reference: BlockScores,
    devices: int,
    block_size: int,
) -> None:
    scorer = toy(devices=devices, block_size=block_size, seeds=3)
    assert scorer.num_devices == devices
    assert scorer.block_size == max(block_size, devices)
    order = np.array([4, 2, 0, 3, 1])
    for start in range(0, 5, scorer.block_size):
        part = order[start : start + scorer.block_size]
        assert_same(scorer.score_block(CODES[part]), rows(reference, part))


def test_one_trace_serves_all_blocks_and_seeds(toy: Callable[..., Scorer]) -> None:
    scorer = toy(seeds=4)
    assert scorer.num_traces == 0
    for n in (5, 1, 3):
        scorer.score_block(CODES[:n])
    assert scorer.num_traces == 1


def test_padding_does_not_matter(
    toy: Callable[..., Scorer], reference: BlockScores
) -> None:
    scorer = toy(devices=1, seeds=3)
    for n in (1, 4):
        assert_same(scorer.score_block(CODES[:n]), rows(reference, slice(n)))


def test_devices_get_equal_work(
    toy: Callable[..., Scorer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And any number of codes comes back in the order in which it was given."""
    made = []

    def start(program: BlockProgram, block: np.ndarray) -> np.ndarray:
        made.append(block)
        return block

    def finish(program: BlockProgram, block: np.ndarray) -> BlockScores:
        return BlockScores({"cost": cost(block)[:, None]}, {}, {}, {})

    def cost(codes: np.ndarray) -> np.ndarray:
        return 10.0 + codes.sum(-1)

    monkeypatch.setattr(BlockProgram, "start", start)
    monkeypatch.setattr(BlockProgram, "finish", finish)
    codes = np.random.default_rng(0).permutation(np.indices((3, 3, 3)).reshape(3, -1).T)
    scorer = toy(devices=4, block_size=12)
    monkeypatch.setattr(scorer, "space", dataclasses.replace(TOY, cost=cost))
    scores = scorer.score(codes.astype(np.int32)).scores["cost"]
    np.testing.assert_array_equal(scores[:, 0], cost(codes))
    # What fills a block up is the complement of the cheapest.
    wanted = [(block >= 0).all(1) for block in made]
    assert sorted(real.sum() for real in wanted) == [3, 12, 12]
    for block, real in zip(made, wanted, strict=True):
        fill = ~block[~real]
        assert (fill == block[real][cost(block[real]).argmin()]).all()
        assert np.ptp(real.reshape(4, 3).sum(1)) <= 1
        work = cost(np.where(block < 0, ~block, block)).reshape(4, 3).sum(1)
        assert work.max() < 1.05 * work.mean()


def test_a_seed_is_the_same_alone_and_among_others(
    toy: Callable[..., Scorer], reference: BlockScores
) -> None:
    assert toy(seeds=3).seeds == (0, 1, 2)
    for seeds in ([1], [5, 1]):
        given = toy(seeds=seeds, devices=1).score_block(CODES)
        for name, scores in given.scores.items():
            expected = reference.scores[name][:, 1]
            np.testing.assert_allclose(scores[:, -1], expected, rtol=1e-6)
    for scores in reference.scores.values():
        assert scores.dtype == np.float64
        assert scores.shape == (5, 3)
        assert (np.ptp(scores, axis=1) > 1e-3).all()


def test_readings_allow_scoring_offline(
    toy: Callable[..., Scorer], reference: BlockScores
) -> None:
    scorer = toy(seeds=3)
    assert [meter.name for meter in scorer.meters] == [*reference.readings]
    assert scorer.slots["covariance(conv)"] == ["layer0", "layer1", "layer2"]
    assert scorer.slots["gradient(weights)"] == ["layer0.w", "layer1.w", "layer2.w"]
    traces, squares, _ = np.moveaxis(reference.readings["covariance(conv)"], -1, 0)
    assert traces.shape == (5, 3, 3)  # architectures, seeds, layers
    gamma = np.log(traces**2 / squares).sum(-1)
    given = reference.scores["capacity(dead=paper)"]
    np.testing.assert_allclose(given, gamma / np.log(4), rtol=1e-4)
    assert reference.present["covariance(conv)"].shape == (5, 3)
    assert reference.present["covariance(conv)"].all()


def test_own_proxy_next_to_others(
    toy: Callable[..., Scorer], reference: BlockScores
) -> None:
    given = toy([smooth(), *PROXIES], seeds=3).score_block(CODES)
    for name, scores in reference.scores.items():
        np.testing.assert_allclose(given.scores[name], scores, rtol=1e-5)
    own, squares = given.scores["smooth"], given.readings["mean_square"]
    dead = squares.min(-1) <= 0.1
    assert 0 < dead.sum() < dead.size
    # What is not finite stays so, and only where it is.
    np.testing.assert_array_equal(np.isnan(own), dead)
    np.testing.assert_allclose(own[~dead], squares.sum(-1)[~dead], rtol=1e-5)


def _show(model: Model) -> jax.Array:
    x, y = model.batch
    return x.mean() + 10 * y.sum().astype(x.dtype) + model.code[0].astype(x.dtype) / 3


def _probe(setup: Setup = DEFAULT) -> Proxy:
    """A meter of the network as a whole that shows what it is given."""
    meter = NetworkMeter(_show, name="shown").under(setup)
    return Proxy("probe", meters=(meter,), score=lambda r: r[meter][0])


@pytest.mark.parametrize("others", [(), ("capacity",)], ids=["alone", "beside"])
def test_a_meter_of_the_network_gets_the_seeds_batches(
    toy: Callable[..., Scorer], others: tuple
) -> None:
    scorer = toy([_probe(), *others], seeds=[0, 3])
    given = scorer.score_block(CODES).scores["probe"]
    for column, seed in zip(given.T, scorer.seeds, strict=True):
        _, key = jax.random.split(jax.random.key(seed))
        x, y = make_batch(key, TINY, 5)
        expected = np.asarray(x, float).mean() + 10 * int(y.sum()) + CODES[:, 0] / 3
        np.testing.assert_allclose(column, expected, 10 * np.finfo(np.float32).eps)
    assert scorer.num_traces == 1


def test_a_meter_of_the_network_gets_the_users_images(
    toy: Callable[..., Scorer],
) -> None:
    images = np.random.default_rng(0).standard_normal((4, 4, 4, 3))
    proxy = _probe(Setup(inputs="images"))
    given = toy([proxy], images=images, seeds=2).score_block(CODES).scores["probe"]
    assert given.shape == (5, 2)
    expected = images.astype(np.float32).mean(dtype=float) + CODES[:, 0] / 3
    np.testing.assert_allclose(given, expected[:, None].repeat(2, 1), rtol=1e-5)


def _outputs(fidelity: Fidelity, *, underflow: bool) -> EqualWeights:
    """A "network" of equal weights that shows what it is given."""

    def stem(images: jax.Array, weight: jax.Array) -> jax.Array:
        return images.astype(jnp.float64).mean((1, 2, 3)) * weight

    def logits(state: jax.Array, code: jax.Array, weight: jax.Array) -> jax.Array:
        return state + code[0].astype(jnp.float64) / 3

    return EqualWeights(stem, logits, (1.0, 2.0))


@pytest.mark.parametrize("others", [(), ("capacity",)], ids=["alone", "beside"])
def test_a_pass_of_equal_weights_gets_all_images_in_float64(others: tuple) -> None:
    meter = equal_weights_outputs()
    proxy = Proxy("sums", meters=(meter,), score=lambda r: r[meter][0].sum())
    space = dataclasses.replace(TOY, equal_weights=_outputs)
    images = np.random.default_rng(0).standard_normal((6, 4, 4, 3))
    scorer = make_scorer(
        space,
        [proxy, *others],
        fidelity=TINY,
        block_size=8,
        images=images,
        seeds=2,
    )
    given = scorer.score_block(CODES).scores["sums"]
    assert given.shape == (5, 2)
    shown = images.astype(np.float32).astype(float).mean((1, 2, 3)).sum()
    expected = 3 * shown + 12 * CODES[:, 0] / 3
    np.testing.assert_allclose(given, expected[:, None].repeat(2, 1), rtol=1e-12)
    assert (given != given.astype(np.float32)).any()
    assert scorer.num_traces == 1 + len(others)
    assert scorer.meters[-1].name == "equal_weights_outputs@inputs=images"


def test_a_proxy_of_two_precisions_is_refused() -> None:
    mixed = equal_weights_outputs(), weight_norm()
    proxy = Proxy("mixed", meters=mixed, score=lambda r: r[mixed[1]].sum())
    space = dataclasses.replace(TOY, equal_weights=_outputs)
    with pytest.raises(ValueError, match="'mixed' reads networks of equal weights and"):
        make_scorer(space, [proxy], fidelity=TINY)


def test_a_description_defines_the_numbers_and_is_json(
    toy: Callable[..., Scorer],
) -> None:
    images = np.zeros((2, 4, 4, 3), np.float32)
    described = [
        scorer.describe()
        for scorer in (
            toy(),
            toy(seeds=2),
            toy(["intrain"]),
            toy(fidelity="fast"),
            toy(images=images),
            toy(images=images + 1),
        )
    ]
    assert all(json.loads(json.dumps(d)) == d for d in described)
    assert len({json.dumps(d, sort_keys=True) for d in described}) == len(described)
    first = described[0]
    assert first["space"] == "toy"
    assert first["proxies"] == list(PROXIES)
    assert first["seeds"] == [0]
    assert first["fidelity"] == vars(TINY)
    assert first["jax"]["enable_x64"] is False
    # How it is computed is not what is computed.
    assert toy(devices=1, block_size=3).describe() == first
    assert toy(images=images.astype(float)).describe() == described[4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fidelity": "quick"}, "unknown preset 'quick'; .*'fast', 'paper'"),
        ({"seeds": 0}, r"seeds must be distinct.* got 0"),
        ({"seeds": [1, 1]}, r"seeds must be distinct.* got \[1, 1\]"),
        ({"seeds": [-1]}, r"seeds must be .* in \[0, 2\*\*31\), got \[-1\]"),
        ({"seeds": [2**31]}, "seeds must be"),
        ({"devices": 5}, "devices=5, but this process has 4; .*set_up_jax"),
        ({"devices": 0}, "devices=0"),
        ({"devices": []}, "at least one device"),
        ({"block_size": 0}, "block_size must be at least 1, got 0"),
        ({"images": np.zeros((4, 8, 8))}, r"images must be .* not \[4, 8, 8\]"),
        ({"images": np.zeros((4, 8, 6, 3))}, "images must be"),
        ({"images": np.full((2, 4, 4, 3), np.nan)}, "images contain NaN or infinity"),
        ({"proxies": ()}, "at least one proxy"),
        ({"proxies": ["intrain", intrain()]}, "each once.*'intrain', 'intrain'"),
        ({"proxies": ["intrian"]}, "unknown proxy 'intrian'"),
    ],
)
def test_arguments_that_cannot_be_used(
    toy: Callable[..., Scorer], options: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        toy(**options)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((9, 3), int), "a block has 1 to 8 codes, not 9"),
        (np.zeros((0, 3), int), "a block has 1 to 8 codes, not 0"),
        (np.zeros((2, 4), int), r"shape \[N, 3\], got \[2, 4\]"),
        (np.array([[0, 3, 0]]), "gene 1 of code 0 is 3; toy allows 0 to 2"),
        (np.zeros((2, 3)), "codes of toy are integers, got float64"),
    ],
)
def test_codes_that_cannot_be_scored(
    toy: Callable[..., Scorer], codes: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        toy().score_block(codes)


def test_score_takes_strings_and_averages_seeds(reference: BlockScores) -> None:
    names = [TOY.to_str(code) for code in CODES]
    proxies = ("params", *PROXIES)
    options = {"fidelity": TINY, "seeds": 3, "block_size": 4, "devices": 2}
    given = jaxproxy.score(TOY, names, proxies, **options)
    assert list(given) == list(proxies)
    for name in PROXIES:
        expected = reference.scores[name].mean(1)
        np.testing.assert_allclose(given[name], expected, rtol=1e-5)
    expected = [TOY.num_params(code) for code in CODES]
    np.testing.assert_array_equal(given["params"], expected)
    by_code = jaxproxy.score(TOY, CODES, [params()], **options)
    np.testing.assert_array_equal(by_code["params"], expected)
    for nothing in ([], np.zeros((0, 3), int)):
        with pytest.raises(ValueError, match="at least one architecture"):
            jaxproxy.score(TOY, nothing, fidelity=TINY)


def test_default_blocks_shrink_with_fidelity() -> None:
    sizes = [
        make_scorer(TOY, ["capacity"], fidelity=fidelity, devices=4).block_size
        for fidelity in ("fast", "paper")
    ]
    assert sizes == [512, 16]
