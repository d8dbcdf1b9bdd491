"""What a search is: three pure functions on a state, and the loop that runs them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.search._genes import Genes

State = Any


class Search(NamedTuple):
    """Proposes architectures and learns how good they were; jittable and vmappable.

    A state is a pytree whose field ``core`` is a :class:`Core`; a whole run is a
    function of its key.
    """

    init: Callable[[Array], State]
    """key -> state, before anything was asked."""
    ask: Callable[[State], tuple[State, Array]]
    """state -> state, code int32[G] to be scored next."""
    tell: Callable[[State, Array, Array], State]
    """state, code int32[G], fitness float[] -> state. Higher is better; what is not
    finite or not allowed counts as told, and is never a parent nor the best. Codes that
    were not asked for may be told as well."""
    together: bool = True
    """Whether several codes may be asked for before the first is told."""
    scores: int = 1
    """How many fitnesses an architecture is told with: float[] for one, float[scores]
    for several. Where one of several is not finite, none of them counts."""
    objectives: int = 1
    """How many are weighed against each other: of the scores that it is told, and one
    more where the cost of the genes is the last. More than one if it seeks a front."""


class Core(NamedTuple):
    """What every search keeps."""

    key: Array
    told: Array
    """How many fitnesses it knows, int32[]."""
    refused: Array
    """How many of its proposals were not allowed and drawn again, int32[]."""
    code: Array
    """The best so far, int32[G]; of equals, the first."""
    fitness: Array
    """Its fitness float32[], -inf as long as none was finite; a search that is told
    several says which, or what of them, it is."""

    def next_key(self) -> tuple["Core", Array]:
        """Returns the core with another key, and a key to use."""
        key, now = jax.random.split(self.key)
        return self._replace(key=key), now

    def draw(
        self, genes: Genes, propose: Callable[[Array], Array], otherwise: Array
    ) -> tuple["Core", Array]:
        """Returns the core, and the first allowed of what is proposed."""
        core, key = self.next_key()
        code, refused = genes.draw(key, propose, otherwise)
        return core._replace(refused=core.refused + refused), code

    def updated(self, code: Array, fitness: Array) -> "Core":
        """Returns the core with one more judged fitness."""
        better = (fitness > self.fitness) | (self.told == 0)
        return self._replace(
            told=self.told + 1,
            code=jnp.where(better, code, self.code),
            fitness=jnp.where(better, fitness, self.fitness),
        )


def make_core(genes: Genes, key: Array) -> Core:
    """Returns the core of a search that has begun with nothing."""
    none = jnp.zeros((), jnp.int32)
    nowhere = jnp.zeros(len(genes.choices), jnp.int32)
    return Core(key, none, none, nowhere, jnp.full((), -jnp.inf, jnp.float32))


class Trace(NamedTuple):
    """Everything that a run scored, in order."""

    codes: Array
    """int32[T, G]"""
    fitness: Array
    """float32[T], or float32[T, scores], as it was told."""
    state: State
    """Of the search at the end."""


def run(
    search: Search, score: Callable[[Array], Array], budget: int, key: Array
) -> Trace:
    """Returns the trace of a whole search, ``budget`` evaluations long.

    A pure function of the key: under ``jax.vmap`` over keys, as many searches are one
    program, each as it would be alone.

    Args:
      search: what to run.
      score: code int32[G] -> fitness float[], or float[scores] if the search is told
        several.
      budget: how many architectures are scored.
      key: of the run.

    Raises:
      ValueError: a budget below one, or a score of another shape than the search is
        told.
    """
    if budget < 1:
        raise ValueError(f"a search needs a budget of at least 1, not {budget}")
    shape = (search.scores,) if search.scores > 1 else ()

    def step(state: State, _: None) -> tuple[State, tuple[Array, Array]]:
        state, code = search.ask(state)
        fitness = jnp.asarray(score(code), jnp.float32)
        if fitness.shape != shape:
            raise ValueError(
                f"this search is told float{list(shape)} of an architecture, but its "
                f"score is float{list(fitness.shape)}"
            )
        return search.tell(state, code, fitness), (code, fitness)

    state, (codes, fitness) = lax.scan(step, search.init(key), None, length=budget)
    return Trace(codes, fitness, state)
