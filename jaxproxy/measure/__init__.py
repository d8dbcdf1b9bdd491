"""What a network shows in one forward and one backward pass."""

from jaxproxy.measure._activation import Activation, Parameter
from jaxproxy.measure._adapters import (
    network_from_draws,
    network_from_linen,
    network_from_nnx,
    network_from_tapped,
)
from jaxproxy.measure._batches import make_batch, make_batches
from jaxproxy.measure._collect import collect, collect_batches, collect_pulled
from jaxproxy.measure._equal_weights import EqualWeights, EqualWeightsMeter
from jaxproxy.measure._flow import scan, switch
from jaxproxy.measure._kinds import (
    ACTIVATIONS,
    PARAMETERS,
    Layers,
    Params,
    kinds_of,
)
from jaxproxy.measure._meter import (
    ActivationMeter,
    Meter,
    MeterSet,
    ParameterMeter,
    meter,
)
from jaxproxy.measure._network import Block, Model, Network, NetworkMeter
from jaxproxy.measure._passes import (
    BoundEqualWeights,
    BoundPass,
    BoundTaps,
    EqualWeightsPass,
    Pass,
    PassInputs,
    TapPass,
    make_passes,
    read_passes,
)
from jaxproxy.measure._random import Draws, drawn
from jaxproxy.measure._readings import Layout, Readings, join, stack
from jaxproxy.measure._setup import (
    DEFAULT,
    INPUTS,
    LOSSES,
    NORMS,
    WEIGHTS,
    Setup,
    Weights,
    check_logits,
    cross_entropy,
)
from jaxproxy.measure._slot import Rows, Slot, Values
from jaxproxy.measure._tap import Recorder, Tap

__all__ = [
    "ACTIVATIONS",
    "DEFAULT",
    "INPUTS",
    "LOSSES",
    "NORMS",
    "PARAMETERS",
    "WEIGHTS",
    "Activation",
    "ActivationMeter",
    "Block",
    "BoundEqualWeights",
    "BoundPass",
    "BoundTaps",
    "Draws",
    "EqualWeights",
    "EqualWeightsMeter",
    "EqualWeightsPass",
    "Layers",
    "Layout",
    "Meter",
    "MeterSet",
    "Model",
    "Network",
    "NetworkMeter",
    "Parameter",
    "ParameterMeter",
    "Params",
    "Pass",
    "PassInputs",
    "Readings",
    "Recorder",
    "Rows",
    "Setup",
    "Slot",
    "Tap",
    "TapPass",
    "Values",
    "Weights",
    "check_logits",
    "collect",
    "collect_batches",
    "collect_pulled",
    "cross_entropy",
    "drawn",
    "join",
    "kinds_of",
    "make_batch",
    "make_batches",
    "make_passes",
    "meter",
    "network_from_draws",
    "network_from_linen",
    "network_from_nnx",
    "network_from_tapped",
    "read_passes",
    "scan",
    "stack",
    "switch",
]
