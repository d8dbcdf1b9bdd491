"""A fit of readings to the accuracies told so far, and what it likes best."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.stats import norm, rankdata

from jaxproxy.options import check_counts
from jaxproxy.search._genes import Genes
from jaxproxy.search._search import Core, Search, make_core

_MOST_CODES = 2**17
_LENGTH = 0.8
"""Of the kernel, for features of variance one, in units of their typical distance."""
_SMALL = 1e-6


class _State(NamedTuple):
    core: Core
    rows: Array
    """Which candidate each fitted architecture is, int32[T]; -1 for none yet."""
    fitness: Array
    """What was told of it, float32[T]."""
    told: Array
    """Whether it was told, bool[T]: what was asked for comes before."""
    factor: Array
    """Cholesky factor of the kernel, architectures by candidates, float32[T, N]."""
    variance: Array
    """Of each candidate given the architectures, told or not, float32[N]."""
    used: Array
    """How many of the T there are, int32[]."""
    fresh: Array
    """Which candidates were neither asked for nor told, bool[N]."""


def rerank(
    genes: Genes,
    *,
    features: np.ndarray | None = None,
    candidates: np.ndarray | None = None,
    first: int = 10,
    explore: float = 0.5,
    noise: float = 0.05,
    most: int = 300,
) -> Search:
    """Returns the search that fits what is told, and asks for the best by the fit.

    A Gaussian process on features of all candidates, such as stored scores and
    readings of many proxies, learns the normal scores of the fitnesses told so far. The
    next is the candidate, not yet asked for, with the largest mean plus ``explore``
    deviations. What was asked for and not told yet narrows the deviations, so that many
    can be trained at once. After ``most`` architectures the fit stays as it is.

    Args:
      genes: of the space.
      features: float[N, F] of the candidates, in any units: what counts is their order.
        NaN is below all. None for the genes themselves, one column a value.
      candidates: int32[N, G]; None for all codes of a small space, by rank.
      first: how many are random, before the fit decides. :func:`warm_up` can ask for
        better ones, and counts.
      explore: how many deviations count for as much as the mean.
      noise: variance of a fitness that the features do not explain, where all of the
        variance is one.
      most: T, how many architectures are fitted; memory is that of T N numbers.

    Raises:
      ValueError: features or candidates of other shapes, too many codes to list, or
        wrong numbers.

    References:
      Rasmussen and Williams, "Gaussian processes for machine learning", 2006, algorithm
      2.1; to fit proxies to few accuracies: RoBoT, ICLR 2024, arXiv:2403.07591, and
      ProxyBO, AAAI 2023, arXiv:2110.10423, which weigh proxies linearly.
    """
    check_counts(first=first, most=most)
    if not (explore >= 0 and 0 < noise < math.inf):
        raise ValueError(
            f"explore={explore}, noise={noise}: at least 0, and positive and finite"
        )
    codes = _all_codes(genes) if candidates is None else np.asarray(candidates)
    if codes.ndim != 2 or codes.shape[1] != len(genes.choices) or not len(codes):
        raise ValueError(
            f"candidates are int32[N, {len(genes.choices)}], not {list(codes.shape)}"
        )
    table = _one_hot(genes, codes) if features is None else np.asarray(features, float)
    if table.ndim != 2 or len(table) != len(codes):
        raise ValueError(
            f"features are float[{len(codes)}, F], a row for each candidate, not "
            f"{list(table.shape)}"
        )
    process = _Process(normal_scores(table), noise, explore)
    return _by_fit(genes, codes.astype(np.int32), process, first, most)


def normal_scores(table: np.ndarray) -> np.ndarray:
    """Returns columns by the order of their values, as if normal, float32[N, F] (host).

    Equal values get equal scores, and NaN the least. Columns of one value are left out.
    """
    table = np.where(np.isnan(table), -np.inf, np.asarray(table, float))
    kept = table[:, (table != table[:1]).any(0)]
    if not kept.shape[1]:
        raise ValueError("all candidates have the same features")
    scores = norm.ppf((rankdata(kept, axis=0) - 0.5) / len(kept))
    return (scores / scores.std(0)).astype(np.float32)


def _all_codes(genes: Genes) -> np.ndarray:
    num = math.prod(genes.choices)
    if num > _MOST_CODES:
        raise ValueError(f"{num} codes are too many to list: give candidates=")
    return np.stack(np.unravel_index(np.arange(num), genes.choices), 1)


def _one_hot(genes: Genes, codes: np.ndarray) -> np.ndarray:
    columns = (codes[:, [g]] == np.arange(n) for g, n in enumerate(genes.choices))
    return np.concatenate(list(columns), 1).astype(float)


class _Process(NamedTuple):
    """A Gaussian process whose kernel falls with the squared distance."""

    features: np.ndarray
    noise: float
    explore: float

    def kernel(self, row: Array) -> Array:
        """Returns the covariance of one candidate with all, float32[N]."""
        features = jnp.asarray(self.features)
        apart = jnp.square(features - features[row][None]).sum(1)
        return jnp.exp(-apart / (2 * _LENGTH**2 * features.shape[1]))

    def appended(self, state: _State, row: Array) -> _State:
        """Returns the state with one more architecture in its factor.

        The new row of the factor is what its covariances have beyond those that the
        earlier rows explain: c - L[:t, i] L[:t], over the root of the i-th of it.
        """
        place = state.used
        beyond = self.kernel(row) - state.factor[:, row] @ state.factor
        diagonal = jnp.sqrt(jnp.maximum(state.variance[row], 0.0) + self.noise)
        line = beyond / diagonal
        return state._replace(
            rows=state.rows.at[place].set(row, mode="drop"),
            factor=state.factor.at[place].set(line, mode="drop"),
            variance=jnp.where(
                place < len(state.rows),
                jnp.maximum(state.variance - jnp.square(line), _SMALL),
                state.variance,
            ),
            used=jnp.minimum(place + 1, len(state.rows)),
        )

    def merits(self, state: _State) -> Array:
        """Returns mean and deviations of all candidates as one number, float32[N]."""
        values = _scores_of_told(state)
        # Of T x T, lower triangular: the factor at the architectures themselves, whose
        # own diagonal has the noise. What is not told yet is as predicted: a row of 1.
        small = jnp.tril(state.factor[:, jnp.maximum(state.rows, 0)].T, -1)
        known = self._diagonal(state)
        small = jnp.where(state.told[:, None], small + jnp.diag(known), 0.0)
        small += jnp.diag(jnp.where(state.told, 0.0, 1.0))
        weights = jax.scipy.linalg.solve_triangular(small, values, lower=True)
        return weights @ state.factor + self.explore * jnp.sqrt(state.variance)

    def _diagonal(self, state: _State) -> Array:
        """Returns the roots of the variances when each was appended, float32[T]."""
        rows = jnp.maximum(state.rows, 0)
        own = state.factor[jnp.arange(len(rows)), rows]
        # line = beyond / d with beyond = d^2 - noise, so that d^2 - line d = noise.
        return 0.5 * (own + jnp.sqrt(jnp.square(own) + 4 * self.noise))


def _scores_of_told(state: _State) -> Array:
    """Returns the normal scores of the fitnesses that were told, float32[T], else 0."""
    told, fitness = state.told, state.fitness
    both = told[:, None] & told[None]
    below = (both & (fitness[:, None] > fitness[None])).sum(1)
    equal = (both & (fitness[:, None] == fitness[None])).sum(1)
    num = jnp.maximum(told.sum(), 1).astype(jnp.float32)
    share = (below.astype(jnp.float32) + 0.5 * equal.astype(jnp.float32)) / num
    scores = jnp.where(told, jax.scipy.stats.norm.ppf(jnp.where(told, share, 0.5)), 0.0)
    size = jnp.sqrt(jnp.square(scores).sum() / num)
    return scores / jnp.where(size > 0, size, 1.0)


def _by_fit(
    genes: Genes, codes: np.ndarray, process: _Process, first: int, most: int
) -> Search:
    num = len(codes)
    free = np.ones(num, bool)
    if genes.allowed is not None:
        with jax.ensure_compile_time_eval():  # also where a user's program makes it
            free = np.asarray(jax.vmap(genes.allowed)(jnp.asarray(codes)))

    def init(key: Array) -> _State:
        return _State(
            core=make_core(genes, key),
            rows=jnp.full(most, -1, jnp.int32),
            fitness=jnp.full(most, -jnp.inf, jnp.float32),
            told=jnp.zeros(most, bool),
            factor=jnp.zeros((most, num), jnp.float32),
            variance=jnp.ones(num, jnp.float32),
            used=jnp.zeros((), jnp.int32),
            fresh=jnp.asarray(free),
        )

    def ask(state: _State) -> tuple[_State, Array]:
        core, key = state.core.next_key()
        chance = jax.random.uniform(key, (num,))
        merits = jax.lax.cond(
            core.told < first, lambda _: chance, process.merits, state
        )
        row = jnp.where(state.fresh, merits, -jnp.inf).argmax().astype(jnp.int32)
        # When all that is allowed was asked for, the best is asked for again.
        left = state.fresh.any()
        code = jnp.where(left, jnp.asarray(codes)[row], core.code)
        state = state._replace(core=core, fresh=state.fresh.at[row].set(False))
        return process.appended(state, row), code

    def tell(state: _State, code: Array, fitness: Array) -> _State:
        fitness = genes.judged(code, fitness)
        state = state._replace(core=state.core.updated(code, fitness))
        same = (jnp.asarray(codes) == code[None]).all(1)
        row = same.argmax().astype(jnp.int32)
        waits = (state.rows == row) & ~state.told
        # What was not asked for is appended now, if it is a candidate at all.
        strange, end = same.any() & ~waits.any(), state.used
        state = jax.lax.cond(
            strange, process.appended, lambda same, _: same, state, row
        )
        # Behind the end, where nothing is kept, if there is no room or no candidate.
        place = jnp.where(strange, end, jnp.where(waits.any(), waits.argmax(), most))
        return state._replace(
            fitness=state.fitness.at[place].set(fitness, mode="drop"),
            told=state.told.at[place].set(True, mode="drop"),
            fresh=state.fresh & ~same,
        )

    return Search(init, ask, tell)
