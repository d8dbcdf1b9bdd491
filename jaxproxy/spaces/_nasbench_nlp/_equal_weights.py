"""The language model of NAS-Bench-NLP with all weights equal, with one channel.

When every parameter of the cells holds one constant ``w``, and the initial states do
too, all channels of a state are equal: a linear node is ``w`` times the sums of what it
reads, plus ``w``. Only the words' vectors are random, uniform in [0, 1], and only their
sums matter.

References:
  Gracheva, "Neural architecture search: two constant shared weights initialisations",
  Artificial Intelligence Review 2025, arXiv:2302.04406, section on NAS-Bench-NLP.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.measure import EqualWeights
from jaxproxy.spaces._nasbench_nlp._codes import OPS, STATES, Parts, parts
from jaxproxy.spaces._nasbench_nlp._network import apply_op, draw, sizes
from jaxproxy.types import Fidelity

_SEED = 21


def equal_weights(
    fidelity: Fidelity, *, num_classes: int = 10_000, underflow: bool = False
) -> EqualWeights:
    """The network whose weights are all equal; its outputs are the last layer's states.

    Args:
      fidelity: the text has ``batch_size`` rows of ``resolution`` words, drawn
        uniformly with a fixed seed; images are not looked at.
      num_classes: words of the vocabulary.
      underflow: compute in float32, which loses small differences of states near 1/2
        and 1, as the published scores do; else in float64.

    Raises:
      ValueError: not called under ``jax.enable_x64(True)``.
    """
    if not jax.config.read("jax_enable_x64"):
        raise ValueError("equal weights need float64: call under jax.enable_x64(True)")
    dtype = jnp.float32 if underflow else jnp.float64
    words, along = sizes(fidelity)

    def stem(images: Array, weight: Array) -> Array:
        """Sums float[T, B] of the vectors of words."""
        del images, weight
        text_key, words_key = jax.random.split(jax.random.key(_SEED))
        vectors = jax.random.uniform(words_key, (num_classes, words), dtype)
        text = draw(text_key, fidelity, num_classes).x
        return vectors.sum(1)[text].T

    def logits(state: Array, code: Array, weight: Array) -> Array:
        genes, weight = parts(code), weight.astype(dtype)
        for width in along[1:]:
            state = _layer(genes, state, width, weight)
            # What the next layer adds up; a factor does not change the score.
            state = state * width
        return state.reshape(-1).astype(jnp.float64)

    return EqualWeights(stem, logits)


def _layer(genes: Parts, sums: Array, width: int, weight: Array) -> Array:
    """One channel float[T, B] of the states after inputs of some sums float[T, B]."""
    start = jnp.full((STATES, sums.shape[1]), weight)

    def step(states: Array, x: Array) -> tuple[Array, Array]:
        def node(table: Array, place: Any) -> tuple[Array, None]:
            number, op, inputs = place
            read = table[jnp.maximum(inputs - 2, 0)]

            def linear() -> Array:
                given = jnp.where(inputs[:, None] == 1, x, width * read)
                given = jnp.where(inputs[:, None] > 0, given, 0)
                return weight * given.sum(0) + weight

            others = [lambda name=name: apply_op(name, read) for name in OPS[1:]]
            branches = [lambda: jnp.zeros_like(x), linear, *others]
            return table.at[STATES + number].set(lax.switch(op, branches)), None

        table = jnp.concatenate(
            [states, jnp.zeros((len(genes.ops), *x.shape), x.dtype)]
        )
        places: Any = (jnp.arange(len(genes.ops)), genes.ops, genes.inputs)
        table, _ = lax.scan(node, table, places)
        states = table[STATES + jnp.maximum(genes.states - 1, 0)]
        return states, states[0]

    return lax.scan(step, start, sums)[1]
