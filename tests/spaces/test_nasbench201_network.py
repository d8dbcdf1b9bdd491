"""The network of NAS-Bench-201 against one written plainly, in float64."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references.plain_nasbench201 import moments, show, spread

from jaxproxy.measure import (
    ActivationMeter,
    Meter,
    Readings,
    collect_batches,
)
from jaxproxy.measure._collect import make_scratch
from jaxproxy.meters import covariance, gradient
from jaxproxy.ops import _tiles
from jaxproxy.spaces import Mode, nasbench201
from jaxproxy.spaces._nasbench201._kernel._buffers import DEAD
from jaxproxy.spaces._nasbench201._kernel._steps import Plan, alive_nodes
from jaxproxy.types import Batch, Fidelity

CELLS = 2
FIDELITY = Fidelity(width=4, cells=CELLS, batch_size=4, resolution=8)
NETWORK = nasbench201().network(FIDELITY, Mode())

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
LOGITS = ActivationMeter(("linear",), lambda h: h.value, name="logits")


def _saliency(h: Any) -> jax.Array:
    dh = h.gradient
    return jnp.stack([jnp.abs(h.value * dh).sum(), jnp.square(dh).sum()])


SALIENCY = ActivationMeter(CUT, _saliency, gradient=True, name="saliency")
METERS = (TRACES, RAW, GRADIENT, SALIENCY, LOGITS)


Key = tuple[str, str]  # name and kind of a slot; edges share names over kinds
Expected = dict[Meter, dict[Key, np.ndarray]]


class World(NamedTuple):
    """Parameters with scales and biases that are not one and zero, and a batch."""

    params: Any
    batch: Batch
    readings: Callable[[jax.Array], Readings]


@pytest.fixture(scope="module")
def world() -> World:
    rng = np.random.default_rng(0)

    def moved(leaf: jax.Array) -> jax.Array:
        # A bias makes a convolution of zeros constant instead of zero.
        return leaf + 0.4 * rng.standard_normal(leaf.shape)

    with jax.enable_x64(True):
        params = jax.tree.map(moved, jax.jit(NETWORK.init)(jax.random.key(0)))
        images = jnp.asarray(rng.standard_normal((4, 8, 8, 3)))
        batch = Batch(images, jnp.asarray(rng.integers(0, 10, 4)))

    return World(params, batch, make_readings(params, batch))


def make_readings(
    params: Any, batch: Batch, meters: tuple[Meter, ...] = METERS
) -> Callable[[jax.Array], Readings]:
    @jax.jit
    def readings(code: jax.Array) -> Readings:
        scratch = make_scratch(NETWORK, params, batch, code, meters)
        # What an earlier architecture left there must never be read.
        left = jax.tree.map(lambda buffer: jnp.full_like(buffer, jnp.nan), scratch)
        batches = jax.tree.map(lambda leaf: leaf[None], batch)
        return collect_batches(NETWORK, params, batches, code, meters, left)[0]

    return readings


def expected_readings(code: tuple[int, ...], world: World) -> Expected:
    """What each meter should read, by the plain network and explicit formulas."""
    shown = show(code, world.params, world.batch, cells=CELLS)
    layers = shown.layers
    cut = {tap: h for tap, h in layers.items() if tap[1] in CUT}
    return {
        LOGITS: {tap: np.asarray(h) for tap, h in cut.items() if tap[1] == "linear"},
        TRACES: {tap: moments(h, centred=True) for tap, h in layers.items()},
        RAW: {tap: moments(h, centred=False) for tap, h in cut.items()},
        SALIENCY: {tap: saliency(h, shown.dlayers[tap]) for tap, h in cut.items()},
        GRADIENT: {(name, ""): spread(g) for name, g in shown.dweights.items()},
    }


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


@pytest.fixture(scope="module", params=CODES.values(), ids=list(CODES))
def pair(request: pytest.FixtureRequest, world: World) -> tuple[Readings, Expected]:
    """Readings of the network and of the plain one, in float64."""
    with jax.enable_x64(True):
        readings = world.readings(jnp.array(request.param))
        return readings, expected_readings(request.param, world)


@pytest.mark.parametrize("meter", METERS, ids=lambda meter: meter.name.split("(")[0])
def test_readings_are_those_of_the_plain_network(
    pair: tuple[Readings, Expected], meter: Meter
) -> None:
    readings, expected = pair
    assert readings[meter].dtype == np.float64
    given = read(readings, meter)
    assert given.keys() == expected[meter].keys()
    for tap, value in expected[meter].items():
        # The variance of a constant is a difference of large numbers, not zero.
        np.testing.assert_allclose(given[tap], value, 1e-8, 1e-9, err_msg=str(tap))


@pytest.mark.parametrize(
    "meters",
    [METERS, (TRACES, RAW, GRADIENT), (TRACES, RAW)],
    ids=["all", "no cotangents", "forward"],
)
def test_tiles_read_what_the_whole_batch_reads(
    world: World, meters: tuple[Meter, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tiles, "_TILE", 512)  # of 2 images, and 4 in later stages
    monkeypatch.setattr(_tiles, "_LARGE", 0)
    tiled = make_readings(world.params, world.batch, meters)
    for name in ("all 3x3", "convolutions of zeros", "random", "random too"):
        with jax.enable_x64(True):
            code = jnp.array(CODES[name])
            ours, reference = tiled(code), world.readings(code)
        for meter in meters:
            np.testing.assert_allclose(ours[meter], reference[meter], 1e-8, 1e-9)


def test_slots_are_in_the_order_of_the_network(world: World) -> None:
    with jax.enable_x64(True):
        readings = world.readings(jnp.array(CODES["random"]))
    for meter in METERS:
        depths = [slot.depth for slot in readings.slots(meter)]
        assert depths == sorted(set(depths))
    cells = [s.name for s in readings.slots(TRACES) if s.kind in ("cell", "reduction")]
    assert cells == [f"cells.{i}" for i in range(3 * CELLS + 2)]
    names = [slot.name for slot in readings.slots(SALIENCY)]
    assert names[:2] == ["stem.conv", "stem.bn"]
    assert names[-1] == "classifier"


def _steps(plan: Plan, field: str) -> list[int]:
    steps = [plan.step(jnp.uint32(t)) for t in range(int(plan.length))]
    return [int(getattr(step, field)) for step in steps]


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
    alive = alive_nodes(jnp.array(code), jnp.zeros((6, 1)))
    for make, edges in ((Plan.forward, forward), (Plan.backward, backward)):
        plan = make(jnp.array(code), alive)
        assert _steps(plan, "edge") == edges


def test_plan_steps_through_the_cells() -> None:
    code = jnp.array(CODES["one path"])
    alive = alive_nodes(code, jnp.zeros((12, 1)))
    assert alive.tolist() == [True, True, True, True, True, True, True]
    forward, backward = Plan.forward(code, alive), Plan.backward(code, alive)
    assert _steps(forward, "edge") == [0, 2, 5, 6, 8, 11]
    assert _steps(forward, "source") == [0, 1, 2, 3, 4, 5]
    assert _steps(forward, "target") == [1, 2, 3, 4, 5, 6]
    assert _steps(backward, "edge") == [11, 8, 6, 5, 2, 0]


def test_a_bias_brings_zeros_to_life() -> None:
    """No edge leaves node 0; the second cell has a bias on edge 1 -> 2, a 3x3."""
    code = jnp.array([0, 0, 3, 0, 0, 1])
    bias = jnp.zeros((12, 2)).at[8, 1].set(0.5)
    alive = alive_nodes(code, bias)
    assert alive.tolist() == [True, *[False] * 4, True, True]
    plan = Plan.forward(code, alive)
    assert _steps(plan, "branch") == [DEAD, DEAD, DEAD, 0]
