"""A scorer of NAS-Bench-201: against the plain network, in any order, with epsinas."""

import jax
import numpy as np
import pytest
from helpers.blocks import assert_same, rows
from references.plain_nasbench201 import moments, show, spread

from jaxproxy.measure import make_batch
from jaxproxy.scoring import Scorer, make_scorer
from jaxproxy.spaces import Mode, nasbench201
from jaxproxy.types import Batch, Fidelity

pytestmark = pytest.mark.usefixtures("optimised")

TINY = Fidelity(width=4, cells=1, batch_size=4, resolution=8)
NB201 = nasbench201()
NB201_CODES = np.array(
    [
        [3, 2, 1, 4, 0, 3],
        [0, 0, 3, 1, 2, 3],  # convolutions of zeros
        [3, 3, 3, 3, 3, 3],
        [0, 0, 0, 0, 0, 0],
        [2, 1, 0, 4, 3, 2],
        [3, 2, 0, 1, 0, 0],  # unreachable branches
    ],
    np.int32,
)
EPSINAS = "epsinas(mode=stable)"


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((4, 8, 8, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def nb201(images: np.ndarray) -> Scorer:
    """NAS-Bench-201 on two devices, four architectures each."""
    return make_scorer(
        NB201,
        ["intrain", EPSINAS, "params"],
        fidelity=TINY,
        images=images,
        devices=2,
        block_size=8,
    )


@pytest.mark.parametrize("row", [0, 4])
def test_readings_are_those_of_a_plain_network(nb201: Scorer, row: int) -> None:
    """In float32, from the seed on; ``test_nasbench201_network`` does the details."""
    given = nb201.score_block(NB201_CODES)
    weight_key, batch_key = jax.random.split(jax.random.key(0))
    params = jax.jit(NB201.network(TINY, Mode()).init)(weight_key)
    x, y = make_batch(batch_key, TINY, NB201.task.num_outputs)
    with jax.enable_x64(True):
        params, x = jax.tree.map(lambda a: a.astype(float), (params, x))
        shown = show(NB201_CODES[row], params, Batch(x, y), cells=TINY.cells)
    covariances = {
        name: moments(h, centred=True)
        for (name, kind), h in shown.layers.items()
        if kind == "conv"
    }
    spreads = {name: spread(g) for name, g in shown.dweights.items()}
    measured = nb201.meters[:2]
    for meter, expected in zip(measured, (covariances, spreads), strict=True):
        slots = np.array(nb201.slots[meter.name])[given.present[meter.name][row]]
        values = given.readings[meter.name][row, 0][given.present[meter.name][row]]
        assert set(slots) <= set(expected)
        assert len(slots) == sum("bn" not in n and "bias" not in n for n in expected)
        for slot, value in zip(slots, values, strict=True):
            np.testing.assert_allclose(value, expected[slot], 1e-3, err_msg=slot)


def test_order_does_not_matter_where_buffers_are_used_again(nb201: Scorer) -> None:
    given = nb201.score_block(NB201_CODES)
    assert np.isfinite(given.scores["intrain"]).all()
    assert (np.diff(np.sort(given.scores["intrain"][:, 0])) > 1e-3).all()
    # Each architecture now finds what another one left, on the other device.
    for order in (np.arange(6)[::-1], np.array([3]), np.array([1, 4])):
        assert_same(nb201.score_block(NB201_CODES[order]), rows(given, order))
    assert list(nb201.counts(NB201_CODES)) == ["params"]


def test_float64_programs_next_to_float32_ones(
    nb201: Scorer, images: np.ndarray
) -> None:
    expected = nb201.score_block(NB201_CODES).scores[EPSINAS]
    np.testing.assert_array_equal(np.isnan(expected[:, 0]), np.arange(6) == 3)
    alone = make_scorer(
        NB201, [EPSINAS], fidelity=TINY, images=images, devices=1, block_size=6
    )
    np.testing.assert_allclose(
        alone.score_block(NB201_CODES).scores[EPSINAS], expected, rtol=1e-12
    )
    assert list(alone.slots.values()) == [["network"]]
    assert not any(meter.keep for meter in alone.meters)
