"""Which operations of a program are rectifiers, which have patterns of activity."""

from typing import Any

import numpy as np
from jax.extend import core

INLINED = ("jit", "pjit", "closed_call", "core_call")
REMAT = ("remat2", "checkpoint")
_GATES = ("hard_sigmoid", "hard_silu", "hard_swish")
"""Functions of ``jax.nn`` that are made of ``relu6`` and are no rectifiers."""
_RECTIFIERS = ("relu", "relu6")
"""Functions of ``jax.nn``; a program shows by name what has a gradient of its own."""


def is_gate(eqn: Any) -> bool:
    """Returns whether an operation is a gate of ``jax.nn`` made of ``relu6``."""
    return eqn.primitive.name in INLINED and eqn.params.get("name") in _GATES


def hard_gates(jaxpr: Any) -> set[int]:
    """Returns the operations ``relu6(x + 3)``, hard sigmoids that somebody wrote."""
    moved = {
        eqn.outvars[0]
        for eqn in jaxpr.eqns
        if eqn.primitive.name == "add"
        and any(isinstance(a, core.Literal) and np.all(a.val == 3) for a in eqn.invars)
    }
    return {
        id(eqn)
        for eqn in jaxpr.eqns
        if is_rectifier(eqn)
        and not isinstance(eqn.invars[0], core.Literal)
        and eqn.invars[0] in moved
    }


def is_rectifier(eqn: Any) -> bool:
    """Returns whether an operation is a rectifier of ``jax.nn``."""
    if eqn.primitive.name != "custom_jvp_call":
        return False
    inside = eqn.params["call_jaxpr"].jaxpr.eqns
    return len(inside) == 1 and inside[0].params.get("name") in _RECTIFIERS


def count_rectifiers(eqn: Any) -> int:
    """Returns how many rectifiers an operation is, or has inside that can be read."""
    if is_rectifier(eqn):
        return 1
    if eqn.primitive.name not in (*INLINED, *REMAT, "cond", "scan"):
        return 0
    if is_gate(eqn):
        return 0
    inner = (e for jaxpr in core.jaxprs_in_params(eqn.params) for e in jaxpr.eqns)
    times = eqn.params["length"] if eqn.primitive.name == "scan" else 1
    return times * sum(map(count_rectifiers, inner))
