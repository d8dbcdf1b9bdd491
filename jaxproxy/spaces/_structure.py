"""Which programs are one and the same, so that their models share a compilation."""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend import core

_CUSTOM = ("custom_jvp_call", "custom_vjp_call")
_UNLIKE = itertools.count()


def structure(
    closed: core.ClosedJaxpr,
    apply: Callable[[Any, Array], Array],
    variables: Any,
    x: Any,
    taps: object,
) -> str:
    """Returns a digest of a program; equal ones are of programs that do the same.

    A gradient of a function's own is not in its program but in a rule, a Python
    function that may close over anything. So where there is one, the programs of the
    first and second derivatives, which the rules write, are part of the structure.

    Args:
      closed: the program of the function.
      apply: (variables, x) -> output.
      variables: their shapes, with those to differentiate by as ``"params"``.
      x: its shape.
      taps: names and kinds of what is tapped, which the program does not show.
    """
    programs = [closed]
    if any(eqn.primitive.name in _CUSTOM for eqn in _operations(closed.jaxpr)):
        try:
            programs += _derivatives(apply, variables, x)
        except Exception:  # of the rules, which are the user's
            return f"unlike any other: {next(_UNLIKE)}"
    digest = hashlib.sha256(f"{jax.tree.structure(variables)}{taps}".encode())
    for program in programs:
        digest.update(str(program.jaxpr).encode())
        for constant in _constants(program):
            digest.update(f"{constant.dtype}{constant.shape}".encode())
            digest.update(constant.tobytes())
    return digest.hexdigest()


def _derivatives(
    apply: Callable[[Any, Array], Array], variables: Any, x: Any
) -> list[core.ClosedJaxpr]:
    """Programs of the gradient, and of the gradient of all its numbers."""

    def gradient(params: Any, x: Array, rest: Any) -> Any:
        output, pull_back = jax.vjp(
            lambda params, x: apply({**rest, "params": params}, x), params, x
        )
        return pull_back(jnp.ones_like(output))

    def second(params: Any, x: Array, rest: Any) -> Any:
        # In reverse too, which rules for the reverse direction allow.
        output, pull_back = jax.vjp(
            lambda params, x: gradient(params, x, rest), params, x
        )
        return pull_back(jax.tree.map(jnp.ones_like, output))

    rest = {name: tree for name, tree in variables.items() if name != "params"}
    return [
        jax.make_jaxpr(one)(variables["params"], x, rest) for one in (gradient, second)
    ]


def _operations(jaxpr: Any) -> Iterator[Any]:
    for eqn in jaxpr.eqns:
        yield eqn
        for inner in core.jaxprs_in_params(eqn.params):
            yield from _operations(inner)


def _constants(program: core.ClosedJaxpr) -> Iterator[np.ndarray]:
    """Arrays that the text of a program does not show, or not all of."""
    yield from map(_values, program.consts)
    for eqn in program.jaxpr.eqns:
        for atom in eqn.invars:
            if isinstance(atom, core.Literal):
                yield _values(atom.val)
        for leaf in jax.tree.leaves(tuple(eqn.params.values()), is_leaf=_is_program):
            if isinstance(leaf, core.ClosedJaxpr):
                yield from _constants(leaf)
            elif isinstance(leaf, core.Jaxpr):
                yield from _constants(core.ClosedJaxpr(leaf, ()))
            elif isinstance(leaf, np.ndarray | jax.Array):
                yield _values(leaf)


def _is_program(value: Any) -> bool:
    return isinstance(value, core.Jaxpr | core.ClosedJaxpr)


def _values(array: Any) -> np.ndarray:
    if isinstance(array, jax.Array) and jnp.issubdtype(
        array.dtype, jax.dtypes.prng_key
    ):
        array = jax.random.key_data(array)
    return np.asarray(array)
