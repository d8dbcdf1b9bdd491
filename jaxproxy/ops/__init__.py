"""Convolution, pooling and normalisation whose gradients stay fast inside loops.

Arrays are NHWC, kernels HWIO, strides and dilations are equal in both directions.
"""

from jaxproxy.ops._conv import conv, conv_gradients, conv_transpose
from jaxproxy.ops._linalg import eigenvalues, log_determinant, singular_values
from jaxproxy.ops._norm import batch_norm, channel_sum, gram_moments, gram_sums, moments
from jaxproxy.ops._platform import LANES, by_platform, in_lanes
from jaxproxy.ops._pool import avg_pool, max_pool
from jaxproxy.ops._product import channel_product
from jaxproxy.ops._tiles import Tiling, is_large

__all__ = [
    "LANES",
    "Tiling",
    "avg_pool",
    "batch_norm",
    "by_platform",
    "channel_product",
    "channel_sum",
    "conv",
    "conv_gradients",
    "conv_transpose",
    "eigenvalues",
    "gram_moments",
    "gram_sums",
    "in_lanes",
    "is_large",
    "log_determinant",
    "max_pool",
    "moments",
    "singular_values",
]
