"""How many of a model's weight matrices a score counts."""

from typing import NamedTuple

from jaxproxy.measure import NetworkMeter
from jaxproxy.proxies import Proxy
from jaxproxy.spaces import Anatomy

_OF_LAYERS = {"conv": "conv_w", "linear": "linear_w", "attention": "attention_w"}
"""Kind of an activation -> kind of the matrix that it is the product of."""


class Coverage(NamedTuple):
    """How many of a model's weight matrices a score counts."""

    counted: int
    matrices: int
    missed: tuple[str, ...]
    """Names of those that it does not count."""

    def __str__(self) -> str:
        """Returns it in words: ``1 of 16 matrices``."""
        return f"{self.counted} of {self.matrices} matrices"


def coverage(proxy: Proxy, found: Anatomy) -> Coverage | None:
    """Returns how many matrices a proxy counts, or None if it counts none one by one.

    A meter of tensors counts those of its kinds, a meter of layers the weights of the
    layers whose outputs it reads, and one that differentiates or runs the network as a
    whole counts all. Rectifiers, normalisations, inputs and logits are of no matrix.
    A proxy of several meters counts what each of them does.

    Args:
      proxy: any.
      found: what is known of the model.
    """
    kinds = [k for k in map(_kinds, proxy.meters) if k is not None]
    if not kinds or not found.matrices:
        return None
    counted = frozenset.intersection(*kinds)
    pairs = list(zip(found.matrices, found.matrix_kinds, strict=True))
    missed = tuple(name for name, kind in pairs if kind not in counted)
    return Coverage(len(pairs) - len(missed), len(pairs), missed)


_ALL = frozenset((*_OF_LAYERS.values(), "other_w", "bn_w", "ln_w"))


def _kinds(meter: object) -> frozenset[str] | None:
    """Returns the kinds of matrices that a meter counts, None if it reads none."""
    if isinstance(meter, NetworkMeter):
        return _ALL
    read = getattr(meter, "kinds", ())
    kinds = {_OF_LAYERS.get(kind, kind) for kind in read}
    return frozenset(kinds) & _ALL or None
