"""NAS-Bench-NLP on the host: recipes of recurrent cells as codes (numpy only).

A recipe is a directed acyclic graph whose nodes apply one of seven operations to other
nodes, to the cell's input ``x`` or to its previous states ``h_prev_0``... Up to three
nodes are the new states ``h_new_0``..., of which the first is the output. The public
form is JSON, ``{"f": {"op": "linear", "input": ["x", "h_prev_0"]}, ...}``.

A code holds, for each of 24 places in topological order, the operation (0 where there
is no node) and three inputs (0 for none, then ``x``, three states and the nodes
before), and at the end the nodes of the three states. So there are no cycles to
exclude, but most codes are no recipe: see :func:`problem`.

References:
  Klyuchnikov et al., "NAS-Bench-NLP", IEEE Access 2022, arXiv:2006.07116; cells and
  network as in its repository fmsnew/nas-bench-nlp-release.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxproxy.options import quoted
from jaxproxy.spaces._records import Graph

NODES, STATES, INPUTS = 24, 3, 3
OPS = (
    "linear",
    "blend",
    "elementwise_prod",
    "elementwise_sum",
    "activation_tanh",
    "activation_sigm",
    "activation_leaky_relu",
)
"""Gene 1 and up; ``blend`` of a, b and c is ``a * b + (1 - a) * c``."""
ARITY = {"linear": (1, 2, 3), "blend": (3,)} | dict.fromkeys(OPS[2:4], (2,))
_SYMMETRIC = ("linear", *OPS[2:4])
X, FIRST_STATE, FIRST_NODE = 1, 2, 2 + STATES
CHOICES = (
    tuple(
        n for i in range(NODES) for n in (len(OPS) + 1, *(INPUTS * (FIRST_NODE + i,)))
    )
    + (NODES + 1,) * STATES
)
_EXAMPLE = '{"h_new_0": {"op": "linear", "input": ["x", "h_prev_0"]}}'


class Parts(NamedTuple):
    """The genes of a code by what they mean."""

    ops: np.ndarray
    """int[..., 24], 0 for no node."""
    inputs: np.ndarray
    """int[..., 24, 3], 0 for none."""
    states: np.ndarray
    """int[..., 3], 1 + the node of each new state, 0 for none."""


def parts(code: Any) -> Parts:
    """Operations, inputs and states of codes int[..., G]; NumPy or JAX arrays."""
    nodes = code[..., : NODES * (1 + INPUTS)]
    nodes = nodes.reshape(*code.shape[:-1], NODES, 1 + INPUTS)
    return Parts(nodes[..., 0], nodes[..., 1:], code[..., -STATES:])


def problem(code: np.ndarray) -> str:
    """Why a code int[G] is no recipe; empty if it is one.

    Nodes fill the first places; operations have as many inputs as they take; ``x``,
    whose size is its own, is an input of linear nodes only; states are numbered from 0
    and are different nodes; the previous of each is read somewhere, as is ``x``; and
    no node is without effect.
    """
    ops, inputs, states = parts(np.asarray(code))
    num, hidden = int((ops > 0).sum()), int((states > 0).sum())
    if not ops[:num].all():
        return f"its {num} nodes are not in the first {num} places"
    if not hidden or not states[:hidden].all():
        return "its new states are not numbered from h_new_0 on"
    given = states[:hidden] - 1
    if len(set(given.tolist())) < hidden or given.max() >= num:
        return "its new states are not different nodes that it has"
    if inputs[num:].any():
        return "a place without a node has inputs"
    for node in range(num):
        if wrong := _wrong_inputs(OPS[ops[node] - 1], inputs[node].tolist(), hidden):
            return f"node {node} {wrong}"
    return _without_effect(inputs[:num], given.tolist(), hidden)


def _wrong_inputs(op: str, inputs: list[int], hidden: int) -> str:
    used = [source for source in inputs if source]
    arity = ARITY.get(op, (1,))
    if len(used) not in arity or any(inputs[len(used) :]):
        wanted = " or ".join(map(str, arity))
        return f"is {op}, of {wanted} inputs, and has {len(used)}"
    if len(set(used)) < len(used):
        return f"reads {', '.join(map(_source, used))}, which are not different"
    if op != "linear" and X in used:
        return f"is {op} of x, which only linear nodes read"
    unknown = [s for s in used if FIRST_STATE + hidden <= s < FIRST_NODE]
    return f"reads {_source(unknown[0])}, but states are {hidden}" if unknown else ""


def _without_effect(inputs: np.ndarray, states: list[int], hidden: int) -> str:
    reached, left = set(), [FIRST_NODE + node for node in states]
    while left:
        source = left.pop()
        if source in reached:
            continue
        reached.add(source)
        if source >= FIRST_NODE:
            left += [s for s in inputs[source - FIRST_NODE].tolist() if s]
    for source in (X, *range(FIRST_STATE, FIRST_STATE + hidden)):
        if source not in reached:
            return f"no node that has an effect reads {_source(source)}"
    for node in range(len(inputs)):
        if FIRST_NODE + node not in reached:
            return f"node {node} has no effect"
    return ""


def canonical(code: np.ndarray) -> np.ndarray:
    """The code with the inputs of linear nodes, sums and products in order."""
    code = np.array(code, np.int32)
    ops, inputs, _ = parts(code)
    symmetric = np.isin(ops, [1 + OPS.index(op) for op in _SYMMETRIC])
    last = np.where(inputs == 0, CHOICES[-1] + FIRST_NODE, inputs)
    ordered = np.sort(last, axis=-1)
    ordered = np.where(ordered == CHOICES[-1] + FIRST_NODE, 0, ordered)
    genes = np.where(symmetric[..., None], ordered, inputs)
    nodes = np.concatenate([ops[..., None], genes], axis=-1)
    code[..., :-STATES] = nodes.reshape(*code.shape[:-1], -1)
    return code


def _source(source: int) -> str:
    if source == X:
        return "x"
    if source < FIRST_NODE:
        return f"h_prev_{source - FIRST_STATE}"
    return f"node_{source - FIRST_NODE}"


def to_str(code: np.ndarray) -> str:
    """The recipe of one code as JSON, its nodes named by place."""
    return json.dumps(dict(_recipe(np.asarray(code))), separators=(",", ":"))


def _recipe(code: np.ndarray) -> Iterator[tuple[str, dict[str, Any]]]:
    ops, inputs, states = parts(code)
    names = {int(node) - 1: f"h_new_{k}" for k, node in enumerate(states) if node}

    def name(source: int) -> str:
        return names.get(source - FIRST_NODE, _source(source))

    for node, op in enumerate(ops):
        if op:
            used = [name(source) for source in inputs[node].tolist() if source]
            yield name(FIRST_NODE + node), {"op": OPS[op - 1], "input": used}


def from_str(arch: str) -> np.ndarray:
    """Code int32[G] of a recipe in JSON, its nodes named and ordered as one likes.

    Raises:
      ValueError: no JSON of that form, an unknown operation or input, a cycle, too many
        nodes, or what :func:`problem` says.
    """
    try:
        recipe = json.loads(arch)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{quoted(arch)} is not JSON: {error}") from None
    order = _in_order(arch, _checked(arch, recipe))
    places = {"x": X} | {f"h_prev_{k}": FIRST_STATE + k for k in range(STATES)}
    places |= {name: FIRST_NODE + node for node, name in enumerate(order)}
    code = np.zeros(len(CHOICES), np.int32)
    for node, name in enumerate(order):
        spec = recipe[name]
        first = node * (1 + INPUTS)
        code[first] = 1 + OPS.index(spec["op"])
        sources = [places[source] for source in spec["input"]]
        code[first + 1 : first + 1 + len(sources)] = sources
    for state in range(STATES):
        if f"h_new_{state}" in recipe:
            code[state - STATES] = 1 + order.index(f"h_new_{state}")
    if why := problem(code):
        raise ValueError(
            f"{quoted(arch)} is no recipe: {why}, in the order {quoted(order)}"
        )
    return code


def _checked(arch: str, recipe: Any) -> dict[str, dict[str, Any]]:
    """A recipe of which each node has a known operation and known inputs."""
    if not isinstance(recipe, dict) or not all(
        isinstance(spec, dict)
        and isinstance(spec.get("op"), str)
        and isinstance(spec.get("input"), list)
        for spec in recipe.values()
    ):
        raise ValueError(f"{quoted(arch)} is not of the form {_EXAMPLE!r}")
    if len(recipe) > NODES:
        raise ValueError(f"{quoted(arch)} has {len(recipe)} nodes, more than {NODES}")
    known = ["x", *(f"h_prev_{k}" for k in range(STATES)), *recipe]
    for name, spec in recipe.items():
        if spec["op"] not in OPS:
            raise ValueError(
                f"{quoted(name)} in {quoted(arch)} is {quoted(spec['op'])}; choose "
                f"from {list(OPS)}"
            )
        for source in spec["input"]:
            if source not in known:
                raise ValueError(
                    f"{quoted(name)} in {quoted(arch)} reads {quoted(source)}; "
                    f"choose from {quoted(known)}"
                )
        if len(spec["input"]) > INPUTS:
            raise ValueError(
                f"{quoted(name)} in {quoted(arch)} has more than {INPUTS} inputs"
            )
    return recipe


def _in_order(arch: str, recipe: dict[str, dict[str, Any]]) -> list[str]:
    """Names such that none reads one behind; as given, where that is possible."""
    order: list[str] = []
    left = list(recipe)
    while left:
        ready = (n for n in left if not set(recipe[n]["input"]) & set(left))
        name = next(ready, None)
        if name is None:
            raise ValueError(f"{quoted(arch)} has a cycle among {quoted(left)}")
        order.append(name)
        left.remove(name)
    return order


def graph(code: np.ndarray) -> Graph:
    """Nodes by operation, the states that they are, and what reads what."""
    ops, inputs, states = parts(np.asarray(code))
    num, hidden = int((ops > 0).sum()), int((states > 0).sum())
    names = {int(node) - 1: f" = h_new_{k}" for k, node in enumerate(states) if node}
    sources = ["x", *(f"h_prev_{k}" for k in range(hidden))]
    shift = {X + k: k for k in range(1 + hidden)}
    shift |= {FIRST_NODE + node: 1 + hidden + node for node in range(num)}
    nodes = [OPS[op - 1] + names.get(node, "") for node, op in enumerate(ops[:num])]
    edges = [
        (shift[source], 1 + hidden + node, "")
        for node in range(num)
        for source in inputs[node].tolist()
        if source
    ]
    return Graph((*sources, *nodes), tuple(edges))
