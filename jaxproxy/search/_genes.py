"""A space as a search sees it: random moves over its codes, as functions of numbers.

What a :class:`~jaxproxy.spaces.Space` does on the host, one code and a generator at a
time, is here a function of uniform random numbers that can be jitted and vmapped, so
that a whole search is one program.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxproxy.search._budget import Budget, make_allowed, make_cost, make_sampler
from jaxproxy.spaces import Space

_TOGETHER, _ROUNDS = 16, 64


class Genes(NamedTuple):
    """The codes of a space, and which of them are wanted."""

    choices: tuple[int, ...]
    """Number of values of each gene."""
    allowed: Callable[[Array], Array] | None = None
    """code int32[G] -> whether it is an architecture within the budget, bool[]."""
    rates: tuple[float, ...] | None = None
    """How often each gene is the one that a mutation changes; None for equally."""
    sampler: Callable[[Array], Array] | None = None
    """key -> random code int32[G], where few combinations are architectures."""
    cost: Callable[[Array], Array] | None = None
    """code int32[G] -> what it costs, float[], for searches that weigh it."""
    mutation: Callable[[Array, Array], Array] | None = None
    """(key, code int32[G]) -> a changed code, in place of one gene of another value."""

    def random(self, key: Array) -> Array:
        """Returns a random code int32[G], uniform but for a sampler, allowed or not."""
        if self.sampler is not None:
            return self.sampler(key)
        return jax.random.randint(key, (len(self.choices),), 0, _array(self.choices))

    def mutate(self, key: Array, code: Array) -> Array:
        """Returns a copy of a code int32[G] with one gene of another value.

        Which gene follows :attr:`rates`; its other values are equally likely. Genes
        that have a :attr:`mutation` change as that says.
        """
        if self.mutation is not None:
            return self.mutation(key, code)
        u = jax.random.uniform(key, (2,))
        gene = jnp.searchsorted(jnp.asarray(self._steps()), u[0], side="right")
        num = _array(self.choices)[gene]
        # A non-zero step reaches every other value equally.
        step = 1 + jnp.minimum(
            (u[1] * (num - 1).astype(u.dtype)).astype(jnp.int32), num - 2
        )
        return code.at[gene].set((code[gene] + step) % num)

    def crossover(self, key: Array, a: Array, b: Array) -> Array:
        """Returns a code int32[G] with every gene from one of two parents."""
        return jnp.where(jax.random.bernoulli(key, shape=a.shape), a, b)

    def neighbours(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the moves to all codes that differ in one gene.

        Returns:
          Which gene each of the M moves changes and by how much, int32[M] each; a
          gene of n values has n - 1 moves.
        """
        moves = [(g, s) for g, n in enumerate(self.choices) for s in range(1, n)]
        genes, steps = np.array(moves, np.int32).T
        return genes, steps

    def moved(self, code: Array) -> Array:
        """Returns all codes that differ from one in one gene, int32[M, G]."""
        genes, steps = self.neighbours()
        rows, sizes = np.arange(len(genes)), np.array(self.choices, np.int32)[genes]
        near = jnp.tile(code, (len(genes), 1))
        return near.at[rows, genes].set((code[genes] + steps) % sizes)

    def rank(self, codes: Array) -> Array:
        """Returns the lexicographic rank int32[...] of codes int32[..., G].

        Raises:
          ValueError: there are more codes than an int32 can count.
        """
        sizes = np.cumprod([1, *self.choices[:0:-1]], dtype=object)[::-1]
        if sizes[0] * self.choices[0] > np.iinfo(np.int32).max:
            raise ValueError(
                f"{sizes[0] * self.choices[0]} codes have no rank of 32 bits; a table "
                "is for smaller spaces"
            )
        sizes = jnp.asarray(sizes.astype(np.int32))
        return (codes * jnp.broadcast_to(sizes, codes.shape)).sum(-1)

    def draw(
        self, key: Array, propose: Callable[[Array], Array], otherwise: Array
    ) -> tuple[Array, Array]:
        """Returns the first allowed of some proposals, and how many were refused.

        Sixteen at a time, at most 1,024: a search that nothing suits must end.

        Args:
          key: of the proposals.
          propose: key -> code int32[G].
          otherwise: code int32[G] if no proposal is allowed.
        """
        if self.allowed is None:
            return propose(key), jnp.zeros((), jnp.int32)
        allowed = self.allowed

        def more(state: tuple[Array, Array, Array, Array]) -> Array:
            _, _, found, refused = state
            return ~found & (refused < _TOGETHER * _ROUNDS)

        def again(state: tuple[Array, ...]) -> tuple[Array, Array, Array, Array]:
            key, _, _, refused = state
            key, now = jax.random.split(key)
            codes = jax.vmap(propose)(jax.random.split(now, _TOGETHER))
            good = jax.vmap(allowed)(codes)
            first = good.argmax()
            found = good[first]
            code = jnp.where(found, codes[first], otherwise)
            return key, code, found, refused + jnp.where(found, first, _TOGETHER)

        none = jnp.zeros((), jnp.int32)
        start = key, otherwise, jnp.zeros((), bool), none
        _, code, _, refused = lax.while_loop(more, again, start)
        return code, refused.astype(jnp.int32)

    def judged(self, code: Array, fitness: Array) -> Array:
        """Returns a fitness as float32[], -inf if it is not finite or not allowed.

        Of several, float[K], all are -inf if one is not finite.
        """
        fitness = jnp.asarray(fitness, jnp.float32)
        good = jnp.isfinite(fitness).all()
        if self.allowed is not None:
            good &= self.allowed(code)
        return jnp.where(good, fitness, -jnp.inf)

    def _steps(self) -> np.ndarray:
        """Returns the upper ends of the genes' shares of [0, 1), float32[G]."""
        free = np.array(self.choices) > 1
        rates = free / free.sum() if self.rates is None else np.array(self.rates)
        return np.cumsum(rates)[:-1].astype(np.float32)


def make_genes(
    space: Space,
    *,
    budget: Budget | None = None,
    allowed: Callable[[Array], Array] | None = None,
    rates: Sequence[float] | None = None,
    cost: Callable[[Array], Array] | Mapping[str, float] | None = None,
    mutation: Callable[[Array, Array], Array] | None = None,
) -> Genes:
    """Returns the genes of a space for the searches of this package.

    Whether an architecture is within a budget is counted on the device where the space
    can (:attr:`~jaxproxy.spaces.Space.on_device`), looked up in a table of all codes
    where they are at most 65,536, and otherwise asked of the host, which is slower.

    Args:
      space: what is searched.
      budget: what an architecture may cost; None for no limit.
      allowed: code int32[G] -> bool[], in terms of ``jax.numpy``: in place of asking
        the host, whether it is an architecture and within the budget.
      rates: probability of each gene to be the one that a mutation changes, summing to
        one; None for equal ones. The evolution of NAS-Bench-201's authors draws a node
        and then one of its edges: ``(1/3, 1/6, 1/6, 1/9, 1/9, 1/9)``.
      cost: code int32[G] -> float[], not negative, in terms of ``jax.numpy``; or string
        -> cost, such as a latency, infinite for what is not there; by default the
        multiply-adds, or the parameters where the space does not count those.
      mutation: (key, code int32[G]) -> code int32[G], in terms of ``jax.numpy``: what a
        mutation is, in place of one gene of another value. That of ZenNAS is
        :func:`~jaxproxy.spaces.mobilenetv2_mutation`.

    Raises:
      ValueError: no gene has a choice, a budget beside ``allowed``, rates beside a
        mutation, a limit on what the space does not count, or rates that are no
        probabilities of its genes.
    """
    if rates is not None and mutation is not None:
        raise ValueError("give rates= or mutation=, not both")
    if budget is not None and allowed is not None:
        raise ValueError("give budget= or allowed=, not both")
    counted = space.counts is not None and space.counts.macs is not None
    if budget is not None and budget.macs is not None and not counted:
        raise ValueError(f"{space.name} does not count its multiply-adds")
    sampler = make_sampler(space)
    if allowed is None and (space.constraint is not None or budget is not None):
        allowed = make_allowed(space, budget or Budget())
    free = np.array(space.choices) > 1
    if not free.any():
        raise ValueError(f"no gene of {space.name} has a choice")
    if rates is not None:
        given = np.asarray(rates, float)
        wrong = given.shape != free.shape or (given < 0).any() or given[~free].any()
        if wrong or not np.isclose(given.sum(), 1):
            raise ValueError(
                f"rates of {space.name} are {len(free)} probabilities that sum to one, "
                f"0 for genes without a choice; got {list(rates)}"
            )
    named = None if rates is None else tuple(rates)
    if not callable(cost):
        cost = make_cost(space, cost)
    return Genes(space.choices, allowed, named, sampler, cost, mutation)


def _array(choices: tuple[int, ...]) -> Array:
    return jnp.array(choices, jnp.int32)
