"""Exact sizes of NAS-Bench-NLP's trained networks, and what a recipe costs."""

import numpy as np

from jaxproxy.spaces._nasbench_nlp import _codes as recipes

_LAYERS = ((400, 600), (600, 600), (600, 400))
"""Inputs and outputs of the recurrent layers of the network that is trained."""
_LINEAR = 1 + recipes.OPS.index("linear")


def _reads(code: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Linear nodes int64[...], and how often these read x and other nodes."""
    ops, inputs, _ = recipes.parts(np.asarray(code))
    linear = ops == _LINEAR
    by_x = linear[..., None] & (inputs == 1)
    by_node = linear[..., None] & (inputs > 1)
    return linear.sum(-1), by_x.sum((-2, -1)), by_node.sum((-2, -1))


def _matrices(code: np.ndarray) -> np.ndarray:
    """Elements int64[...] of the matrices of all layers."""
    _, by_x, by_node = _reads(code)
    return by_x * sum(a * b for a, b in _LAYERS) + by_node * sum(
        b * b for _, b in _LAYERS
    )


def num_params(num_classes: int, code: np.ndarray) -> np.ndarray:
    """Trainable parameters int64[...]; the decoder shares the words' vectors."""
    biases = _reads(code)[0] * sum(b for _, b in _LAYERS)
    return _matrices(code) + biases + num_classes * (_LAYERS[-1][1] + 1)


def num_macs(num_classes: int, code: np.ndarray) -> np.ndarray:
    """Multiply-adds int64[...] of matrices for one word, decoder included."""
    return _matrices(code) + num_classes * _LAYERS[-1][1]


def num_tensors(code: np.ndarray) -> np.ndarray:
    """Named parameter tensors int64[...]."""
    linear, by_x, by_node = _reads(code)
    return len(_LAYERS) * (linear + by_x + by_node) + 2


def cost(codes: np.ndarray) -> np.ndarray:
    """Relative time float64[N]: every place costs, and matrices more."""
    _, by_x, by_node = _reads(codes)
    return 1.0 + 0.1 * (by_x + by_node)
