"""What can be measured at a tap, one family per file.

The imports of this file are the list: a factory that is imported here can be had by
name, and is in :data:`METERS`.
"""

# ruff: noqa: F401

from collections.abc import Callable

from jaxproxy.measure import (
    ACTIVATIONS,
    PARAMETERS,
    Activation,
    ActivationMeter,
    Layers,
    Meter,
    Model,
    NetworkMeter,
    Parameter,
    ParameterMeter,
    Params,
    Readings,
    Setup,
    meter,
)
from jaxproxy.meters._covariance import covariance, renyi_entropy, spectrum
from jaxproxy.meters._equal_weights import equal_weights_outputs
from jaxproxy.meters._fisher import fisher_spectrum
from jaxproxy.meters._gradient import (
    first_gradient,
    first_slopes,
    gradient,
    gradient_agreement,
    gradient_norm,
    gradient_products,
    gradient_snr,
    gradient_stability,
    nuclear_saliency,
    saliency,
    weight_norm,
    weight_size,
)
from jaxproxy.meters._layer import (
    channels,
    features,
    fisher_information,
    influence,
    input_correlation,
    log_scale,
    logits,
    smallest_correlation,
    variance,
)
from jaxproxy.meters._network import (
    accuracies_of_constants,
    accuracies_of_draws,
    classes,
    gradient_flow,
    tangent_kernel,
)
from jaxproxy.meters._pattern import (
    activation_kernel,
    activation_patterns,
    pattern_hashes,
)
from jaxproxy.meters._trainability import trainability

METERS: dict[str, Callable[..., Meter]] = {
    name: value
    for name, value in [*globals().items()]
    if hasattr(value, "__wrapped__") and name[0] != "_"
}
"""Every factory of meters by name."""

__all__ = [
    "ACTIVATIONS",
    "METERS",
    "PARAMETERS",
    "Activation",
    "ActivationMeter",
    "Layers",
    "Meter",
    "Model",
    "NetworkMeter",
    "Parameter",
    "ParameterMeter",
    "Params",
    "Readings",
    "Setup",
    "meter",
    *METERS,
]
