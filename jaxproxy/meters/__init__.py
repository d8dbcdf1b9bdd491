"""What can be measured at a tap, one family per file."""

from jaxproxy.measure import Activation, Meter
from jaxproxy.meters._covariance import ACTIVATIONS, covariance, renyi_entropy, spectrum
from jaxproxy.meters._fisher import fisher_spectrum
from jaxproxy.meters._gradient import (
    PARAMETERS,
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
from jaxproxy.meters._pattern import activation_kernel, activation_patterns
from jaxproxy.meters._trainability import trainability

__all__ = [
    "ACTIVATIONS",
    "PARAMETERS",
    "Activation",
    "Meter",
    "accuracies_of_constants",
    "accuracies_of_draws",
    "activation_kernel",
    "activation_patterns",
    "channels",
    "classes",
    "covariance",
    "features",
    "first_gradient",
    "first_slopes",
    "fisher_information",
    "fisher_spectrum",
    "gradient",
    "gradient_agreement",
    "gradient_flow",
    "gradient_norm",
    "gradient_products",
    "gradient_snr",
    "gradient_stability",
    "influence",
    "input_correlation",
    "log_scale",
    "logits",
    "nuclear_saliency",
    "renyi_entropy",
    "saliency",
    "smallest_correlation",
    "spectrum",
    "tangent_kernel",
    "trainability",
    "variance",
    "weight_norm",
    "weight_size",
]
