"""JSON of many recipes of NAS-Bench-NLP at once."""

import json
from collections.abc import Iterator, Sequence

import numpy as np

from jaxproxy.spaces._nasbench_nlp._codes import (
    CHOICES,
    FIRST_NODE,
    FIRST_STATE,
    INPUTS,
    NODES,
    OPS,
    STATES,
    X,
)

_GENES = 1 + INPUTS
_PREVIOUS = {f"h_prev_{k}": FIRST_STATE + k for k in range(STATES)}
_PLACES = {"x": X, **_PREVIOUS}
_STATES = {f"h_new_{k}": k - STATES for k in range(STATES)}
"""Name -> the gene of a state, from the end of a code."""
# What inputs are called in JSON, by their numbers; 0 is none.
_SOURCES = ["", *(f'"{name}"' for name in _PLACES)]
_SOURCES += [f'"node_{node}"' for node in range(NODES)]
_OPS = ["", *(f':{{"op":"{op}","input":[' for op in OPS)]
_OP_GENES = {op: gene for gene, op in enumerate(OPS, 1)}


def write(codes: np.ndarray) -> list[str]:
    """JSON of codes int[N, G], without spaces."""
    return [f"{{{','.join(_nodes(code))}}}" for code in codes.tolist()]


def _nodes(code: list[int]) -> Iterator[str]:
    names = _SOURCES.copy()
    for state, node in enumerate(code[-STATES:]):
        if node:
            names[FIRST_NODE + node - 1] = f'"h_new_{state}"'
    for node in range(NODES):
        op, *sources = code[node * _GENES : (node + 1) * _GENES]
        if op:
            used = ",".join([names[source] for source in sources if source])
            yield f"{names[FIRST_NODE + node]}{_OPS[op]}{used}]}}"


def read(archs: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Codes int32[N, G], recipes or not, of JSON, and which were read, bool[N]."""
    none = [0] * len(CHOICES)
    codes = [_code(arch) for arch in archs]
    known = np.array([code is not None for code in codes], bool)
    rows = np.array([none if code is None else code for code in codes], np.int32)
    return rows.reshape(-1, len(CHOICES)), known


def _code(arch: str) -> list[int] | None:
    """Returns the genes of JSON whose nodes come after all that they read.

    None for any other: those are put in order, or refused with a reason, one by one.
    """
    try:
        recipe = json.loads(arch)
        if not isinstance(recipe, dict) or len(recipe) > NODES:
            return None
        code, places = [0] * len(CHOICES), _PLACES.copy()
        for node, (name, spec) in enumerate(recipe.items()):
            if name in places or not isinstance(spec["input"], list):
                return None
            sources = [places[source] for source in spec["input"]]
            if len(sources) > INPUTS:
                return None
            first = node * _GENES
            code[first] = _OP_GENES[spec["op"]]
            code[first + 1 : first + 1 + len(sources)] = sources
            places[name] = FIRST_NODE + node
            if name in _STATES:
                code[_STATES[name]] = node + 1
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return code
