"""Architectures side by side: scores are those of one after another."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.compiled import group_counts, num_steps
from helpers.every import spaces
from helpers.toy_space import toy
from jax import lax

from jaxproxy.measure import ActivationMeter, Readings, Slot, make_passes, read_passes
from jaxproxy.ops import LANES
from jaxproxy.proxies import Proxy, parse_proxy
from jaxproxy.scoring import Scorer, bind_pass, make_scorer, score, sweep
from jaxproxy.scoring._inputs import SeededInputs
from jaxproxy.scoring._lanes import largest_that_fits, make_lanes, over_lanes
from jaxproxy.spaces import SPACES, Space
from jaxproxy.types import Batch, Fidelity

SIZES = {
    "autoformer": Fidelity(width=2, cells=1, batch_size=2, resolution=16),
    "mobilenetv2": Fidelity(width=2, cells=1, batch_size=2, resolution=32),
    "nasbench101": Fidelity(width=4, cells=1, batch_size=2, resolution=8),
    "nasbench_macro": Fidelity(width=2, cells=1, batch_size=2, resolution=8),
    "nasbench_nlp": Fidelity(width=2, cells=1, batch_size=2, resolution=3),
    "natsbench_sss": Fidelity(width=2, cells=1, batch_size=2, resolution=8),
    "transnasbench101_micro": Fidelity(width=2, cells=1, batch_size=2, resolution=16),
}
SIZE = Fidelity(width=2, cells=1, batch_size=2, resolution=8)
READ = spaces(["nasbench201", "nasbench_nlp"], SPACES)
LOWERED = spaces(["nasbench201", "natsbench_sss", "mobilenetv2"], SPACES)


def _space(name: str) -> tuple[Space, Fidelity]:
    return SPACES[name](), SIZES.get(name, SIZE)


def _codes(space: Space, num: int) -> np.ndarray:
    return space.sample(np.random.default_rng(0), num)


@pytest.mark.parametrize("name", READ)
def test_readings_are_those_of_one_architecture(name: str) -> None:
    """In float64, where no rectifier switches over for another order of a sum."""
    space, fidelity = _space(name)
    meters = parse_proxy("grad_norm").meters
    grey = Batch(jnp.zeros((1, 8, 8, 3)), jnp.zeros(1, jnp.int32))
    layouts = []
    with jax.enable_x64(True):
        bound = [bind_pass(space, fidelity, one) for one in make_passes(meters)]
        draws = SeededInputs(bound, space.task, fidelity, grey, None)
        inputs = jax.tree.map(_double, draws.of(0))

        def read(inputs: Any, code: jax.Array) -> Any:
            readings = read_passes(bound, inputs, code)[0]
            # Depths are those of taps that were passed, none of them in a kernel.
            slots = [[s._replace(depth=0) for s in row] for row in _rows(readings)]
            layouts.append(slots)
            return readings.values, readings.mask

        @partial(jax.jit, static_argnums=2)
        def both(inputs: Any, codes: jax.Array, lanes: int) -> Any:
            one = partial(read, inputs)
            return over_lanes(one, codes, lanes) if lanes > 1 else lax.map(one, codes)

        codes = jnp.asarray(_codes(space, 3))
        single, lanes = both(inputs, codes, 1), both(inputs, codes, 2)
    assert layouts[0] == layouts[-1] and layouts[0]
    jax.tree.map(np.testing.assert_array_equal, lanes[1], single[1])
    for meter, values in single[0].items():
        assert values.dtype == np.float64
        size = float(np.abs(values).max())
        np.testing.assert_allclose(lanes[0][meter], values, 1e-10, 1e-10 * size, meter)


def _rows(readings: Readings) -> list[tuple[Slot, ...]]:
    return [readings.layout.slots[name] for name in readings.values]


def _double(leaf: jax.Array) -> jax.Array:
    floating = jnp.issubdtype(leaf.dtype, jnp.floating)
    return leaf.astype(jnp.float64) if floating else leaf


@pytest.mark.parametrize("name", LOWERED)
def test_no_convolution_has_a_group_for_each_architecture(name: str) -> None:
    """Seven is no number of channels or groups of an architecture."""
    space, fidelity = _space(name)
    options = {"fidelity": fidelity, "devices": 1, "block_size": 7, "lanes": 7}
    proxy = "capacity" if name == "natsbench_sss" else "grad_norm"  # in half the time
    scorer = make_scorer(space, [proxy], **options)
    groups = group_counts(scorer.lower()[0].as_text())
    assert not [number for number in groups if number % 7 == 0]


PROXIES = ("capacity", "intrain", "naswot", "snip")


def _alive() -> Proxy:
    """How many values are above zero, by which a rectifier that switches is seen."""
    above = ActivationMeter(
        ("relu",), lambda h: (h.value > 0).sum().astype(jnp.float32), name="above"
    )
    return Proxy(
        "alive", meters=(above,), score=lambda r: r[above].sum(), reference="none"
    )


@pytest.fixture(scope="module")
def scorers() -> dict[int, Scorer]:
    """By lanes, on NAS-Bench-201."""
    space, fidelity = _space("nasbench201")
    options = {"fidelity": fidelity, "devices": 1, "block_size": 8}
    proxies = [*PROXIES, _alive()]
    return {
        lanes: make_scorer(space, proxies, **options, lanes=lanes)
        for lanes in (1, 4, 32)
    }


@pytest.mark.parametrize("lanes", [4, 32])
def test_scores_agree(scorers: dict[int, Scorer], lanes: int) -> None:
    codes = _codes(scorers[1].space, 8)
    one, many = (scorers[number].score_block(codes) for number in (1, lanes))
    assert scorers[lanes].num_traces == scorers[1].num_traces == 1
    assert scorers[lanes].block_size == max(8, lanes)
    same = (one.readings["above"] == many.readings["above"]).all((1, 2))
    assert same.sum() > 4
    for name, values in one.scores.items():
        np.testing.assert_allclose(many.scores[name][same], values[same], 1e-5)
        np.testing.assert_array_equal(many.valid[name], one.valid[name])
    assert {k: v.shape for k, v in many.readings.items()} == (
        {k: v.shape for k, v in one.readings.items()}
    )


def test_neighbours_order_and_padding_change_no_bit(
    scorers: dict[int, Scorer],
) -> None:
    scorer, codes = scorers[4], _codes(scorers[4].space, 16)
    first = scorer.score_block(codes[:8])
    others = scorer.score_block(codes[[9, 3, 12, 0, 15, 5, 14, 1]])
    alone = scorer.score_block(codes[[3]])
    for name, values in first.scores.items():
        rows = others.scores[name][[1, 3, 5, 7]]
        np.testing.assert_array_equal(rows, values[[3, 0, 5, 1]])
        np.testing.assert_array_equal(alone.scores[name], values[[3]])


def test_the_last_group_is_filled_up() -> None:
    codes = jnp.arange(20).reshape(10, 2)
    seen: list[int] = []

    def add(code: jax.Array) -> dict[str, jax.Array]:
        seen.append(lax.axis_size(LANES))
        return {"sum": code.sum(), "code": code, "one": jnp.ones(())}

    results = over_lanes(add, codes, 4)
    np.testing.assert_array_equal(results["sum"], np.arange(1, 41, 4))
    np.testing.assert_array_equal(results["code"], codes)
    assert results["one"].shape == (10,)
    assert seen == [4]


def test_a_step_of_64_lanes_is_far_less_than_64_steps() -> None:
    space, fidelity = _space("nasbench201")
    steps = {}
    for lanes in (1, 64):
        options = {"devices": 1, "block_size": 64, "lanes": lanes}
        scorer = make_scorer(space, ["intrain"], fidelity=fidelity, **options)
        # Without lanes, a stage of one cell is a loop over edges that are not none.
        live = 6 * 4 / 5
        steps[lanes] = num_steps(scorer.lower()[0].compile().as_text(), live)
    assert steps[1] > 20 * steps[64] > 0


def test_auto_is_one_on_cpu() -> None:
    scorer = make_scorer(toy(), ["grad_norm"], lanes="auto", devices=2)
    assert scorer.lanes == 1


class _Device(SimpleNamespace):
    def memory_stats(self) -> dict[str, int] | None:
        return self.stats


def test_auto_takes_a_share_of_the_smallest_memory() -> None:
    devices: Any = [
        _Device(platform="gpu", stats={"bytes_limit": size}) for size in (1000, 900)
    ]
    assert make_lanes("auto", None, devices) == (None, 720)
    assert make_lanes("auto", 500, devices) == (None, 400)
    assert make_lanes(8, None, devices) == (8, 0)
    silent: Any = [_Device(platform="tpu", stats=None)]
    with pytest.raises(ValueError, match="lanes='auto' needs to know the memory of"):
        make_lanes("auto", None, silent)


@pytest.mark.parametrize(
    ("memory", "most", "lanes", "tried"),
    [
        (1000, 100, 64, [64]),
        (250, 100, 16, [64, 16]),  # 10 lanes in proportion, but half is 32
        (250, 3, 2, [2]),
        (110, 100, 1, [64, 8, 4, 2, 1]),
        (120, 1, 1, [1]),
    ],
)
def test_auto_is_the_largest_power_of_two_that_fits(
    memory: int, most: int, lanes: int, tried: list[int]
) -> None:
    """Of programs of 100 bytes, and 8 for each lane."""
    compiled: list[int] = []

    def compile_lanes(number: int) -> Any:
        compiled.append(number)
        parts = ("argument", "output", "temp", "generated_code", "alias")
        sizes = dict.fromkeys([f"{part}_size_in_bytes" for part in parts], 0)
        sizes |= {
            "temp_size_in_bytes": 90 + 8 * number,
            "argument_size_in_bytes": 15,
            "alias_size_in_bytes": 5,
        }
        stats = SimpleNamespace(**sizes)
        return SimpleNamespace(memory_analysis=lambda: stats)

    assert largest_that_fits(compile_lanes, most, memory)[0] == lanes
    assert compiled == tried


def test_auto_says_what_does_not_fit() -> None:
    def compile_lanes(number: int) -> Any:
        return jax.jit(jnp.sin).lower(jnp.ones(number * 100)).compile()

    with pytest.raises(ValueError, match=r"one architecture needs .* bytes"):
        largest_that_fits(compile_lanes, 4, 100)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lanes": 0}, "lanes must be an int from 1 on or 'auto', not 0"),
        ({"lanes": 2.0}, "lanes must be .*, not 2.0"),
        ({"lanes": True}, "lanes must be .*, not True"),
        ({"lanes": "all"}, "lanes must be .*, not 'all'"),
        ({"memory": 0}, "memory is a number of bytes, at least 1, not 0"),
    ],
)
def test_wrong_lanes_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_scorer(toy(), ["grad_norm"], **options)


def test_unknown_options_are_refused() -> None:
    options: dict[str, Any] = {"lane": 4}
    with pytest.raises(TypeError, match="lane"):
        make_scorer(toy(), ["grad_norm"], **options)


def test_a_run_goes_on_with_other_lanes(tmp_path: Any) -> None:
    codes = _codes(toy(), 12)
    proxies = ["grad_norm", "snip"]

    def scorer(lanes: int) -> Scorer:
        return make_scorer(toy(), proxies, devices=1, block_size=4, lanes=lanes)

    options: dict[str, Any] = {"part_size": 4, "progress": False}
    run = sweep(scorer(1), codes, tmp_path, **options)
    before = run.scores().to_pydict()
    (tmp_path / "part-000001.parquet").unlink()
    run = sweep(scorer(3), codes, tmp_path, **options)
    assert run.manifest["environment"]["lanes"] == 1
    assert "lanes" not in str(run.manifest["scorer"])
    for name in proxies:
        np.testing.assert_allclose(run.scores()[name], before[name], 1e-5)


def test_score_takes_lanes() -> None:
    codes = _codes(toy(), 5)
    one, four = (score(toy(), codes, ["l2_norm"], lanes=n)["l2_norm"] for n in (1, 4))
    np.testing.assert_allclose(one, four, 1e-6)
