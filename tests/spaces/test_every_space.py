"""Every space of the table keeps the contract of spaces, and so does a user's own."""

import dataclasses
import inspect
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import toy_space
from helpers.toy_space import toy

from jaxproxy.measure import Network
from jaxproxy.proxies import PROXIES
from jaxproxy.scoring import Scorer, make_scorer
from jaxproxy.spaces import SPACES, Counts, Graph, Strings, Task, parse_space
from jaxproxy.testing import check_proxy, check_space
from jaxproxy.types import Fidelity

pytestmark = pytest.mark.smoke

TASKS = ("jigsaw", "room_layout", "segmentsemantic", "autoencoder", "normal")
VARIANTS = (
    *(f"transnasbench101_micro(task={task})" for task in TASKS),
    "autoformer(size=small)",
    "autoformer(size=base)",
    "mobilenetv2(max_macs=450000000)",
)
SMALL = Fidelity(width=6, cells=1, batch_size=6, resolution=8)


@pytest.mark.parametrize("text", [*SPACES, *VARIANTS])
def test_a_space_keeps_its_contract(text: str) -> None:
    check_space(parse_space(text), num=20)


def test_a_space_of_ones_own_is_25_lines() -> None:
    """The network, and what makes a space of it."""
    parts = (toy_space.OPS, toy_space.Chain, toy)
    lines = 1 + sum(len(inspect.getsource(part).splitlines()) for part in parts[1:])
    assert lines <= 25
    check_space(toy())


ELSEWHERE = {
    "capacity": "reads taps of kinds \\('conv',\\)",
    "intrain": "reads taps of kinds \\('conv',\\)",
    "participation": "reads taps of kinds \\('conv',\\)",
    "dss": "reads taps of kinds \\('attention_w',\\)",
    "zen": "reads taps of kinds \\('features',\\)",
    "az_trainability": "needs a network with blocks",
    "epsinas": "a network of equal weights is needed, which toy does not have",
    "macs": "toy does not count its multiply-adds",
}
"""What does not apply to a chain of linear layers, and why."""
APPLY = {name: make() for name, make in PROXIES.items() if name not in ELSEWHERE} | {
    f"{name}(layers=linear)": PROXIES[name](layers="linear")
    for name in ("capacity", "intrain", "participation")
}
APPLY["capacity(layers=relu)"] = PROXIES["capacity"](layers="relu")
APPLY["cv"] = PROXIES["cv"](draws=4)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    """All proxies that apply, in one program."""
    return make_scorer(
        toy(), list(APPLY.values()), fidelity=SMALL, devices=1, block_size=6
    )


def test_every_proxy_that_applies_scores_it(scorer: Scorer) -> None:
    codes = toy().sample(np.random.default_rng(0), 6)
    block = scorer.score_block(codes)
    measured = {p.name for p in APPLY.values() if p.count is None}
    assert measured == block.scores.keys()
    for name in measured:
        scores, valid = block.scores[name], block.valid[name]
        assert scores.shape == valid.shape == (6, 1)
        assert valid.any(), name
        assert np.isfinite(scores[valid]).all(), name
    for name in ("snip", "naswot", "params"):
        check_proxy(APPLY[name], toy(), scorer=scorer)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_others_say_what_they_lack(name: str) -> None:
    with pytest.raises(ValueError, match=ELSEWHERE[name]):
        check_proxy(PROXIES[name](), toy(), fidelity=SMALL)


def test_rectifiers_are_read_where_an_architecture_has_them(scorer: Scorer) -> None:
    space = toy()
    archs = ["relu|skip|relu", "skip|tanh|skip", "relu|relu|relu"]
    block = scorer.score_block(np.stack([space.from_str(arch) for arch in archs]))
    np.testing.assert_array_equal(block.present["covariance(relu)"].sum(1), [2, 0, 3])


def test_parameters_are_counted_by_the_network() -> None:
    """Weights and biases of three layers of eight and of the head."""
    space = toy()
    code = space.from_str("relu|skip|tanh")
    assert space.num_params(code) == 3 * (8 + 1) * 8 + (8 + 1) * 4
    assert space.num_tensors(code) == 8


def _of_ints(network: Network) -> Network:
    def apply(*args: Any) -> Any:
        return network.apply(*args).astype(jnp.int32)

    return network._replace(apply=apply)


TOY = toy()


def _all_sorted(codes: np.ndarray) -> np.ndarray:
    """Sorts one code, and of many mixes the genes of all."""
    return np.sort(codes, axis=None).reshape(codes.shape)


def _written(codes: np.ndarray) -> list[str]:
    return [TOY.to_str(code) for code in codes]


def _same(codes: np.ndarray) -> list[str]:
    return ["skip|skip|skip"] * len(codes)


def _unread(archs: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((len(archs), 3), np.int32), np.zeros(len(archs), bool)


def _read_as_zero(archs: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((len(archs), 3), np.int32), np.ones(len(archs), bool)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"from_str": lambda arch: np.zeros(3, int)}, "contract broken: from_str"),
        ({"to_str": lambda code: "skip|skip|skip"}, "contract broken: from_str"),
        (
            {"isomorphism": TOY.isomorphism._replace(canonical=lambda c: c + 1)},
            "contract broken: canonical form|gene",
        ),
        (
            {"isomorphism": TOY.isomorphism._replace(canonical=_all_sorted)},
            "contract broken: canonical, of many codes at once",
        ),
        ({"strings": Strings(_same, _unread)}, "contract broken: to_strs"),
        ({"strings": Strings(_written, _read_as_zero)}, "contract broken: from_strs"),
        ({"graph": lambda code: Graph(("in",), ((0, 1, ""),))}, "broken: graph of"),
        ({"counts": Counts(lambda codes: -codes.sum(-1) - 1)}, "broken: counts of"),
        ({"cost": lambda codes: codes.sum(-1) * 0.0}, "contract broken: cost"),
        ({"task": Task.of_inputs((8,), 5)}, "last axis of its task is 5"),
        (
            {"network": lambda f, mode: _of_ints(TOY.network(f, mode))},
            "outputs of toy are int32, not floats",
        ),
        ({"task": Task.of_inputs((9,), 4)}, None),
    ],
    ids=lambda x: str(x)[:40] if isinstance(x, str | None) else next(iter(x)),
)
def test_a_broken_space_is_refused(fields: dict[str, Any], message: str | None) -> None:
    """The last one by Flax, whose layer has another size."""
    with pytest.raises(ValueError if message else Exception, match=message):
        check_space(dataclasses.replace(TOY, **fields))


def test_a_task_of_other_outputs_is_refused_by_the_scorer() -> None:
    """Classes that no output stands for would be lost without a trace."""
    space = dataclasses.replace(TOY, task=Task.of_inputs((8,), 5))
    with pytest.raises(ValueError, match=r"outputs of toy are \[6, 4\], .* is 5"):
        make_scorer(space, ["snip"], fidelity=SMALL).score(
            space.sample(np.random.default_rng(0), 2)
        )
