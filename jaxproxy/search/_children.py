"""How the searches of ZenNAS and AZ-NAS make what they ask for."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxproxy.search._genes import Genes

FOUNDERS = 11
"""How many members a population has before any of them is a parent."""


def check_start(genes: Genes, start: Sequence[int] | None) -> np.ndarray | None:
    """Returns the code int32[G] that a search starts with, if there is one.

    Raises:
      ValueError: it is no code of the genes.
    """
    if start is None:
        return None
    code: Any = np.asarray(start)
    sizes = np.array(genes.choices)
    whole = code.shape == sizes.shape and np.issubdtype(code.dtype, np.integer)
    if not whole or ((code < 0) | (code >= sizes)).any():
        raise ValueError(
            f"start is a code of {len(sizes)} genes below {list(genes.choices)}, "
            f"not {start!r}"
        )
    return code.astype(np.int32)


def make_child(
    genes: Genes, start: np.ndarray | None, changes: int, founders: int = FOUNDERS
) -> Callable[[Array, Array, Array], Array]:
    """Returns (key, parent int32[G], members int32[]) -> code int32[G].

    That is a parent with some changes, one after another, so that a later one may take
    back an earlier. As long as there are fewer members than founders, it is the start
    with one change, or a random code if there is no start.
    """

    def founder(key: Array, _: Array) -> Array:
        if start is None:
            return genes.random(key)
        return genes.mutate(key, jnp.asarray(start))

    def mutant(key: Array, parent: Array) -> Array:
        for now in jax.random.split(key, changes):
            parent = genes.mutate(now, parent)
        return parent

    def child(key: Array, parent: Array, members: Array) -> Array:
        # Not a where: random codes of a constrained space are dear.
        return lax.cond(members < founders, founder, mutant, key, parent)

    return child
