"""The LayerNAS-style search is exhaustive where it can be, and keeps its budget."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxproxy.search import Genes, layernas, look_up, make_genes, run
from jaxproxy.spaces import nasbench201

CHOICES = (3, 4, 2, 5)
CODES = np.stack(np.unravel_index(np.arange(120), CHOICES), 1).astype(np.int32)
RNG = np.random.default_rng(7)
WORTH = [RNG.normal(size=n).astype(np.float32) for n in CHOICES]
PRICE = [RNG.integers(1, 9, size=n).astype(np.float32) for n in CHOICES]


def _total(parts: list[np.ndarray], code: jax.Array) -> jax.Array:
    return jnp.stack(
        [jnp.asarray(p)[c] for p, c in zip(parts, code, strict=True)]
    ).sum()


GENES = Genes(CHOICES, cost=partial(_total, PRICE))
PRICES, WORTHS = (
    np.sum([part[column] for part, column in zip(parts, CODES.T, strict=True)], 0)
    for parts in (PRICE, WORTH)
)


@pytest.mark.parametrize("most", [int(np.quantile(PRICES, q)) for q in (0.1, 0.5, 0.9)])
@pytest.mark.parametrize("rest", ["smallest", "largest"])
def test_it_is_exhaustive_for_sums_and_fine_buckets(most: int, rest: str) -> None:
    """A bucket for each cost: the best prefix of a cost stays the best."""
    genes = GENES._replace(allowed=lambda code: _total(PRICE, code) <= most)
    if rest == "largest":
        # What is scored with dear later genes would be over the budget.
        genes = GENES
    search = layernas(genes, most=float(most), buckets=most, rest=rest)
    trace = jax.jit(partial(run, search, partial(_total, WORTH), most * 14))(
        jax.random.key(0)
    )
    scored = np.asarray(GENES.rank(trace.codes))
    within = scored[PRICES[scored] <= most]
    best = WORTHS[most >= PRICES].max()
    assert np.isclose(WORTHS[within].max(), best)
    if rest == "smallest":
        assert len(within) == len(scored)


def test_it_asks_for_at_most_every_bucket_with_every_value() -> None:
    """One bucket: the first pass is greedy, 3 + 4 + 2 + 5 architectures."""
    search = layernas(GENES, buckets=1)
    trace = jax.jit(partial(run, search, partial(_total, WORTH), 14))(jax.random.key(0))
    cheap = [int(np.argmin(p)) for p in PRICE]
    codes = np.asarray(trace.codes)
    best = [int(np.argmax(w)) for w in WORTH]
    rows = []
    for gene, num in enumerate(CHOICES):
        for value in range(num):
            rows.append([*best[:gene], value, *cheap[gene + 1 :]])
    np.testing.assert_array_equal(codes, rows)


def test_the_next_pass_begins_with_the_best() -> None:
    search = layernas(GENES, buckets=1)
    trace = jax.jit(partial(run, search, partial(_total, WORTH), 17))(jax.random.key(0))
    best = [int(np.argmax(w)) for w in WORTH]
    rows = [[value, *best[1:]] for value in range(3)]
    np.testing.assert_array_equal(np.asarray(trace.codes)[14:], rows)


def test_costs_of_a_space_are_asked_of_the_host() -> None:
    space = nasbench201()
    genes = make_genes(space)
    codes = space.sample(np.random.default_rng(0), 5)
    assert genes.cost is not None
    costs = jax.vmap(genes.cost)(jnp.asarray(codes))
    np.testing.assert_allclose(costs, space.num_macs(codes).astype(np.float32))
    # Its dearest architecture, by two rounds over the genes.
    every = space.enumerate()
    table = look_up(genes, every, space.num_macs(every))
    search = layernas(genes._replace(cost=table), buckets=10)
    trace = jax.jit(partial(run, search, table, 150))(jax.random.key(0))
    assert float(trace.state.core.fitness) == np.float32(space.num_macs(every).max())


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="needs genes with a cost"):
        layernas(Genes(CHOICES))
    with pytest.raises(ValueError, match=r"most=-1\.0: the largest cost is positive"):
        layernas(GENES, most=-1.0)
    with pytest.raises(ValueError, match="unknown rest 'none'; choose from"):
        layernas(GENES, rest="none")  # pyrefly: ignore[bad-argument-type]
