"""What holds of every search on every table: budgets, failures, batches."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxproxy.search import (
    SEARCHES,
    Genes,
    Trace,
    layernas,
    regularized_evolution,
    run,
    zennas_evolution,
)

CHOICES, BUDGET, RUNS = (3, 4, 2, 3), 24, 2
NUM = int(np.prod(CHOICES))
# Without ``rerank``, which asks on the host which candidates are allowed.
MAKERS: dict[str, Any] = {
    name: SEARCHES[name]
    for name in ("random_search", "intrain_nas", "local_search", "reinforce")
} | {
    "regularized_evolution": partial(regularized_evolution, pool=6, sample=3),
    "zennas_evolution": partial(zennas_evolution, pool=6),
    "layernas": lambda genes: layernas(
        genes._replace(cost=lambda code: code.sum().astype(jnp.float32)), buckets=4
    ),
}


@cache
def _program(name: str) -> Any:
    """One program for all tables: (keys, scores float[N], allowed bool[N]) -> runs."""

    def one(key: jax.Array, scores: jax.Array, allowed: jax.Array) -> Trace:
        def within(code: jax.Array) -> jax.Array:
            return allowed[Genes(CHOICES).rank(code)]

        genes = Genes(CHOICES, within)
        return run(MAKERS[name](genes), lambda c: scores[genes.rank(c)], BUDGET, key)

    return jax.jit(jax.vmap(one, in_axes=(0, None, None)))


@pytest.mark.parametrize("name", MAKERS)
@given(
    st.integers(0, 2**31 - 1),
    st.sampled_from([0.0, 0.3, 0.9]),
    st.sampled_from([0.15, 0.5, 1.0]),
)
@settings(max_examples=12, deadline=None)
def test_budgets_and_failures(name: str, seed: int, bad: float, free: float) -> None:
    """What is not allowed is not asked for, and the best is the first of the best."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 9, NUM).astype(np.float32)
    failed = rng.random(NUM) < bad
    scores[failed] = rng.choice([np.nan, np.inf, -np.inf], failed.sum())
    allowed = rng.random(NUM) < free
    allowed[rng.integers(NUM)] = True
    keys = jax.random.split(jax.random.key(seed), RUNS)
    traces = _program(name)(keys, scores, allowed)
    ranks = np.asarray(Genes(CHOICES).rank(traces.codes))
    assert ((ranks >= 0) & (ranks < NUM)).all()
    assert allowed[ranks].all()
    told = scores[ranks]
    np.testing.assert_array_equal(traces.fitness, told)
    merits = np.where(np.isfinite(told), told, -np.inf)
    core = traces.state.core
    np.testing.assert_array_equal(core.fitness, merits.max(1))
    firsts = ranks[np.arange(RUNS), merits.argmax(1)]
    np.testing.assert_array_equal(Genes(CHOICES).rank(core.code), firsts)
    np.testing.assert_array_equal(core.told, BUDGET)
