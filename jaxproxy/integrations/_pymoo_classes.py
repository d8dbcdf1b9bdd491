"""Subclasses of pymoo's; the only file that needs it (host code)."""

from collections.abc import Callable
from typing import Any

import numpy as np
from pymoo.core.crossover import Crossover
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.mutation import Mutation
from pymoo.core.problem import Problem
from pymoo.core.sampling import Sampling

from jaxproxy.integrations._objectives import Objectives
from jaxproxy.search import Budget
from jaxproxy.spaces import Space

# How far above a limit something is that has no cost.
_FAR = 1e6


class ArchitectureProblem(Problem):
    """Codes in, objectives and constraints out; see :func:`make_problem`."""

    def __init__(self, objectives: Objectives, budget: Budget) -> None:
        """Has one constraint more than the budget has limits."""
        self.objectives, self.budget = objectives, budget
        choices = np.array(objectives.space.choices)
        limits = (budget.params, budget.macs, budget.cost)
        super().__init__(
            n_var=len(choices),
            n_obj=len(objectives.names),
            n_ieq_constr=1 + sum(limit is not None for limit in limits),
            xl=np.zeros(len(choices)),
            xu=choices - 1.0,
            vtype=int,
        )

    def _evaluate(self, x: np.ndarray, out: Any, *args: Any, **kwargs: Any) -> None:
        if not np.issubdtype(np.asarray(x).dtype, np.integer):
            raise ValueError(
                "codes are integers: give the algorithm **make_operators(space), not "
                "operators of real numbers"
            )
        codes = self.objectives.space.check_codes(x)
        excess = excess_of(self.objectives.space, codes, self.budget)
        within = (excess <= 0).all(1)
        values = np.full((len(codes), self.n_obj), np.nan)
        values[within] = self.objectives.score(codes[within])
        unknown = within & np.isnan(values).any(1)
        values[unknown] = np.nan
        out["F"] = values * self.objectives.signs
        out["G"] = np.column_stack([unknown, excess]).astype(float)


def excess_of(space: Space, codes: np.ndarray, budget: Budget) -> np.ndarray:
    """Returns float64[n, L], by which part of it codes are above each limit."""
    columns = []
    for limit, count in (
        (budget.params, space.num_params),
        (budget.macs, space.num_macs),
        (budget.cost, lambda codes: _costs(space, codes, budget)),
    ):
        if limit is not None:
            above = np.asarray(count(codes), float) - limit
            columns.append(np.minimum(above / (abs(limit) or 1), _FAR))
    return np.stack(columns, 1) if columns else np.zeros((len(codes), 0))


def _costs(space: Space, codes: np.ndarray, budget: Budget) -> np.ndarray:
    costs = budget.costs or {}
    return np.array([costs.get(space.to_str(code), np.inf) for code in codes])


class SpaceSampling(Sampling):
    """The first population: what ``space.sample`` draws."""

    def __init__(self, space: Space) -> None:
        """Of a space."""
        super().__init__()
        self.space = space

    def _do(
        self,
        problem: Problem,
        n_samples: int,
        *args: Any,
        random_state: Any = None,
        **kwargs: Any,
    ) -> Any:
        return self.space.sample(random_state, n_samples)


class SpaceCrossover(Crossover):
    """One child of two parents, every gene from one of them."""

    def __init__(self, space: Space) -> None:
        """Of a space."""
        super().__init__(n_parents=2, n_offsprings=1, prob=0.9)
        self.space = space

    def _do(
        self,
        problem: Problem,
        X: np.ndarray,  # as pymoo calls it
        *args: Any,
        random_state: Any = None,
        **kwargs: Any,
    ) -> Any:
        one, other = (self.space.check_codes(parents) for parents in X)
        return np.stack(
            [
                _or_parent(a, lambda a=a, b=b: self.space.crossover(random_state, a, b))
                for a, b in zip(one, other, strict=True)
            ]
        )[None]


class SpaceMutation(Mutation):
    """One gene of another value."""

    def __init__(self, space: Space) -> None:
        """Of a space."""
        super().__init__(prob=1.0)
        self.space = space

    def _do(
        self,
        problem: Problem,
        X: np.ndarray,  # as pymoo calls it
        *args: Any,
        random_state: Any = None,
        **kwargs: Any,
    ) -> np.ndarray:
        codes = self.space.check_codes(X)
        return np.stack(
            [
                _or_parent(c, lambda c=c: self.space.mutate(random_state, c))
                for c in codes
            ]
        )


class SpaceDuplicates(DuplicateElimination):
    """Keeps the first of equal architectures, or of isomorphic ones."""

    def __init__(self, space: Space, classes: bool) -> None:
        """Of a space, by classes or by codes."""
        super().__init__()
        self.space, self.classes = space, classes

    def _do(self, pop: Any, other: Any, is_duplicate: np.ndarray) -> np.ndarray:
        seen = set() if other is None else {*self._keys(other)}
        for row, key in enumerate(self._keys(pop)):
            is_duplicate[row] = key in seen
            if other is None:
                seen.add(key)
        return is_duplicate

    def _keys(self, pop: Any) -> list[bytes]:
        codes = np.asarray(pop.get("X")).astype(np.int32)
        codes = self.space.canonical(codes) if self.classes else codes
        return [code.astype(np.int32).tobytes() for code in codes]


def _or_parent(parent: np.ndarray, make: Callable[[], np.ndarray]) -> np.ndarray:
    """Returns what is made of a parent that has been checked, or else the parent."""
    try:
        return make()
    except ValueError:  # nothing that can be made of it is an architecture
        return parent
