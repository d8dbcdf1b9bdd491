"""Which of many codes of NAS-Bench-NLP are recipes; ``problem`` says why one is not."""

import numpy as np

from jaxproxy.spaces._nasbench_nlp._codes import (
    ARITY,
    FIRST_NODE,
    FIRST_STATE,
    INPUTS,
    NODES,
    OPS,
    STATES,
    Parts,
    X,
    parts,
    problem,
)

_LINEAR = 1 + OPS.index("linear")
# Whether an operation may have so many inputs: bool[8, 4], 0 for no node.
_FITS = np.zeros((len(OPS) + 1, INPUTS + 1), bool)
_FITS[0, 0] = True
for _gene, _op in enumerate(OPS, 1):
    _FITS[_gene, list(ARITY.get(_op, (1,)))] = True
_FEW = 8  # of so few codes, one after another is faster


def valid(codes: np.ndarray) -> np.ndarray:
    """Which codes int[..., G] with genes in range are recipes, bool[...]."""
    codes = np.asarray(codes)
    flat = codes.reshape(-1, codes.shape[-1])
    if len(flat) < _FEW:
        fits = np.array([not problem(code) for code in flat], bool)
    else:
        # Most are refused by the first test, and the last costs most.
        fits = np.zeros(len(flat), bool)
        rows = np.flatnonzero(_counts_fit(parts(flat)))
        rows = rows[_inputs_fit(parts(flat[rows]))]
        fits[rows] = _all_have_effect(parts(flat[rows]))
    return fits.reshape(codes.shape[:-1])


def _counts_fit(code: Parts) -> np.ndarray:
    """Whether nodes and states fill the first places, and inputs fit operations."""
    there = code.ops > 0
    # [N, 24]: a node has one before it, except the first
    fits = (there[:, 1:] <= there[:, :-1]).all(1)
    states = code.states
    fits &= (states[:, 0] > 0) & ((states[:, 1:] > 0) <= (states[:, :-1] > 0)).all(1)
    fits &= (states <= there.sum(1, keepdims=True)).all(1)
    read = code.inputs > 0
    fits &= (read[..., 1:] <= read[..., :-1]).all((1, 2))
    return fits & _FITS[code.ops, read.sum(-1)].all(1)


def _inputs_fit(code: Parts) -> np.ndarray:
    """Whether states differ, and inputs, and an operation may read each of them."""
    fits = _differ(code.states)
    hidden = (code.states > 0).sum(1)[:, None, None]
    inputs = code.inputs
    fits &= _differ(inputs).all(1)
    fits &= ~((inputs == X).any(-1) & (code.ops != _LINEAR)).any(1)
    absent = (inputs >= FIRST_STATE + hidden) & (inputs < FIRST_NODE)
    return fits & ~absent.any((1, 2))


def _differ(values: np.ndarray) -> np.ndarray:
    """Whether no two of values int[..., k] are equal, but for those that are 0."""
    ordered = np.sort(values, axis=-1)
    return ~((ordered[..., 1:] == ordered[..., :-1]) & (ordered[..., 1:] > 0)).any(-1)


def _all_have_effect(code: Parts) -> np.ndarray:
    """Whether states depend on x, on all states before and on every node."""
    num, rows = len(code.ops), np.arange(len(code.ops))
    # [N, 29] by the number of an input; what is no input and no node gets the place 0
    reached = np.zeros((num, FIRST_NODE + NODES), bool)
    for state in range(STATES):
        node = code.states[:, state]
        reached[rows, np.where(node > 0, FIRST_NODE + node - 1, 0)] = True
    for node in range(NODES - 1, -1, -1):  # a node reads only those before it
        live = reached[:, FIRST_NODE + node]
        for source in range(INPUTS):
            reached[rows, np.where(live, code.inputs[:, node, source], 0)] = True
    hidden = (code.states > 0).sum(1, keepdims=True)
    needed = np.concatenate(
        [
            np.ones((num, 1 + X), bool),
            np.arange(STATES) < hidden,
            code.ops > 0,
        ],
        axis=1,
    )
    reached[:, 0] = True
    return np.all(reached | ~needed, axis=1)
