"""Setups, and the batches that they stand for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxproxy.measure import (
    LOSSES,
    WEIGHTS,
    Setup,
    check_logits,
    make_batch,
    make_batches,
)
from jaxproxy.types import Batch, Fidelity

SMALL = Fidelity(width=4, cells=1, batch_size=3, resolution=8)
KEY = jax.random.key(5)
NO_IMAGES = Batch(jnp.zeros((0, 8, 8, 3)), jnp.zeros(0, jnp.int32))


def _make(setup: Setup, images: Batch = NO_IMAGES) -> Batch:
    return make_batches(KEY, setup, SMALL, 10, images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "he"}, "unknown weights 'he'; choose from .*'kaiming'"),
        ({"inputs": "noise"}, "unknown inputs 'noise'; choose from"),
        ({"norm": "eval"}, "unknown norm 'eval'; choose from"),
        ({"loss": "mse"}, "unknown loss 'mse'; choose from"),
        ({"batches": 0}, "at least 1, got 0"),
        ({"batch_size": 0}, "at least 1, got 1 and 0"),
    ],
)
def test_a_wrong_setup_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Setup(**options)


def test_a_label_says_what_is_not_the_default():
    assert Setup().label == ""
    assert Setup(weights="abs", norm="none").label == "@weights=abs,norm=none"


def test_weights_have_the_stated_spread():
    z = jax.random.normal(KEY, (20_000,))
    fan_in, fan_out = 50, 8
    spread = {
        name: float(draw(z, fan_in, fan_out).std()) for name, draw in WEIGHTS.items()
    }
    expected = {
        "kaiming": (2 / 50) ** 0.5,
        "kaiming_out": (2 / 8) ** 0.5,
        "normal": 1,
        "uniform": (1 / 50 / 3) ** 0.5,
        "he_uniform": (2 / 50) ** 0.5,
        # Of |N|: variance 1 - 2 / pi.
        "abs": ((2 / 50) * (1 - 2 / np.pi)) ** 0.5,
    }
    assert spread == pytest.approx(expected, rel=0.02)
    assert float(jnp.abs(WEIGHTS["uniform"](z, fan_in, fan_out)).max()) <= 50**-0.5
    assert (WEIGHTS["abs"](z, fan_in, fan_out) >= 0).all()


def test_the_first_noise_does_not_depend_on_how_many_follow():
    one, three = _make(Setup()), _make(Setup(batches=3))
    alone = make_batch(KEY, SMALL, 10)
    np.testing.assert_array_equal(one.x[0], alone.x)
    np.testing.assert_array_equal(three.x[0], alone.x)
    assert three.x.shape == (3, 3, 8, 8, 3)
    assert not np.allclose(three.x[1], three.x[2])


def test_perturbed_images_move_by_a_hundredth():
    x, y = _make(Setup(inputs="perturbed"))
    noise = (x[1] - x[0]) * 100
    assert x.shape == (2, 3, 8, 8, 3)
    assert float(noise.std()) == pytest.approx(1, abs=0.1)
    np.testing.assert_array_equal(y[0], y[1])


def test_one_image_of_ones():
    x, _ = _make(Setup(inputs="ones"))
    np.testing.assert_array_equal(x, np.ones((1, 1, 8, 8, 3)))


def test_images_one_at_a_time_and_for_every_class():
    x = jnp.arange(7.0)[:, None, None, None] * jnp.ones((7, 8, 8, 3))
    images = Batch(x, jnp.arange(7, dtype=jnp.int32))
    setup = Setup(inputs="images", batch_size=2, single=True, loss="logit")
    batches = _make(setup, images)
    assert batches.x.shape == (2 * 10, 1, 8, 8, 3)
    np.testing.assert_array_equal(batches.x[:, 0, 0, 0, 0], np.repeat([0, 1], 10))
    np.testing.assert_array_equal(batches.y[:, 0], np.tile(np.arange(10), 2))


def test_images_are_taken_in_order():
    x = jnp.arange(7.0)[:, None, None, None] * jnp.ones((7, 8, 8, 3))
    batches = _make(
        Setup(inputs="images", batches=2), Batch(x, jnp.zeros(7, jnp.int32))
    )
    np.testing.assert_array_equal(batches.x[:, :, 0, 0, 0], [[0, 1, 2], [3, 4, 5]])


def test_too_few_images():
    with pytest.raises(
        ValueError, match="2 batches of 3 images are needed, and 0 were"
    ):
        _make(Setup(inputs="images", batches=2))


def test_outputs_that_are_no_logits_are_refused():
    with pytest.raises(
        ValueError, match=r"\[B, K\] are needed, not outputs \[2, 4, 3\]"
    ):
        LOSSES["logit"](jnp.zeros((2, 4, 3)), jnp.zeros(2, int))
    with pytest.raises(ValueError, match=r"\[B\] are needed, not targets \[2, 3\]"):
        check_logits((2, 3), jnp.zeros((2, 3)))
    check_logits((2, 3), jnp.zeros(2, int))
