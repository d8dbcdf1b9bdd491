"""AutoFormer: strings, counts, and the network against a plain one."""

import json
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import plain_autoformer as plain

from jaxproxy import meters
from jaxproxy.measure import Readings, collect, cross_entropy
from jaxproxy.scoring import Scorer, make_scorer
from jaxproxy.spaces import Mode, Space, autoformer, nasbench201
from jaxproxy.spaces._autoformer import _codes as host
from jaxproxy.testing import check_proxy
from jaxproxy.types import Batch, Fidelity

TABLE = Path(__file__).parents[3] / "shared" / "data" / "vit_autoprox.json"
ARCH = "embed:192|depth:12|heads:{}|mlp:{}".format(
    "-".join("3" * 12), "-".join("4" * 12)
)
# Fewer blocks and branches than the paper's, so that they compile soon.
MINI = host.Supernet((192, 240), (1, 3), (3, 4), (3.5, 4.0))
SMALL = Fidelity(width=4, cells=1, batch_size=3, resolution=32)


@pytest.mark.smoke
def test_strings() -> None:
    space = autoformer()
    code = space.from_str(ARCH)
    assert code.tolist() == [0, 0] + [0] * 14 + [1] * 12 + [0] * 2
    assert space.to_str(code) == ARCH
    # Genes beyond the depth are written, lest two codes share a string, and inert.
    code[-1] = code[15] = 1
    text = space.to_str(code)
    assert text.endswith(
        "|heads:3-3-3-3-3-3-3-3-3-3-3-3-3-4|mlp:" + "4-" * 12 + "3.5-4"
    )
    np.testing.assert_array_equal(space.from_str(text), code)
    assert space.to_str(space.canonical(code)) == ARCH
    assert space.num_params(code) == space.num_params(space.canonical(code))
    assert (
        space.from_str(ARCH.replace("4", "4.0")).tolist()
        == space.from_str(ARCH).tolist()
    )


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("", r"'' is not of the form 'embed:192\|depth:12"),
        (ARCH.replace("depth", "layers"), "is not of the form"),
        (
            ARCH.replace("192", "200"),
            r"embed '200' in .* choose from \[192, 216, 240\]",
        ),
        (ARCH.replace("depth:12", "depth:11"), r"depth '11' in .* \[12, 13, 14\]"),
        (ARCH.replace("depth:12", "depth:13"), "12 values of heads, not 13 or 14"),
        (ARCH.replace("mlp:4-", "mlp:"), "12 heads and 11 mlp ratios"),
        (ARCH.replace("mlp:4", "mlp:5"), r"mlp '5' in .* choose from \[3.5, 4.0\]"),
        (ARCH.replace("192", "192-192"), "2 values of embed, not 1"),
    ],
)
def test_bad_strings(arch: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        autoformer().from_str(arch)


@pytest.mark.smoke
def test_bad_options() -> None:
    with pytest.raises(ValueError, match="unknown size 'huge'; choose from"):
        autoformer(size="huge")
    with pytest.raises(
        ValueError, match="num_classes is an integer from 1 to 1000000, not 0"
    ):
        autoformer(num_classes=0)
    with pytest.raises(ValueError, match="multiple of 16, got 100"):
        autoformer(resolution=100)
    with pytest.raises(ValueError, match="multiple of 16, the side of a patch, got 8"):
        autoformer().network(Fidelity(resolution=8), Mode())


# Embedding, heads and MLP ratios that the authors publish, and millions of parameters
# and multiply-adds that their paper gives, table 3.
PUBLISHED = {
    "small": (
        384,
        "6 6 5 7 5 5 5 6 6 7 7 6 7",
        "3 3.5 3 3.5 4 4 4 4 4 4 4 3.5 4",
        22.9,
    ),
    "base": (
        *(576, "9 9 9 9 9 10 9 9 10 9 10 9 9 10"),
        *("3.5 3.5 4 3.5 4 3.5 3.5 3 4 4 3 4 3 3.5", 53.7),
    ),
}


@pytest.mark.smoke
@pytest.mark.parametrize("size", PUBLISHED)
def test_published_sizes(size: str) -> None:
    embedding, heads, ratios, millions = PUBLISHED[size]
    depth = len(heads.split())
    listed = [values.replace(" ", "-") for values in (heads, ratios)]
    space = autoformer(size=size)
    arch = "embed:{}|depth:{}|heads:{}|mlp:{}".format(embedding, depth, *listed)
    code = space.from_str(arch)
    assert round(float(space.num_params(code)) / 1e6, 1) == millions
    assert space.to_str(code) == arch


@pytest.mark.smoke
def test_macs_by_hand() -> None:
    # One block of 3 heads and 4 x 192 hidden units, 4 patches and a class token.
    supernet = host.Supernet((192,), (1,), (3,), (4.0,))
    dense = 5 * (192 * 3 * 192 + 192 * 192 + 2 * 192 * 768)
    products = 2 * 5 * 5 * 192
    given = host.num_macs(supernet, np.zeros(4, int), num_classes=7, resolution=32)
    assert given == 4 * 768 * 192 + dense + products + 192 * 7


@pytest.mark.smoke
def test_architectures_of_a_public_table() -> None:
    if not TABLE.exists():
        pytest.skip("the table of Auto-Prox is not at hand")
    space = autoformer(num_classes=100)
    groups = json.loads(TABLE.read_text())
    for record in groups["gt_autoformer"] + groups["gt_autoformer_2"]:
        arch = record["arch"]
        lists = ["-".join(map(str, arch[k])) for k in ("num_heads", "mlp_ratio")]
        text = "embed:{}|depth:{}|heads:{}|mlp:{}".format(
            arch["hidden_dim"], arch["depth"], *lists
        )
        assert 5e6 < space.num_params(space.from_str(text)) < 11e6


@pytest.mark.smoke
def test_graph() -> None:
    space = autoformer()
    nodes, edges = space.graph(space.from_str(ARCH))
    assert nodes[:4] == ("image", "patches, 192", "attention, 3 heads", "MLP x4")
    assert len(nodes) == 2 + 2 * 12 + 1
    assert sum(label == "residual" for _, _, label in edges) == 2 * 12


@pytest.fixture(scope="module")
def space() -> Iterator[Space]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(host.SUPERNETS, "tiny", MINI)
        yield autoformer(num_classes=5, resolution=32)


METERS = (
    meters.covariance("linear"),
    meters.weight_size("all"),
    meters.gradient_norm("all"),
    meters.nuclear_saliency(),
)
CODES = [
    # Embedding, depth, heads and MLP ratios, and what they are at the fidelity.
    ([0, 1, 0, 1, 0, 1, 0, 0], plain.Arch(12, 4, (3, 4, 3), (48, 42, 42))),
    ([1, 0, 1, 0, 1, 0, 1, 1], plain.Arch(15, 4, (4,), (52,))),
]


def _rows(readings: Readings, meter: meters.Meter) -> dict[str, np.ndarray]:
    rows = zip(
        readings.slots(meter), readings[meter], readings.present(meter), strict=True
    )
    return {slot.name: np.asarray(row) for slot, row, here in rows if here}


def test_network_is_the_plain_one(space: Space) -> None:
    network = space.network(SMALL, Mode())
    params = network.init(jax.random.key(0))
    # Biases and scales that are not 0 and 1, so that none can be missed.
    params = jax.tree.map(
        lambda p: p + 0.1 * jnp.cos(jnp.arange(p.size)).reshape(p.shape), params
    )
    x = jax.random.normal(jax.random.key(1), (3, 32, 32, 3))
    batch = Batch(x, jnp.array([0, 4, 2]))
    read = jax.jit(lambda code: collect(network, params, batch, code, METERS))
    for code, arch in CODES:
        given = read(jnp.array(code))
        mine = plain.parameters(params["params"], arch)

        def loss(mine, arch=arch):
            logits, outputs = plain.logits(mine, arch, batch.x)
            return cross_entropy(logits, batch.y), outputs

        (_, outputs), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(mine)
        _check_readings(given, mine, outputs, gradients)
        tensors = space.num_tensors(np.array(code))
        assert len(_rows(given, METERS[1])) == tensors


def _check_readings(given, mine, outputs, gradients) -> None:
    covariances = _rows(given, METERS[0])
    assert covariances.keys() == outputs.keys()
    for name, row in covariances.items():
        flat = np.asarray(outputs[name], np.float64)
        expected = np.cov(flat.reshape(-1, flat.shape[-1]).T)
        close = [np.trace(expected), np.square(expected).sum(), len(expected)]
        np.testing.assert_allclose(row, close, rtol=1e-3, err_msg=name)
    sizes, norms = _rows(given, METERS[1]), _rows(given, METERS[2])
    assert sizes.keys() == norms.keys() == mine.keys()
    largest = max(float(jnp.linalg.norm(g)) for g in gradients.values())
    for name, gradient in gradients.items():
        assert sizes[name] == mine[name].size
        norm = float(jnp.linalg.norm(gradient.reshape(-1)))
        np.testing.assert_allclose(
            norms[name], norm, rtol=2e-3, atol=1e-6 * largest, err_msg=name
        )
    nuclear = _rows(given, METERS[3])
    for name, row in nuclear.items():
        both = mine[name], gradients[name]
        product = np.prod([np.linalg.norm(m, "nuc") for m in both])
        np.testing.assert_allclose(row, product, rtol=2e-3, err_msg=name)
    blocks = len({name.split(".")[1] for name in nuclear})
    assert len(nuclear) == 2 * blocks


@pytest.mark.smoke
def test_counts_are_those_of_the_plain_network(space: Space) -> None:
    """Of heads of dimension 64, as the network that is trained has them."""
    shapes = jax.eval_shape(
        space.network(Fidelity(width=64, resolution=32), Mode()).init, jax.random.key(0)
    )
    for code, arch in CODES:
        full = plain.Arch(
            MINI.embeddings[code[0]],
            64,
            arch.heads,
            tuple(
                int(MINI.embeddings[code[0]] * MINI.ratios[r])
                for r in code[5:][: len(arch.heads)]
            ),
        )
        mine = jax.eval_shape(
            lambda p, a=full: plain.parameters(p, a), shapes["params"]
        )
        assert sum(v.size for v in mine.values()) == space.num_params(np.array(code))
        assert len(mine) == space.num_tensors(np.array(code))


@pytest.fixture(scope="module")
def scorer(space: Space) -> Scorer:
    proxies = ["intrain(layers=linear)", "az_expressivity", "dss"]
    return make_scorer(space, proxies, fidelity=SMALL, devices=1, block_size=6)


def test_proxies_keep_their_contract(space: Space, scorer: Scorer) -> None:
    for proxy in scorer.proxies:
        check_proxy(proxy, space, scorer=scorer)
    before = scorer.num_traces
    assert np.isfinite(
        scorer.score(space.sample(np.random.default_rng(1), 20)).scores["dss"]
    ).all()
    assert scorer.num_traces == before


def test_inert_genes_change_nothing(space: Space, scorer: Scorer) -> None:
    codes = np.array([CODES[1][0], space.canonical(np.array(CODES[1][0]))])
    assert (codes[0] != codes[1]).any()
    for scores in scorer.score(codes).scores.values():
        assert scores[0] == scores[1]


@pytest.mark.smoke
def test_images_of_another_size_are_refused(space: Space) -> None:
    scorer = make_scorer(
        space, ["snip(inputs=images)"], fidelity=SMALL, images=np.ones((3, 16, 16, 3))
    )
    with pytest.raises(ValueError, match="images have 16 x 16 pixels, and the posit"):
        scorer.score(space.sample(np.random.default_rng(0), 1))


@pytest.mark.smoke
def test_dss_needs_attention() -> None:
    scorer = make_scorer(nasbench201(), ["dss"], fidelity=Fidelity(2, 1, 2, 8))
    with pytest.raises(ValueError, match=r"'attention_w',\); the network has none"):
        scorer.score(nasbench201().sample(np.random.default_rng(0), 1))
