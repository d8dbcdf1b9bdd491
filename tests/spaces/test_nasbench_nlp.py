"""NAS-Bench-NLP: recipes, counts, and the network against a plain one."""

import gzip
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references.plain_nasbench_nlp import plain_layer, plain_logits

from jaxproxy import meters
from jaxproxy.measure import Readings, collect
from jaxproxy.proxies._epsinas import dispersion
from jaxproxy.scoring import make_scorer
from jaxproxy.spaces import Mode, nasbench_nlp
from jaxproxy.spaces._nasbench_nlp import _codes as recipes
from jaxproxy.testing import check_proxy
from jaxproxy.types import Batch, Fidelity

TABLE = (
    Path(__file__).parents[3] / "shared" / "data" / "nasbench_nlp_recipes_340.json.gz"
)
SPACE = nasbench_nlp(num_classes=11)
SMALL = Fidelity(width=6, cells=2, batch_size=3, resolution=4)


def node(op: str, *inputs: str) -> dict[str, Any]:
    return {"op": op, "input": list(inputs)}


RNN = {"f": node("linear", "x", "h_prev_0"), "h_new_0": node("activation_tanh", "f")}
GRU = {
    "r": node("linear", "x", "h_prev_0"),
    "r_act": node("activation_sigm", "r"),
    "z": node("linear", "x", "h_prev_0"),
    "z_act": node("activation_sigm", "z"),
    "rh": node("elementwise_prod", "r_act", "h_prev_0"),
    "h": node("linear", "x", "rh"),
    "h_act": node("activation_tanh", "h"),
    "h_new_0": node("blend", "z_act", "h_prev_0", "h_act"),
}
TWO_STATES = {
    # Not in topological order, and an input of three.
    "h_new_0": node("elementwise_sum", "h_new_1", "g"),
    "h_new_1": node("activation_leaky_relu", "f"),
    "f": node("linear", "h_prev_0", "x", "h_prev_1"),
    "g": node("activation_sigm", "f"),
}
RECIPES = (RNN, GRU, TWO_STATES)


def code_of(recipe: dict[str, Any]) -> np.ndarray:
    return SPACE.from_str(json.dumps(recipe))


@pytest.fixture(scope="module")
def table() -> list[dict[str, Any]]:
    if not TABLE.exists():
        pytest.skip("the table of NAS-Bench-NLP is not at hand")
    return json.loads(gzip.decompress(TABLE.read_bytes()))


@pytest.mark.smoke
def test_params_are_those_of_the_benchmark(table: list[dict[str, Any]]) -> None:
    codes = np.stack([code_of(record["recipe"]) for record in table])
    for name, words in (("ptb_params", 10_000), ("wt2_params", 33_278)):
        ours = nasbench_nlp(num_classes=words).num_params(codes)
        theirs = [record[name] for record in table]
        known = [i for i, count in enumerate(theirs) if count is not None]
        assert len(known) > 300
        assert [ours[i] for i in known] == [theirs[i] for i in known]


@pytest.mark.smoke
def test_counts_by_hand() -> None:
    space = nasbench_nlp(num_classes=7)
    # A GRU has three linear nodes, each of x and of one other.
    by_x, by_node = 400 * 600 + 600 * 600 + 600 * 400, 600**2 + 600**2 + 400**2
    code = code_of(GRU)
    assert space.num_macs(code) == 3 * (by_x + by_node) + 7 * 400
    biases = 3 * (600 + 600 + 400)
    assert space.num_params(code) == 3 * (by_x + by_node) + biases + 7 * 401
    assert space.num_tensors(code) == 3 * 3 * 3 + 2


@pytest.mark.smoke
def test_strings_do_not_depend_on_names_and_order() -> None:
    code = code_of(TWO_STATES)
    given = json.loads(SPACE.to_str(code))
    assert list(given) == ["node_0", "h_new_1", "node_2", "h_new_0"]
    assert given["h_new_0"]["input"][0] == "h_new_1"
    renamed = json.dumps(TWO_STATES).replace('"f"', '"a"').replace('"g"', '"b"')
    np.testing.assert_array_equal(SPACE.from_str(renamed), code)
    turned = {**TWO_STATES, "f": node("linear", "x", "h_prev_1", "h_prev_0")}
    assert (code_of(turned) != code).any()
    both = SPACE.canonical(np.stack([code_of(turned), code]))
    np.testing.assert_array_equal(*both)


BAD = [
    ("[", "is not JSON"),
    ("[1]", "is not of the form"),
    ({"h_new_0": "x"}, "is not of the form"),
    ({}, "states are not numbered from h_new_0 on"),
    ({**RNN, "f": node("conv", "x")}, r"'f' in .* is 'conv'; choose from \['linear'"),
    ({**RNN, "f": node("linear", "x", "g")}, "'f' in .* reads 'g'; choose from"),
    ({**RNN, "f": node("linear", "h_new_0", "x")}, r"a cycle among \['f', 'h_new_0'\]"),
    ({"f": RNN["f"], "h_new_1": RNN["h_new_0"]}, "not numbered from h_new_0 on"),
    ({**RNN, "h_new_1": node("activation_tanh", "f")}, "reads h_prev_1"),
    ({**RNN, "f": node("linear", "x", "h_prev_1")}, "reads h_prev_1, but states are 1"),
    ({**RNN, "f": node("linear", "h_prev_0")}, "no node that has an effect reads x"),
    ({**RNN, "g": node("activation_tanh", "f")}, "node 2 has no effect"),
    ({**RNN, "f": node("linear", "x", "x")}, "reads x, x, which are not different"),
    ({**RNN, "f": node("blend", "h_prev_0")}, "is blend, of 3 inputs, and has 1"),
    (
        {**RNN, "f": node("activation_tanh", "x")},
        "activation_tanh of x, which only lin",
    ),
    ({**RNN, "f": node("linear", *("xxxx"))}, "has more than 3 inputs"),
    ({f"n{i}": node("linear", "x") for i in range(25)}, "has 25 nodes, more than 24"),
]


@pytest.mark.smoke
@pytest.mark.parametrize(("recipe", "message"), BAD)
def test_bad_recipes(recipe: Any, message: str) -> None:
    text = recipe if isinstance(recipe, str) else json.dumps(recipe)
    with pytest.raises(ValueError, match=message):
        SPACE.from_str(text)


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("gene", "value", "message"),
    [
        (0, 0, "its 1 nodes are not in the first 1 places"),
        (-3, 0, "not numbered from h_new_0"),
        (-3, 3, "not different nodes that it has"),
        (9, 1, "a place without a node has inputs"),
    ],
)
def test_bad_codes(gene: int, value: int, message: str) -> None:
    code = code_of(RNN)
    code[gene] = value
    assert message in recipes.problem(code)
    with pytest.raises(ValueError, match=message):
        SPACE.check_codes(code[None])


@pytest.mark.smoke
def test_random_recipes_are_like_those_of_the_benchmark() -> None:
    codes = SPACE.sample(np.random.default_rng(0), 100)
    assert SPACE.valid(codes).all()
    ops, _, states = recipes.parts(codes)
    assert set((states > 0).sum(1)) == {1, 2, 3}
    # Every operation occurs, and linear nodes most often.
    counts = np.bincount(ops[ops > 0], minlength=8)[1:]
    assert counts.argmax() == 0 and counts.min() > 0
    with pytest.raises(ValueError, match="cannot sample -1"):
        SPACE.sample(np.random.default_rng(0), -1)


def weights_of(params: dict[str, Any], recipe: dict[str, Any], layer: int) -> Any:
    """Matrices and bias of the linear nodes of a layer, by name."""
    order = recipes._in_order("", recipe)
    stacked = params["layers"][layer]
    found = {}
    for place, name in enumerate(order):
        if recipe[name]["op"] == "linear":
            found[name] = [
                *(
                    stacked["by_x"][place]
                    if source == "x"
                    else stacked["by_node"][place][slot]
                    for slot, source in enumerate(recipe[name]["input"])
                ),
                stacked["bias"][place],
            ]
    return found


METERS = (
    meters.covariance("linear"),
    meters.gradient_norm("all"),
    meters.weight_size("all"),
)


def _rows(readings: Readings, meter: meters.Meter) -> dict[str, np.ndarray]:
    rows = zip(
        readings.slots(meter), readings[meter], readings.present(meter), strict=True
    )
    return {slot.name: np.asarray(row) for slot, row, here in rows if here}


def test_network_is_the_plain_one() -> None:
    network = SPACE.network(SMALL, Mode())
    params = network.init(jax.random.key(0))
    params = jax.tree.map(
        lambda p: p + 0.1 * jnp.cos(jnp.arange(p.size)).reshape(p.shape), params
    )
    batch = SPACE.task.batch(jax.random.key(1), SMALL)
    assert batch.x.shape == batch.y.shape == (3, 4)
    np.testing.assert_array_equal(batch.x[:, 1:], batch.y[:, :-1])
    read = jax.jit(
        lambda code: collect(network, params, batch, code, METERS, loss=SPACE.task.loss)
    )
    for recipe in (GRU, TWO_STATES):
        _check(read(jnp.asarray(code_of(recipe))), params["params"], recipe, batch)


def _check(given: Readings, params: Any, recipe: Any, batch: Batch) -> None:
    tensors = {
        "words": params["words"],
        "bias": params["bias"],
        "layers": [weights_of(params, recipe, layer) for layer in range(SMALL.cells)],
    }

    def loss(tensors: Any) -> Any:
        logits = plain_logits(tensors, recipe, batch.x)
        log_p = logits - jax.scipy.special.logsumexp(logits, axis=-1, keepdims=True)
        return -(log_p * jax.nn.one_hot(batch.y, 11)).sum(-1).mean(), logits

    gradients, logits = jax.jit(jax.grad(loss, has_aux=True))(tensors)
    flat = np.asarray(logits, np.float64).reshape(-1, 11)
    covariances = _rows(given, METERS[0])
    linear = sum(spec["op"] == "linear" for spec in recipe.values())
    assert len(covariances) == SMALL.cells * linear + 1
    trace = np.trace(np.cov(flat.T))
    np.testing.assert_allclose(covariances["decoder"][0], trace, rtol=1e-3)
    norms, sizes = _rows(given, METERS[1]), _rows(given, METERS[2])
    expected = sorted(
        float(jnp.linalg.norm(g.ravel())) for g in jax.tree.leaves(gradients)
    )
    np.testing.assert_allclose(sorted(norms.values()), expected, rtol=2e-3)
    assert sum(sizes.values()) == sum(t.size for t in jax.tree.leaves(tensors))


@pytest.mark.parametrize("recipe", RECIPES)
def test_equal_weights_are_one_channel(recipe: dict[str, Any]) -> None:
    with jax.enable_x64(True):
        one = SPACE.equal_weights(SMALL, underflow=False)
        state = one.stem(jnp.zeros((1, 8, 8, 3)), jnp.float64(1))
        outputs = []
        for weight in (0.1, 0.3):
            given = one.logits(state, jnp.asarray(code_of(recipe)), jnp.float64(weight))
            # Four dimensions of words, six of hidden states.
            x = [jnp.stack([row / 4] * 4, 1) for row in state]
            for inputs, width in ((4, 6), (6, 4)):
                weights = {
                    name: [
                        *(
                            np.full((inputs if s == "x" else width, width), weight)
                            for s in spec["input"]
                        ),
                        np.full(width, weight),
                    ]
                    for name, spec in recipe.items()
                }
                start = jnp.full((3, width), weight)
                x = plain_layer(recipe, weights, x, start)
            expected = jnp.stack(x)[..., 0].ravel()
            np.testing.assert_allclose(given / 4, expected, rtol=1e-9)
            outputs.append(given)
        assert 0 < dispersion(*outputs) < 2


@pytest.mark.smoke
def test_equal_weights_need_float64() -> None:
    with pytest.raises(ValueError, match="need float64"):
        SPACE.equal_weights(SMALL)


def test_proxies_keep_their_contract() -> None:
    names = ["intrain(layers=linear)", "snip", "epsinas(weights=1e-5:1e-3)"]
    scorer = make_scorer(SPACE, names, fidelity=SMALL, devices=1, block_size=6)
    for proxy in scorer.proxies:
        check_proxy(proxy, SPACE, scorer=scorer)
    before = scorer.num_traces
    scorer.score(SPACE.sample(np.random.default_rng(1), 15))
    assert scorer.num_traces == before


@pytest.mark.smoke
def test_gradients_inside_of_cells_are_refused() -> None:
    scorer = make_scorer(SPACE, ["fisher"], fidelity=SMALL)
    with pytest.raises(ValueError, match="inside of a cell are not measured"):
        scorer.score(SPACE.sample(np.random.default_rng(0), 1))
