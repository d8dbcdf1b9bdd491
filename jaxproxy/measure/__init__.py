"""What a network shows in one forward and one backward pass."""

from jaxproxy.measure._activation import Activation
from jaxproxy.measure._adapters import (
    network_from_draws,
    network_from_linen,
    network_from_nnx,
    network_from_tapped,
)
from jaxproxy.measure._batches import make_batch, make_batches
from jaxproxy.measure._collect import collect, collect_batches, collect_pulled
from jaxproxy.measure._flow import scan, switch
from jaxproxy.measure._kinds import ACTIVATIONS, PARAMETERS
from jaxproxy.measure._meter import Meter, MeterSet, as_kinds
from jaxproxy.measure._network import Block, Model, Network
from jaxproxy.measure._passes import (
    BoundPass,
    Pass,
    PassInputs,
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
    check_logits,
    cross_entropy,
)
from jaxproxy.measure._tap import Rows, Slot, Tap, Values

__all__ = [
    "ACTIVATIONS",
    "DEFAULT",
    "INPUTS",
    "LOSSES",
    "NORMS",
    "PARAMETERS",
    "WEIGHTS",
    "Activation",
    "Block",
    "BoundPass",
    "Draws",
    "Layout",
    "Meter",
    "MeterSet",
    "Model",
    "Network",
    "Pass",
    "PassInputs",
    "Readings",
    "Rows",
    "Setup",
    "Slot",
    "Tap",
    "Values",
    "as_kinds",
    "check_logits",
    "collect",
    "collect_batches",
    "collect_pulled",
    "cross_entropy",
    "drawn",
    "join",
    "make_batch",
    "make_batches",
    "make_passes",
    "network_from_draws",
    "network_from_linen",
    "network_from_nnx",
    "network_from_tapped",
    "read_passes",
    "scan",
    "stack",
    "switch",
]
