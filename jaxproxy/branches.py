"""A switch whose backward pass is as small as its branches, for :mod:`~jaxproxy.flow`.

Branches that differ in shapes have nothing to share: what each returns for the others,
and what JAX keeps of each for the backward pass, is code and memory for all pairs.
"""

import itertools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from jaxproxy.types import Array

__all__ = ["Packing", "choose"]


class Packing:
    """Trees of arrays side by side in one flat array of each type.

    A branch has to return what all branches measure, and be given what they are given:
    as arrays of their own, those would be as many as branches times slots, and each of
    them is code to compile.
    """

    def __init__(self, trees: dict[Any, Any]) -> None:
        """Places for trees of arrays, or of shapes, by key."""
        self._treedefs = {key: jax.tree.structure(tree) for key, tree in trees.items()}
        self.places: dict[Any, list[tuple[str, int, tuple[int, ...]]]] = {}
        self._sizes: dict[str, int] = {}
        for key, tree in trees.items():
            self.places[key] = []
            for leaf in jax.tree.leaves(tree):
                name, start = str(leaf.dtype), self._sizes.get(str(leaf.dtype), 0)
                self.places[key].append((name, start, leaf.shape))
                self._sizes[name] = start + math.prod(leaf.shape)

    def pack(self, trees: dict[Any, Any]) -> dict[str, Array]:
        """Flat arrays of the trees there are, and zeros in the places of others."""
        pieces: dict[str, list[Array]] = {name: [] for name in self._sizes}
        ends = dict.fromkeys(self._sizes, 0)

        def fill(name: str, start: int) -> None:
            if start > ends[name]:
                pieces[name].append(jnp.zeros(start - ends[name], name))

        for key in filter(trees.__contains__, self.places):
            leaves = jax.tree.leaves(trees[key])
            for (name, start, _), leaf in zip(self.places[key], leaves, strict=True):
                fill(name, start)
                pieces[name].append(leaf.reshape(-1))
                ends[name] = start + leaf.size
        for name, size in self._sizes.items():
            fill(name, size)
        return {name: jnp.concatenate(parts) for name, parts in pieces.items()}

    def unpack(self, flat: dict[str, Array], key: Any) -> Any:
        """The tree of a key."""
        leaves = [
            flat[name][start : start + math.prod(shape)].reshape(shape)
            for name, start, shape in self.places[key]
        ]
        return jax.tree.unflatten(self._treedefs[key], leaves)


def choose(index: Array, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """As ``lax.switch``, but the backward pass keeps what went in and nothing else.

    JAX's own keeps what any of the branches would need, and each branch has to fill the
    others' share with zeros: memory, and code to compile, for all pairs of branches.
    """
    traced = [jax.make_jaxpr(branch, return_shape=True)(*operands)
              for branch in branches]  # fmt: skip
    treedef = jax.tree.structure(traced[0][1])
    leaves = jax.tree.leaves(operands)
    captured = [jaxpr.consts for jaxpr, _ in traced]

    def piece(number: int) -> Callable[..., list[Array]]:
        jaxpr = traced[number][0].jaxpr

        def run(leaves: list[Array], captured: list[list[Array]]) -> list[Array]:
            return jaxpr_as_fun(ClosedJaxpr(jaxpr, captured[number]))(*leaves)

        return run

    pieces = [piece(number) for number in range(len(branches))]

    @jax.custom_vjp
    def run(index: Array, inputs: Any) -> list[Array]:
        return lax.switch(index, pieces, *inputs)

    def forward(index: Any, inputs: Any) -> tuple[list[Array], Any]:
        flat, structure = jax.tree.flatten(inputs)
        index, values = index.value, [leaf.value for leaf in flat]
        # What is differentiated is known here only: by which of the two has a leaf.
        moving = [
            v if leaf.perturbed else None for leaf, v in zip(flat, values, strict=True)
        ]
        still = [
            None if leaf.perturbed else v for leaf, v in zip(flat, values, strict=True)
        ]
        output = run(index, jax.tree.unflatten(structure, values))
        return output, (index, moving, still)

    def backward(residuals: Any, cotangents: list[Array]) -> Any:
        index, moving, still = residuals
        structure = jax.tree.structure((leaves, captured))
        zero = [isinstance(cotangent, SymbolicZero) for cotangent in cotangents]

        def pull(number: int) -> Callable[..., Any]:
            def run(moving: Any, still: Any, cotangents: list[Array]) -> Any:
                def output(moving: Any) -> list[Array]:
                    pairs = zip(moving, still, strict=True)
                    merged = [s if m is None else m for m, s in pairs]
                    outputs = pieces[number](*jax.tree.unflatten(structure, merged))
                    return list(itertools.compress(outputs, map(operator.not_, zero)))

                return jax.vjp(output, moving)[1](cotangents)[0]

            return run

        given = list(itertools.compress(cotangents, map(operator.not_, zero)))
        pulls = [pull(number) for number in range(len(branches))]
        gradients = lax.switch(index, pulls, moving, still, given)
        return None, jax.tree.unflatten(structure, gradients)

    run.defvjp(forward, backward, symbolic_zeros=True)
    return jax.tree.unflatten(treedef, run(index, (leaves, captured)))
