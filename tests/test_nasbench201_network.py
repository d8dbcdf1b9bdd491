"""The network of NAS-Bench-201 against one written plainly: loops, no tricks."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxproxy.meters import Meter, covariance, gradient
from jaxproxy.readings import (
    Readings,
    collect,
    collect_reusing,
    cross_entropy,
    make_scratch,
)
from jaxproxy.spaces import nasbench201
from jaxproxy.spaces._nasbench201_stage import Plan
from jaxproxy.types import Batch, Fidelity

NONE, SKIP, CONV1, CONV3, POOL = range(5)
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
QUICK = {"xla_backend_optimization_level": 0}  # to compile, that is
SPACE = nasbench201()
CELLS = 2
FIDELITY = Fidelity(width=4, cells=CELLS, batch_size=4, resolution=8)

CODES = {
    "all none": (0, 0, 0, 0, 0, 0),
    "all skip": (1, 1, 1, 1, 1, 1),
    "all 3x3": (3, 3, 3, 3, 3, 3),
    "all 1x1": (2, 2, 2, 2, 2, 2),
    "all pool": (4, 4, 4, 4, 4, 4),
    "disconnected": (3, 0, 2, 0, 0, 0),
    "convolutions of zeros": (0, 0, 3, 1, 2, 3),
    "unreachable branches": (3, 2, 0, 1, 0, 0),
    "zeros pooled and skipped": (0, 3, 4, 0, 1, 2),
    "one path": (2, 0, 3, 0, 0, 4),
    "random": (4, 1, 2, 0, 3, 3),
    "random too": (2, 3, 0, 4, 2, 1),
}

CUT = ("relu", "conv", "bn", "linear")
TRACES = covariance((*CUT, "cell", "reduction", "pool", "skip", "none"))
RAW = covariance(CUT, rows="raw")  # of values; the traces are mostly of moments
GRADIENT = gradient("all")
LOGITS = Meter("logits", ("linear",), "forward", lambda h: h.value)


def _saliency(h: Any, dh: jax.Array) -> jax.Array:
    return jnp.stack([jnp.abs(h.value * dh).sum(), jnp.square(dh).sum()])


SALIENCY = Meter("saliency", CUT, "backward", _saliency)
METERS = (TRACES, RAW, GRADIENT, SALIENCY, LOGITS)


Key = tuple[str, str]  # name and kind of a slot; edges share names over kinds
Expected = dict[Meter, dict[Key, np.ndarray]]


class Plain:
    """The network of one code; weights by the slots' names, shifts added at taps."""

    def __init__(
        self,
        code: tuple[int, ...],
        weights: dict[str, jax.Array],
        shifts: dict[Key, jax.Array],
    ) -> None:
        self.code, self.weights, self.shifts = code, weights, shifts
        self.layers: dict[Key, jax.Array] = {}

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.conv_bn("stem", x)
        index = 0
        for stage in range(3):
            if stage:
                x = self.reduction(f"cells.{index}", x)
                index += 1
            for _ in range(CELLS):
                x = self.cell(f"cells.{index}", x)
                index += 1
        x = self.relu("lastact", self.batch_norm("lastact.bn", x))
        kernel, bias = (self.weights[f"classifier.{w}"] for w in ("weight", "bias"))
        return self.tap("classifier", "linear", x.mean((1, 2)) @ kernel + bias)

    def cell(self, name: str, x: jax.Array) -> jax.Array:
        nodes = [x, *[jnp.zeros_like(x)] * 3]
        for (source, target), op in zip(EDGES, self.code, strict=True):
            edge, x = f"{name}.e{source}{target}", nodes[source]
            if op == NONE:
                y = self.tap(edge, "none", jnp.zeros_like(x))
            elif op == SKIP:
                y = self.tap(edge, "skip", x)
            elif op == POOL:
                sums, ones = window_sums(x, 3, 1), window_sums(jnp.ones_like(x), 3, 1)
                y = self.tap(edge, "pool", sums / ones)
            else:
                y = self.conv_bn(edge, self.relu(edge, x))
            nodes[target] = nodes[target] + y
        return self.tap(name, "cell", nodes[3])

    def reduction(self, name: str, x: jax.Array) -> jax.Array:
        pooled = self.tap(f"{name}.pool", "pool", window_sums(x, 2, 2) / 4)
        shortcut = self.conv(f"{name}.down", pooled, 1)
        x = self.conv_bn(f"{name}.conv_a", self.relu(f"{name}.conv_a", x), stride=2)
        x = self.conv_bn(f"{name}.conv_b", self.relu(f"{name}.conv_b", x))
        return self.tap(name, "reduction", x + shortcut)

    def conv_bn(self, name: str, x: jax.Array, stride: int = 1) -> jax.Array:
        return self.batch_norm(f"{name}.bn", self.conv(f"{name}.conv", x, stride))

    def conv(self, name: str, x: jax.Array, stride: int) -> jax.Array:
        kernel = self.weights[f"{name}.weight"]
        pad = (kernel.shape[0] - 1) // 2
        z = lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            ((pad, pad), (pad, pad)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return self.tap(name, "conv", z)

    def batch_norm(self, name: str, x: jax.Array) -> jax.Array:
        mean = x.mean((0, 1, 2))
        variance = jnp.square(x - mean).mean((0, 1, 2))
        scale, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return self.tap(
            name, "bn", (x - mean) / jnp.sqrt(variance + 1e-5) * scale + bias
        )

    def relu(self, name: str, x: jax.Array) -> jax.Array:
        return self.tap(f"{name}.relu", "relu", jnp.where(x > 0, x, 0))

    def tap(self, name: str, kind: str, h: jax.Array) -> jax.Array:
        if (name, kind) in self.shifts:
            h = h + self.shifts[name, kind]
        self.layers[name, kind] = h
        return h


def window_sums(x: jax.Array, window: int, stride: int) -> jax.Array:
    shape, strides = (1, window, window, 1), (1, stride, stride, 1)
    padding = "VALID" if stride == window else "SAME"
    return lax.reduce_window(x, 0.0, lax.add, shape, strides, padding)


def named(params: dict[str, Any], code: tuple[int, ...]) -> dict[str, jax.Array]:
    """The parameters that a code has, by the names of their slots."""
    params = params["params"]
    weights = {"classifier.weight": params["kernel"], "classifier.bias": params["bias"]}

    def add_bn(name: str, tree: dict[str, jax.Array]) -> None:
        weights[f"{name}.bn.weight"] = tree["scale"]
        weights[f"{name}.bn.bias"] = tree["bias"]

    def add(name: str, tree: dict[str, Any]) -> None:
        weights[f"{name}.conv.weight"] = tree["kernel"]
        add_bn(name, tree["bn"])

    add("stem", params["stem"])
    add_bn("lastact", params["last"])
    for i in range(2):
        name, tree = f"cells.{(i + 1) * (CELLS + 1) - 1}", params["reductions"][i]
        add(f"{name}.conv_a", tree["conv_a"])
        add(f"{name}.conv_b", tree["conv_b"])
        weights[f"{name}.down.weight"] = tree["down"]
    for stage in range(3):
        tree = params["stages"][stage]
        for row in range(6 * CELLS):
            source, target = EDGES[row % 6]
            name = f"cells.{stage * (CELLS + 1) + row // 6}.e{source}{target}"
            kernel = {CONV1: "conv1", CONV3: "conv3"}.get(code[row % 6])
            if kernel:
                leaves = {leaf: tree[leaf][row] for leaf in ("scale", "bias")}
                add(name, {"kernel": tree[kernel][row], "bn": leaves})
    return weights


class World(NamedTuple):
    """Parameters with scales and biases that are not one and zero, and a batch."""

    params: Any
    batch: Batch
    readings: Callable[[jax.Array], Readings]


def make_world(dtype: str, *meters: Meter, reuse: bool = False) -> World:
    network = SPACE.network(FIDELITY)
    rng = np.random.default_rng(0)

    def moved(leaf: jax.Array) -> jax.Array:
        # A bias makes a convolution of zeros constant instead of zero.
        noise = 0.4 * rng.standard_normal(leaf.shape)
        return jnp.asarray(np.asarray(leaf) + noise, dtype)

    with jax.enable_x64(False):  # the same draw for both
        drawn = jax.jit(network.init)(jax.random.key(0))
    params = jax.tree.map(moved, drawn)
    images = jnp.asarray(rng.standard_normal((4, 8, 8, 3)), dtype)
    batch = Batch(images, jnp.asarray(rng.integers(0, 10, 4)))
    if not reuse:
        collected = jax.jit(lambda code: collect(network, params, batch, code, meters))
        return World(params, batch, collected)

    @partial(jax.jit, compiler_options=QUICK)
    def reusing(code: jax.Array) -> Readings:
        scratch = make_scratch(network, params, batch, code, meters)
        # What an earlier architecture left there must never be read.
        left = jax.tree.map(lambda buffer: jnp.full_like(buffer, jnp.nan), scratch)
        return collect_reusing(network, params, batch, code, meters, left)[0]

    return World(params, batch, reusing)


@pytest.fixture(scope="module")
def double() -> World:
    with jax.enable_x64(True):
        return make_world("float64", *METERS, reuse=True)


def expected_readings(code: tuple[int, ...], world: World) -> Expected:
    """What each meter should read, by the plain network and explicit formulas."""
    weights, (x, y) = named(world.params, code), world.batch
    plain = Plain(code, weights, {})
    plain(x)
    cut = {tap: h for tap, h in plain.layers.items() if tap[1] in CUT}

    def loss(weights: dict[str, jax.Array], shifts: dict[Key, jax.Array]) -> jax.Array:
        return cross_entropy(Plain(code, weights, shifts)(x), y)

    shifts = jax.tree.map(jnp.zeros_like, cut)
    dweights, dlayers = jax.grad(loss, (0, 1))(weights, shifts)
    return {
        LOGITS: {tap: np.asarray(h) for tap, h in cut.items() if tap[1] == "linear"},
        TRACES: {tap: moments(h, centred=True) for tap, h in plain.layers.items()},
        RAW: {tap: moments(h, centred=False) for tap, h in cut.items()},
        SALIENCY: {tap: saliency(h, dlayers[tap]) for tap, h in cut.items()},
        GRADIENT: {
            (name, ""): np.array([np.std(g, ddof=1), np.abs(g).max()])
            for name, g in dweights.items()
        },
    }


def moments(h: jax.Array, *, centred: bool) -> np.ndarray:
    flat = np.asarray(h).reshape(-1, h.shape[-1])
    flat = flat - flat.mean(0) if centred else flat
    second = flat.T @ flat / (len(flat) - centred)
    return np.array([np.trace(second), (second**2).sum(), h.shape[-1]])


def saliency(h: jax.Array, dh: jax.Array) -> np.ndarray:
    return np.array([np.abs(h * dh).sum(), np.square(dh).sum()])


def read(readings: Readings, meter: Meter) -> dict[Key, np.ndarray]:
    """Readings by name and kind of slot, present slots only."""
    rows, present = np.asarray(readings[meter]), np.asarray(readings.present(meter))
    assert (rows[~present] == 0).all()
    slots = [slot for slot, p in zip(readings.slots(meter), present, strict=True) if p]
    kinds = ["" if meter is GRADIENT else slot.kind for slot in slots]
    keys = [(slot.name, kind) for slot, kind in zip(slots, kinds, strict=True)]
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, rows[present], strict=True))


def check(readings: Readings, expected: Expected, rtol: float, atol: float) -> None:
    for meter, values in expected.items():
        given = read(readings, meter)
        assert given.keys() == values.keys()
        for tap, value in values.items():
            message = f"{meter.name} {tap}"
            np.testing.assert_allclose(given[tap], value, rtol, atol, err_msg=message)


@pytest.fixture(scope="module", params=CODES.values(), ids=list(CODES))
def pair(request: pytest.FixtureRequest, double: World) -> tuple[Readings, Expected]:
    """Readings of the network and of the plain one, in float64."""
    with jax.enable_x64(True):
        readings = double.readings(jnp.array(request.param))
        return readings, expected_readings(request.param, double)


@pytest.mark.parametrize("meter", METERS, ids=lambda meter: meter.name.split("(")[0])
def test_readings_are_those_of_the_plain_network(
    pair: tuple[Readings, Expected], meter: Meter
) -> None:
    readings, expected = pair
    assert readings[meter].dtype == np.float64
    # The variance of a constant is a difference of large numbers, not zero.
    check(readings, {meter: expected[meter]}, rtol=1e-8, atol=1e-9)


def test_float32_is_close(double: World) -> None:
    meters = (TRACES, GRADIENT, LOGITS)
    single = make_world("float32", *meters)
    for code in (CODES["random"], CODES["one path"]):
        readings = single.readings(jnp.array(code))
        assert readings[TRACES].dtype == readings[GRADIENT].dtype == np.float32
        with jax.enable_x64(True):
            expected = expected_readings(code, double)
        expected = {meter: expected[meter] for meter in meters}
        check(readings, expected, rtol=1e-3, atol=1e-5)


def test_slots_are_in_the_order_of_the_network(double: World) -> None:
    with jax.enable_x64(True):
        readings = double.readings(jnp.array(CODES["random"]))
    for meter in METERS:
        depths = [slot.depth for slot in readings.slots(meter)]
        assert depths == sorted(set(depths))
    cells = [s.name for s in readings.slots(TRACES) if s.kind in ("cell", "reduction")]
    assert cells == [f"cells.{i}" for i in range(3 * CELLS + 2)]
    names = [slot.name for slot in readings.slots(SALIENCY)]
    assert names[:2] == ["stem.conv", "stem.bn"]
    assert names[-1] == "classifier"


@pytest.mark.parametrize(
    ("code", "forward", "backward"),
    [
        (CODES["all none"], [], []),
        (CODES["all 3x3"], [0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]),
        (CODES["disconnected"], [0, 2], []),
        (CODES["unreachable branches"], [0, 1, 3], [3]),
        (CODES["one path"], [0, 2, 5], [5, 2, 0]),
        ((1, 1, 1, 1, 1, 0), [0, 1, 2, 3, 4], [4, 3, 0]),  # nothing leaves node 2
        ((0, 3, 0, 2, 0, 1), [1, 3, 5], [5, 3, 1]),
    ],
)
def test_plan(code: tuple[int, ...], forward: list[int], backward: list[int]) -> None:
    for plan, edges in (
        (Plan.forward(jnp.array(code)), forward),
        (Plan.backward(jnp.array(code)), backward),
    ):
        assert plan.order[: plan.count].tolist() == edges
        assert sorted(plan.order.tolist()) == list(range(6))


def test_plan_steps_through_the_cells() -> None:
    plan = Plan.forward(jnp.array(CODES["one path"]))
    steps = [tuple(int(n) for n in plan.edge(jnp.array(t))) for t in range(6)]
    assert steps == [(0, 0), (0, 2), (0, 5), (1, 0), (1, 2), (1, 5)]
