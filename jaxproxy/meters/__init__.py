"""What can be measured at a tap, one family per file."""

from jaxproxy.meters._activation import Activation
from jaxproxy.meters._covariance import (
    ACTIVATIONS,
    covariance,
    renyi_entropy,
    spectrum,
)
from jaxproxy.meters._gradient import PARAMETERS, gradient
from jaxproxy.meters._influence import influence
from jaxproxy.meters._meter import Meter, Probe

__all__ = [
    "ACTIVATIONS",
    "PARAMETERS",
    "Activation",
    "Meter",
    "Probe",
    "covariance",
    "gradient",
    "influence",
    "renyi_entropy",
    "spectrum",
]
