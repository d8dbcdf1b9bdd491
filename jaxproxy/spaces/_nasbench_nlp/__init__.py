"""NAS-Bench-NLP: its encoding, its network, exact counts and equal weights."""

from functools import partial

from jaxproxy.options import check_counts
from jaxproxy.spaces._nasbench_nlp import _codes as recipes
from jaxproxy.spaces._nasbench_nlp import _strings as strings
from jaxproxy.spaces._nasbench_nlp._counts import (
    cost,
    num_macs,
    num_params,
    num_tensors,
)
from jaxproxy.spaces._nasbench_nlp._equal_weights import equal_weights
from jaxproxy.spaces._nasbench_nlp._network import draw, loss, network
from jaxproxy.spaces._nasbench_nlp._sampler import sample
from jaxproxy.spaces._nasbench_nlp._valid import valid
from jaxproxy.spaces._records import Constraint, Counts, Isomorphism, Sizes, Task
from jaxproxy.spaces._space import Space
from jaxproxy.spaces._strings import Strings
from jaxproxy.types import Fidelity

__all__ = ["nasbench_nlp"]


def nasbench_nlp(*, num_classes: int = 10_000) -> Space:
    """Returns NAS-Bench-NLP: recurrent cells of up to 24 nodes in a language model.

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
    check_counts(num_classes=num_classes)
    return Space(
        name="nasbench_nlp",
        choices=recipes.CHOICES,
        to_str=recipes.to_str,
        from_str=recipes.from_str,
        strings=Strings(strings.write, strings.read),
        network=partial(network, num_classes=num_classes),
        task=Task(num_classes, partial(draw, num_classes=num_classes), loss, _words),
        counts=Counts(
            params=partial(num_params, num_classes),
            macs=partial(num_macs, num_classes),
            tensors=num_tensors,
        ),
        constraint=Constraint(valid, recipes.problem, sample),
        isomorphism=Isomorphism(recipes.canonical),
        cost=cost,
        graph=recipes.graph,
        equal_weights=partial(equal_weights, num_classes=num_classes),
        sizes=Sizes(_weights, _logits),
        presets={
            "paper": Fidelity(width=600, cells=3, batch_size=20, resolution=72),
            "fast": Fidelity(width=16, cells=3, batch_size=4, resolution=8),
        },
    )


def _words(fidelity: Fidelity) -> int:
    return fidelity.resolution


def _weights(fidelity: Fidelity, outputs: int) -> int:
    """An embedding of every word, and recurrent cells, none smaller than half."""
    return fidelity.width * outputs // 2 + fidelity.cells * fidelity.width**2 // 4


def _logits(fidelity: Fidelity, outputs: int) -> int:
    return fidelity.resolution * max(outputs, fidelity.width // 2)
