"""The network of NAS-Bench-101 against a plain one, module by module."""

import itertools
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxproxy import meters
from jaxproxy.measure import Network, collect
from jaxproxy.proxies import parse_proxy
from jaxproxy.scoring import Scorer, make_scorer
from jaxproxy.spaces import Mode, nasbench101
from jaxproxy.spaces._nasbench101 import _codes as nb101
from jaxproxy.testing import check_proxy
from jaxproxy.types import Fidelity

SPACE = nasbench101()
# Five channels are shared unevenly by two, three and four vertices.
SMALL = Fidelity(width=5, cells=2, batch_size=3, resolution=8)
PROXIES = [parse_proxy("intrain")]
METERS = (meters.covariance("conv"), meters.gradient("weights"))
CONV3, CONV1, POOL = nb101.OPS
GRAPHS = {
    "input alone": ([(0, 1)], []),
    "chain": ([(0, 1), (1, 2), (2, 3), (0, 3)], [CONV3, POOL]),
    "two": ([(0, 1), (0, 2), (1, 2), (1, 3), (2, 3), (0, 3)], [CONV1, CONV3]),
    "three": (
        [(0, 1), (0, 2), (1, 3), (2, 3), (1, 4), (3, 5), (4, 5), (2, 5)],
        [CONV3, CONV1, CONV1, POOL],
    ),
    "four": (
        [(0, 1), (0, 2), (1, 3), (2, 4), (1, 5), (2, 5), (3, 5), (4, 5), (0, 5)],
        [CONV3, POOL, CONV1, CONV3],
    ),
}


def graph(name: str) -> tuple[np.ndarray, list[str]]:
    edges, ops = GRAPHS[name]
    matrix = np.zeros((len(ops) + 2, len(ops) + 2), int)
    matrix[tuple(np.array(edges).T)] = 1
    return matrix, ["input", *ops, "output"]


@cache
def scorer() -> Scorer:
    return make_scorer(SPACE, PROXIES, fidelity=SMALL, devices=1, block_size=6)


class _Plain:
    """The network of one graph, from the parameters of all."""

    def __init__(self, matrix: np.ndarray, ops: list[str]) -> None:
        self.matrix, self.ops = matrix, ops

    def layer(self, name, x, params, place, width, tap):
        sizes = [k.shape[-1] for k in params["kernels"].values()]
        kernel = params["kernels"][sizes.index(width)][place]
        kernel = tap.parameter(f"{name}.conv.weight", kernel, "conv_w")
        x = jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = tap(f"{name}.conv", x, "conv")
        centred = x - x.mean((0, 1, 2), keepdims=True)
        variance = (centred**2).mean((0, 1, 2), keepdims=True)
        return jax.nn.relu(centred / jnp.sqrt(variance + 1e-5))

    def vertex_channels(self, channels: int) -> list[int]:
        """As the benchmark's authors describe it, one vertex after the other."""
        last = len(self.ops) - 1
        feeding = [v for v in range(1, last) if self.matrix[v, last]]
        widths = [0] * last
        for i, v in enumerate(feeding):
            rest = channels % len(feeding)
            widths[v] = channels // len(feeding) + (1 if i < rest else 0)
        for v in reversed(range(1, last)):
            if v not in feeding:
                widths[v] = max(widths[u] for u in range(v, last) if self.matrix[v, u])
        return widths

    def module(self, name, x, stack, index, channels, tap):
        widths, last = self.vertex_channels(channels), len(self.ops) - 1

        def projected(v: int, width: int) -> jax.Array:
            vertex, names = f"v{v}", ("proj", "first")
            place = () if v == last else (v - 1,)
            if v == last:
                vertex, names = "output", ("last", "first_last")
            narrow = x.shape[-1] < channels
            where = place if narrow else (index, *place)
            layer = stack[names[narrow]]
            return self.layer(f"{name}.{vertex}.proj", x, layer, where, width, tap)

        outputs = {}
        for v in range(1, last):
            parts = [outputs[u][..., : widths[v]] for u in outputs if self.matrix[u, v]]
            if self.matrix[0, v]:
                parts.insert(0, projected(v, widths[v]))
            total = sum(parts[1:], parts[0])
            if self.ops[v] == POOL:
                shifts = itertools.product((0, 1, 2), repeat=2)
                edge = [(0, 0), (1, 1), (1, 1), (0, 0)]
                padded = jnp.pad(total, edge, constant_values=-jnp.inf)
                side = total.shape[1]
                views = [padded[:, i : i + side, j : j + side] for i, j in shifts]
                outputs[v] = jnp.stack(views).max(0)
            else:
                kind = "conv3" if self.ops[v] == CONV3 else "conv1"
                outputs[v] = self.layer(
                    f"{name}.v{v}.op",
                    total,
                    stack[kind],
                    (index, v - 1),
                    widths[v],
                    tap,
                )
        feeding = [outputs[v] for v in outputs if self.matrix[v, last]]
        if not feeding:
            return projected(last, channels)
        result = jnp.concatenate(feeding, -1)
        if self.matrix[0, last]:
            result = result + projected(last, channels)
        return result

    def __call__(self, variables, x, code, tap):
        params = variables["params"]
        stem = {"kernels": {0: params["stem"]["kernel"]}}
        x = self.layer("stem", x, stem, (), SMALL.width, tap)
        for i in range(3):
            if i:
                x = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1)
                x = x.max((2, 4))
            for m in range(SMALL.cells):
                name, stack = f"stacks.{i}.{m}", params["stacks"][i]
                x = self.module(name, x, stack, m, SMALL.width << i, tap)
        head = params["classifier"]
        kernel = tap.parameter("classifier.weight", head["kernel"], "linear_w")
        return x.mean((1, 2)) @ kernel + head["bias"]


@pytest.mark.parametrize("name", GRAPHS)
def test_same_readings_as_a_plain_network(name: str) -> None:
    """Covariances of all convolutions and gradients of all weights, at exact widths."""
    matrix, ops = graph(name)
    code = nb101.from_matrix(matrix, ops)
    block = scorer().score(code[None])
    (prepared,) = scorer()._programs[0]._seeded[0]
    plain = Network(lambda key: None, _Plain(matrix, ops))
    theirs = jax.jit(
        lambda: collect(plain, prepared.params, prepared.batch, None, METERS)
    )()
    for meter in METERS:
        here = block.present[meter.name][0]
        names = [slot.name for slot in scorer().layout[meter.name]]
        present = list(itertools.compress(names, here))
        rows = dict(zip(present, block.readings[meter.name][0, 0][here], strict=True))
        assert sorted(present) == sorted(s.name for s in theirs.slots(meter))
        values = np.asarray(theirs[meter])
        for slot, row in zip(theirs.slots(meter), values, strict=True):
            ours = rows[slot.name]
            np.testing.assert_allclose(ours, row, rtol=2e-3, atol=1e-6, err_msg=slot)


@pytest.mark.parametrize("proxy", PROXIES, ids=lambda proxy: proxy.name)
def test_proxies_keep_their_contract(proxy) -> None:
    check_proxy(proxy, SPACE, scorer=scorer())


def test_one_program_for_all() -> None:
    codes = SPACE.sample(np.random.default_rng(1), 6)
    scores = scorer().score(codes).scores
    assert scorer().num_traces == 1
    for values in scores.values():
        assert len(np.unique(values)) == 6


def test_pruned_vertices_change_nothing() -> None:
    """What lies on no path, and where, is not seen."""
    matrix, ops = graph("two")
    code = nb101.from_matrix(matrix, ops)
    other = code.copy()
    other[[2, 21 + 2, 21 + 4]] = 1, 2, 2  # edge 0 -> 3, which none reads
    assert nb101.module_hash(other) == nb101.module_hash(code)
    scores = scorer().score(np.stack([code, other])).scores
    for values in scores.values():
        assert values[0] == values[1]


def test_a_width_that_four_vertices_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"width of at least 4.*got 3"):
        SPACE.network(Fidelity(width=3, cells=1, batch_size=2, resolution=8), Mode())
