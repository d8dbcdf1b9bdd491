"""REINFORCE over independent choices."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxproxy.search._genes import Genes
from jaxproxy.search._search import Core, Search, make_core

_SMALL, _MOMENTUM = 1e-3, 0.9


class _State(NamedTuple):
    core: Core
    logits: Array
    """float32[G, V], V the largest number of values of a gene."""
    moments: Any
    """Of Adam."""
    mean: Array
    """Moving average of the fitness, not yet corrected for its start at 0, float32[]"""
    seen: Array
    """How many fitnesses it is of, int32[]."""


def reinforce(genes: Genes, *, learning_rate: float = 0.01) -> Search:
    """Returns the search that learns how likely each value of each gene is to be good.

    A step of Adam after each fitness, along the gradient of the log-probability of the
    architecture, times its fitness less the moving average of all.

    Args:
      genes: of the space.
      learning_rate: of Adam, for a fitness in percent.

    Raises:
      ValueError: a learning rate that is not positive.

    References:
      Williams, "Simple statistical gradient-following algorithms", 1992; as in Dong and
      Yang, "NAS-Bench-201", ICLR 2020, section 3, arXiv:2001.00326.
    """
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate must be positive, not {learning_rate}")
    return _policy_gradient(genes, optax.adam(learning_rate))


def _policy_gradient(genes: Genes, adam: optax.GradientTransformation) -> Search:
    shape = len(genes.choices), max(genes.choices)
    exists = jnp.arange(shape[1])[None] < jnp.array(genes.choices)[:, None]

    def masked(logits: Array) -> Array:
        return jnp.where(exists, logits, -jnp.inf)

    def log_probability(logits: Array, code: Array) -> Array:
        rows = jax.nn.log_softmax(masked(logits))
        return jnp.take_along_axis(rows, code[:, None], axis=1).sum()

    def init(key: Array) -> _State:
        core, key = make_core(genes, key).next_key()
        logits = _SMALL * jax.random.normal(key, shape)
        none = jnp.zeros((), jnp.int32)
        return _State(core, logits, adam.init(logits), jnp.zeros(()), none)

    def ask(state: _State) -> tuple[_State, Array]:
        def propose(key: Array) -> Array:
            drawn = jax.random.categorical(key, masked(state.logits))
            return drawn.astype(jnp.int32)

        core, code = state.core.draw(genes, propose, state.core.code)
        return state._replace(core=core), code

    def learned(state: _State, code: Array, reward: Array) -> _State:
        # The average is brought up to date before the advantage is taken.
        seen, mean = state.seen + 1, _MOMENTUM * state.mean + (1 - _MOMENTUM) * reward
        baseline = mean / (1 - _MOMENTUM ** seen.astype(mean.dtype))
        ascent = jax.grad(log_probability)(state.logits, code)
        # optax raises a float to the power of an integer, which a user may forbid.
        with jax.numpy_dtype_promotion("standard"):
            updates, moments = adam.update((baseline - reward) * ascent, state.moments)
        logits = jnp.asarray(optax.apply_updates(state.logits, updates))
        return _State(state.core, logits, moments, mean, seen)

    def tell(state: _State, code: Array, fitness: Array) -> _State:
        fitness = genes.judged(code, fitness)
        state = state._replace(core=state.core.updated(code, fitness))
        good = jnp.isfinite(fitness)
        after = learned(state, code, jnp.where(good, fitness, 0.0))
        kept = (
            jax.tree.map(lambda new, old: jnp.where(good, new, old), new, old)
            for new, old in zip(after[1:], state[1:], strict=True)
        )
        return _State(state.core, *kept)

    return Search(init, ask, tell)
