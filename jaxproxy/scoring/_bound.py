"""Passes with the networks of a space."""

from jaxproxy.measure import (
    BoundEqualWeights,
    BoundPass,
    BoundTaps,
    EqualWeightsMeter,
    EqualWeightsPass,
    Pass,
)
from jaxproxy.spaces import Mode, Space
from jaxproxy.types import Fidelity


def bind_pass(space: Space, fidelity: Fidelity, spec: Pass) -> BoundPass:
    """Returns a pass with the networks of a space.

    Raises:
      ValueError: the space has no network for the setup.
    """
    if isinstance(spec, EqualWeightsPass):
        meters = [m for m in spec.meters if isinstance(m, EqualWeightsMeter)]
        return BoundEqualWeights(
            spec,
            tuple(
                space.make_equal_weights(fidelity, underflow=meter.underflow)
                for meter in meters
            ),
        )
    setup, loss = spec.setup, space.task.loss
    mode = Mode(setup.weights, setup.norm)
    network = plain = space.make_network(fidelity, mode)
    if any(meter.plain for meter in spec.whole):
        plain = space.make_network(fidelity, mode._replace(plain=True))
    return BoundTaps(spec, network, plain, loss)
