"""Random recipes of NAS-Bench-NLP, by its procedure (host code)."""

import numpy as np

from jaxproxy.spaces._nasbench_nlp import _codes as recipes

_LINEAR, _BLEND, _FIRST_ACTIVATION = 1, 2, 5
_X, _FIRST_STATE, _FIRST_NODE = 1, 2, 2 + recipes.STATES
_MAIN = (3 / 6, 1 / 6, 1 / 6, 1 / 6)
"""Probabilities of linear nodes, blends, products and sums."""
_THREE = 0.2
"""Probability that a linear node has three inputs, not two."""

Node = tuple[int, list[int]]


def sample(rng: np.random.Generator, n: int) -> np.ndarray:
    """Random recipes int32[n, G], in the distribution of the benchmark's own.

    One to three states and 7, 14 or 21 nodes besides, all equally likely; a linear node
    is followed by an activation; nodes without effect are left out; recipes that do not
    read ``x`` and all states, or that hand a state on unchanged, are drawn again.
    """
    codes = np.zeros((n, len(recipes.CHOICES)), np.int32)
    found = 0
    while found < n:
        hidden = int(rng.integers(1, recipes.STATES + 1))
        nodes = _nodes(rng, hidden, hidden + 7 * int(rng.integers(1, 4)))
        states = rng.choice(len(nodes), hidden, replace=False).tolist()
        code = _code(nodes, states)
        previous = range(_FIRST_STATE, _FIRST_STATE + hidden)
        direct = any(set(previous) & set(nodes[state][1]) for state in states)
        if code is not None and not direct and not recipes.problem(code):
            codes[found] = code
            found += 1
    return codes


def _nodes(rng: np.random.Generator, hidden: int, num: int) -> list[Node]:
    """Operations and inputs of ``num`` nodes, or of one more."""
    states = [*range(_FIRST_STATE, _FIRST_STATE + hidden)]
    nodes: list[Node] = []
    activations: list[int] = []

    def choose(candidates: list[int], count: int) -> list[int]:
        return rng.choice(candidates, count, replace=False).tolist()

    while len(nodes) < num:
        op = 1 + int(rng.choice(len(_MAIN), p=_MAIN))
        if op == _LINEAR:
            candidates = [_X, *states, *activations]
            count = 3 if rng.random() < _THREE else 2
            nodes.append((op, choose(candidates, min(count, len(candidates)))))
            activation = _FIRST_ACTIVATION + int(rng.integers(3))
            nodes.append((activation, [_FIRST_NODE + len(nodes) - 1]))
            activations.append(_FIRST_NODE + len(nodes) - 1)
            continue
        candidates = states + [_FIRST_NODE + node for node in range(len(nodes))]
        count = 3 if op == _BLEND else 2
        if count <= len(candidates):
            nodes.append((op, choose(candidates, count)))
    return nodes


def _code(nodes: list[Node], states: list[int]) -> np.ndarray | None:
    """Code of the nodes that states depend on; None if they are too many."""
    used, left = set(), [*states]
    while left:
        node = left.pop()
        if node not in used:
            used.add(node)
            left += [s - _FIRST_NODE for s in nodes[node][1] if s >= _FIRST_NODE]
    place = {node: i for i, node in enumerate(sorted(used))}
    if len(place) > recipes.NODES:
        return None
    code = np.zeros(len(recipes.CHOICES), np.int32)
    for node, i in place.items():
        op, inputs = nodes[node]
        sources = [
            s if s < _FIRST_NODE else _FIRST_NODE + place[s - _FIRST_NODE]
            for s in inputs
        ]
        first = i * (1 + recipes.INPUTS)
        code[first : first + 1 + len(sources)] = [op, *sources]
    code[len(code) - recipes.STATES :][: len(states)] = [1 + place[s] for s in states]
    return code
