"""Random recipes of NAS-Bench-NLP, by its procedure (host code).

What a draw is of depends on those before, so recipes are drawn one after another. What
a seed draws must stay what it was, for results are recorded by their seeds.
"""

from bisect import bisect_right

import numpy as np

from jaxproxy.spaces._nasbench_nlp import _codes as recipes

_LINEAR, _BLEND, _FIRST_ACTIVATION = 1, 2, 5
_X, _FIRST_STATE, _FIRST_NODE = 1, 2, 2 + recipes.STATES
_MAIN = (3 / 6, 1 / 6, 1 / 6, 1 / 6)
"""Probabilities of linear nodes, blends, products and sums."""
_BELOW = (np.cumsum(_MAIN) / np.cumsum(_MAIN)[-1]).tolist()
"""Of a random number, below which of these it is."""
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
        previous = {*range(_FIRST_STATE, _FIRST_STATE + hidden)}
        if any(not previous.isdisjoint(nodes[state][1]) for state in states):
            continue
        used, read = _reached(nodes, states)
        # All else that a recipe needs is so by the way in which nodes are drawn.
        if len(used) <= recipes.NODES and read == previous | {_X}:
            codes[found] = _code(nodes, states, used)
            found += 1
    return codes


def _nodes(rng: np.random.Generator, hidden: int, num: int) -> list[Node]:
    """Operations and inputs of ``num`` nodes, or of one more."""
    states = [*range(_FIRST_STATE, _FIRST_STATE + hidden)]
    nodes: list[Node] = []
    activations: list[int] = []

    def choose(candidates: list[int], count: int) -> list[int]:
        places = rng.choice(len(candidates), count, replace=False)
        return [candidates[place] for place in places.tolist()]

    while len(nodes) < num:
        # As rng.choice(4, p=_MAIN) does, which checks the probabilities every time.
        op = 1 + bisect_right(_BELOW, rng.random())
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


def _reached(nodes: list[Node], states: list[int]) -> tuple[list[int], set[int]]:
    """Returns the nodes that states depend on, ascending, and which inputs they read.

    Inputs are ``x`` and previous states.
    """
    used, read, left = set(), set(), [*states]
    while left:
        node = left.pop()
        if node not in used:
            used.add(node)
            for source in nodes[node][1]:
                if source >= _FIRST_NODE:
                    left.append(source - _FIRST_NODE)
                else:
                    read.add(source)
    return sorted(used), read


def _code(nodes: list[Node], states: list[int], used: list[int]) -> list[int]:
    """Returns the code of the nodes that are used, in this order."""
    # Inputs that are no nodes keep their numbers.
    place = {source: source for source in range(_FIRST_NODE)}
    place |= {_FIRST_NODE + node: _FIRST_NODE + i for i, node in enumerate(used)}
    code = [0] * len(recipes.CHOICES)
    for i, node in enumerate(used):
        op, inputs = nodes[node]
        first = i * (1 + recipes.INPUTS)
        code[first] = op
        code[first + 1 : first + 1 + len(inputs)] = [place[s] for s in inputs]
    for state, node in enumerate(states):
        code[state - recipes.STATES] = 1 + place[_FIRST_NODE + node] - _FIRST_NODE
    return code
