"""NAS-Bench-NLP put together: encoding, network, counts and collapsed form."""

from functools import partial

import numpy as np

from jaxproxy.spaces._nasbench_nlp import _codes as recipes
from jaxproxy.spaces._nasbench_nlp._equal_weights import collapsed
from jaxproxy.spaces._nasbench_nlp._network import draw, loss, network
from jaxproxy.spaces._nasbench_nlp._sampler import sample
from jaxproxy.spaces._space import Space
from jaxproxy.types import Fidelity

__all__ = ["nasbench_nlp"]

_LAYERS = ((400, 600), (600, 600), (600, 400))
"""Inputs and outputs of the recurrent layers of the network that is trained."""
_LINEAR = 1 + recipes.OPS.index("linear")


def nasbench_nlp(*, num_classes: int = 10_000) -> Space:
    """NAS-Bench-NLP: recurrent cells of up to 24 nodes in a language model.

    Its inputs are words, so proxies of images do not run on it. epsinas wants
    ``weights=1e-5:1e-3`` and draws its own text. States that a recipe multiplies by
    each other may grow beyond all bounds: such a cell has no finite score.

    Args:
      num_classes: words of the vocabulary: 10,000 of Penn Treebank, 33,278 of
        WikiText-2.

    Raises:
      ValueError: no word.

    References:
      Klyuchnikov et al., "NAS-Bench-NLP", IEEE Access 2022, arXiv:2006.07116.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes must be positive, not {num_classes}")
    return Space(
        name="nasbench_nlp",
        choices=recipes.CHOICES,
        num_classes=num_classes,
        to_str=recipes.to_str,
        from_str=recipes.from_str,
        canonical=recipes.canonical,
        num_params=partial(_num_params, num_classes),
        num_macs=partial(_num_macs, num_classes),
        num_tensors=_num_tensors,
        network=partial(network, num_classes=num_classes),
        cost=_cost,
        presets={
            "paper": Fidelity(width=600, cells=3, batch_size=20, resolution=72),
            "fast": Fidelity(width=16, cells=3, batch_size=4, resolution=8),
        },
        draw=partial(draw, num_classes=num_classes),
        loss=loss,
        valid=recipes.valid,
        explain=recipes.problem,
        sampler=sample,
        graph=recipes.graph,
        collapsed=partial(collapsed, num_classes=num_classes),
    )


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


def _num_params(num_classes: int, code: np.ndarray) -> np.ndarray:
    """Trainable parameters int64[...]; the decoder shares the words' vectors."""
    biases = _reads(code)[0] * sum(b for _, b in _LAYERS)
    return _matrices(code) + biases + num_classes * (_LAYERS[-1][1] + 1)


def _num_macs(num_classes: int, code: np.ndarray) -> np.ndarray:
    """Multiply-adds int64[...] of matrices for one word, decoder included."""
    return _matrices(code) + num_classes * _LAYERS[-1][1]


def _num_tensors(code: np.ndarray) -> np.ndarray:
    """Named parameter tensors int64[...]."""
    linear, by_x, by_node = _reads(code)
    return len(_LAYERS) * (linear + by_x + by_node) + 2


def _cost(codes: np.ndarray) -> np.ndarray:
    """Relative time float64[N]: every place costs, and matrices more."""
    _, by_x, by_node = _reads(codes)
    return 1.0 + 0.1 * (by_x + by_node)
