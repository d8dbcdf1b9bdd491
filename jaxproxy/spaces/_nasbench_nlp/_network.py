"""The language model of NAS-Bench-NLP, its cell an argument.

A cell is interpreted: a loop over the places of nodes chooses the operation of each and
writes its output to a table, from which later nodes read. That loop runs in one over
time, so the readings inside of it are taken behind it: of every node its outputs at all
times. Gradients of these are not measured; those of parameters are.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from jaxproxy.measure import (
    Draws,
    Network,
    Tap,
    network_from_draws,
    scan,
    switch,
)
from jaxproxy.spaces._mode import Mode
from jaxproxy.spaces._nasbench_nlp._codes import (
    INPUTS,
    NODES,
    OPS,
    STATES,
    Parts,
    parts,
)
from jaxproxy.types import Batch, Fidelity

_SLOPE = 0.01
"""Of the leaky rectifier below zero."""
_LINEAR = 1 + OPS.index("linear")


def sizes(fidelity: Fidelity) -> tuple[int, tuple[int, ...]]:
    """Dimension of words, and inputs and outputs of all layers along the network.

    Two thirds of the width, as 400 of 600; the last layer's output has it again.
    """
    words = (2 * fidelity.width + 1) // 3
    return words, (words, *[fidelity.width] * (fidelity.cells - 1), words)


def draw(key: Array, fidelity: Fidelity, num_classes: int) -> Batch:
    """Random words int32[B, T], T the resolution, and those that follow."""
    shape = (fidelity.batch_size, fidelity.resolution + 1)
    words = jax.random.randint(key, shape, 0, num_classes)
    return Batch(words[:, :-1], words[:, 1:])


def loss(logits: Array, y: Array) -> Array:
    """Mean cross-entropy of float[B, T, V] logits and int32[B, T] words."""
    log_p = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_p, y[..., None], axis=-1).mean()


def network(fidelity: Fidelity, mode: Mode, *, num_classes: int = 10_000) -> Network:
    """Returns the language model at a fidelity; batches are words int32[B, T].

    Args:
      fidelity: the width is that of the hidden states, 600 in the network that is
        trained, and words have two thirds of it; cells are recurrent layers, 3 there;
        the resolution is the number of words in a row.
      mode: there is no normalisation; with norm ``"none"``, outputs of layers are
        divided by their largest entry as well.
      num_classes: words of the vocabulary.
    """
    return network_from_draws(
        lambda draws: LanguageModel(fidelity, num_classes, mode, draws)
    )


class LanguageModel(nnx.Module):
    """Words, recurrent layers of one cell, and a decoder by the words' own vectors.

    References:
      Klyuchnikov et al., "NAS-Bench-NLP", IEEE Access 2022, arXiv:2006.07116.
    """

    def __init__(
        self, fidelity: Fidelity, num_classes: int, mode: Mode, draws: Draws
    ) -> None:
        """Draws the parameters of all places of nodes."""
        self.mode = mode
        words, along = sizes(fidelity)
        numbers = jax.random.uniform(draws.key(), (num_classes, words))
        low = 0.0 if mode.weights == "abs" else -0.1
        self.words = nnx.Param(low + (0.1 - low) * numbers)
        self.bias = nnx.Param(jnp.zeros(num_classes))
        self.layers = nnx.List(
            [_Layer(a, b, mode, draws) for a, b in itertools.pairwise(along)]
        )

    def __call__(self, x: Array, code: Array, tap: Tap) -> Array:
        """Logits float[B, T, V] of the words behind words int32[B, T]."""
        genes = parts(code)
        words = tap.parameter("words", self.words[...], "other_w")
        x = tap("input", words[x], "input")
        for i, layer in enumerate(self.layers):
            x = layer(f"layers.{i}", x, genes, tap)
            x = tap(f"layers.{i}", self.mode.rescaled(f"layers.{i}", x, tap), "cell")
        x = tap("features", x, "features")
        bias = tap.parameter("decoder.bias", self.bias[...], "linear_b")
        return tap("decoder", x @ words.T + bias, "linear")


class _Layer(nnx.Module):
    """A recurrent layer with a linear node at hand in every place."""

    def __init__(self, inputs: int, outputs: int, mode: Mode, draws: Draws) -> None:
        self.outputs = outputs
        self.by_x = nnx.Param(mode.draw(draws, (NODES, inputs, outputs), 1))
        shape = (NODES * INPUTS, outputs, outputs)
        by_node = mode.draw(draws, shape, 1)
        self.by_node = nnx.Param(by_node.reshape(NODES, INPUTS, outputs, outputs))
        self.bias = nnx.Param(jnp.zeros((NODES, outputs)))

    def __call__(self, name: str, x: Array, genes: Parts, tap: Tap) -> Array:
        """Output float[B, T, H] of float[B, T, C]."""
        kinds = ("linear", "relu", "gate")
        if tap.recorder.meters.wants("backward", *kinds):
            raise ValueError(
                f"{name}: gradients of activations inside of a cell are not measured"
            )
        matrices = self._measured(name, genes, tap)
        start = jnp.zeros((STATES, len(x), self.outputs), x.dtype)
        measuring = tap.recorder.meters.wants("forward", *kinds)

        # All outputs of all nodes at all times would not fit otherwise.
        @jax.checkpoint
        def step(states: Array, x: Array) -> tuple[Array, tuple[Array, Any]]:
            table = _cell(genes, matrices, x, states)
            new = table[STATES + jnp.maximum(genes.states - 1, 0)]
            states = jnp.where((genes.states > 0)[:, None, None], new, 0)
            return states, (states[0], table[STATES:] if measuring else None)

        _, (outputs, tables) = lax.scan(step, start, x.swapaxes(0, 1))
        if measuring:
            _tap_nodes(name, genes, tables.transpose(1, 2, 0, 3), tap)
        return outputs.swapaxes(0, 1)

    def _measured(
        self, name: str, genes: Parts, tap: Tap
    ) -> tuple[Array, Array, Array]:
        """Matrices by x and by nodes and biases, of which each is measured if read."""
        whole = self.by_x[...], self.by_node[...], self.bias[...]
        linear = genes.ops == _LINEAR
        reads_x = (linear[:, None] & (genes.inputs == 1)).any(1)
        reads_node = linear[:, None] & (genes.inputs > 1)

        def body(filled: Any, place: Any, tap: Tap) -> Any:
            node, used, tensors = place
            suffixes = ["x.weight", *(f"{s}.weight" for s in range(INPUTS)), "bias"]
            kinds = ["linear_w"] * (1 + INPUTS) + ["linear_b"]
            found = [
                _if_used(tap, use, tensor, suffix, kind)
                for use, tensor, suffix, kind in zip(
                    used, tensors, suffixes, kinds, strict=True
                )
            ]
            made = found[0], jnp.stack(found[1:-1]), found[-1]
            return tuple(f.at[node].set(m) for f, m in zip(filled, made, strict=True))

        used = [reads_x, *reads_node.T, linear]
        tensors = [whole[0], *whole[1].swapaxes(0, 1), whole[2]]
        names = [f"{name}.node_{node}" for node in range(NODES)]
        places = jnp.arange(NODES), used, tensors
        empty = tuple(jnp.zeros_like(w) for w in whole)
        return scan(tap, names, body, empty, places)


def _if_used(tap: Tap, used: Array, tensor: Array, name: str, kind: str) -> Array:
    """A parameter, measured, or zeros if the cell does not read it."""
    branches = [
        lambda t, tap: jnp.zeros_like(t),
        lambda t, tap: tap.parameter(name, t, kind),
    ]
    return switch(tap, used.astype(jnp.int32), branches, tensor)


def _cell(
    genes: Parts, matrices: tuple[Array, Array, Array], x: Array, states: Array
) -> Array:
    """Previous states and outputs of all nodes, float[3 + 24, B, H]."""
    empty = jnp.zeros((NODES, *states.shape[1:]), states.dtype)

    def node(table: Array, place: Any) -> tuple[Array, None]:
        number, op, inputs, (by_x, by_node, bias) = place
        read = table[jnp.maximum(inputs - 2, 0)]

        def linear() -> Array:
            # Matrices of what is not read are zero.
            return x @ by_x + jnp.einsum("sbh,shk->bk", read, by_node) + bias

        others = [functools.partial(apply_op, name, read) for name in OPS[1:]]
        branches = [lambda: jnp.zeros_like(read[0]), linear, *others]
        return table.at[STATES + number].set(lax.switch(op, branches)), None

    table = jnp.concatenate([states, empty])
    places = jnp.arange(NODES), genes.ops, genes.inputs, matrices
    return lax.scan(node, table, places)[0]


def apply_op(name: str, read: Sequence[Array] | Array) -> Array:
    """Output of an operation without parameters."""
    a, b, c = read[0], read[1], read[2]
    if name == "blend":
        return a * b + (1 - a) * c
    if name == "elementwise_prod":
        return a * b
    if name == "elementwise_sum":
        return a + b
    if name == "activation_tanh":
        return jnp.tanh(a)
    if name == "activation_sigm":
        return jax.nn.sigmoid(a)
    return jnp.where(a > 0, a, _SLOPE * a)


def _tap_nodes(name: str, genes: Parts, outputs: Array, tap: Tap) -> None:
    """Measures the outputs float[24, B, T, H] of the nodes that there are."""
    kinds = ["linear", "gate", "gate", "gate", "gate", "gate", "relu"]

    def body(carry: Array, place: Any, tap: Tap) -> Array:
        op, y = place

        def tapped(y: Array, tap: Tap, kind: str) -> Array:
            tap("output", y, kind)
            return carry

        branches = [functools.partial(tapped, kind=kind) for kind in kinds]
        return switch(tap, op, [lambda y, tap: carry, *branches], y)

    names = [f"{name}.node_{node}" for node in range(NODES)]
    scan(tap, names, body, jnp.zeros(()), (genes.ops, outputs))
