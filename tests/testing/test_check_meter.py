"""What a meter must keep to, and how it is told when it does not."""

import dataclasses

import jax.numpy as jnp
import pytest
from helpers.toy_space import toy

from jaxproxy.meters import (
    Activation,
    ActivationMeter,
    Meter,
    ParameterMeter,
    covariance,
    fisher_information,
    gradient,
    gradient_flow,
    meter,
    weight_norm,
)
from jaxproxy.testing import check_meter


@pytest.mark.parametrize(
    "sound",
    [
        covariance("linear"),
        covariance("cell", rows="images"),
        fisher_information(),
        gradient(),
        weight_norm(),
        gradient_flow(),
    ],
    ids=lambda sound: sound.name,
)
def test_meters_of_the_library_are_sound(sound: Meter) -> None:
    check_meter(sound, toy())


@meter
def mean_square(*, power: int = 2) -> ActivationMeter:
    """Mean of powers of a linear layer's outputs, float[]."""

    def measure(activation: Activation) -> jnp.ndarray:
        total = (activation.value**power).sum()
        number = activation.samples * activation.size
        return total / jnp.asarray(number, total.dtype)

    return ActivationMeter(("linear",), measure)


def test_a_meter_of_ones_own_is_named_by_its_call() -> None:
    assert mean_square().name == "mean_square"
    assert mean_square(power=4).name == "mean_square(power=4)"
    check_meter(mean_square(power=4), toy())


SOUND = mean_square()


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (dataclasses.replace(SOUND, name=""), "has no name"),
        (
            dataclasses.replace(SOUND, measure=lambda a: jnp.square(a.value).mean()),
            "mean_square does not see channels that do not exist",
        ),
        (
            dataclasses.replace(SOUND, measure=lambda a: (a.value > 0).sum()),
            "gives one array of floats",
        ),
        (
            dataclasses.replace(
                SOUND, gradient=True, measure=lambda a: 1 + a.gradient.sum()
            ),
            "is zero where gradients are",
        ),
        (
            ParameterMeter(("linear_w",), lambda p: p.weight.mean(), name="mean"),
            "mean does not see channels that do not exist",
        ),
        (dataclasses.replace(SOUND, kinds=("convs",)), "has none of them"),
        (
            dataclasses.replace(SOUND, measure=lambda a: jnp.nan * a.value.sum()),
            "is finite where its taps are",
        ),
    ],
)
def test_a_broken_meter_is_refused(broken: Meter, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_meter(broken, toy())
