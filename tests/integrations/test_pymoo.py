"""pymoo itself searches a space, by its operators and under constraints."""

import dataclasses
import sys
from typing import Any

import numpy as np
import pytest

from jaxproxy.integrations import (
    Objectives,
    make_objectives,
    make_operators,
    make_problem,
)
from jaxproxy.scoring import make_scorer
from jaxproxy.search import Budget
from jaxproxy.spaces import Constraint, nasbench101, nasbench201, nasbench_nlp
from jaxproxy.types import Fidelity

pytest.importorskip("pymoo", reason="pymoo is not installed")

from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.moo.nsga3 import NSGA3
from pymoo.algorithms.soo.nonconvex.ga import GA
from pymoo.core.population import Population
from pymoo.optimize import minimize
from pymoo.util.ref_dirs import get_reference_directions

SPACE = nasbench201()


@pytest.fixture(scope="module")
def scored() -> Objectives:
    """A forward proxy of a tiny network, and parameters; compiled once."""
    size = Fidelity(4, 1, 4, 8)
    scorer = make_scorer(SPACE, ["naswot"], fidelity=size, devices=1, block_size=8)
    return make_objectives(scorer, ["params"])


def _solve(problem: Any, algorithm: Any, n_gen: int) -> tuple[Any, list, list, list]:
    """Returns the result, and codes, objectives and constraints of each call."""
    codes, values, constraints = [], [], []

    def record(x: np.ndarray, out: dict[str, np.ndarray]) -> None:
        codes.append(np.array(x))
        values.append(out["F"])
        constraints.append(out["G"])

    problem.callback = record
    result = minimize(problem, algorithm, ("n_gen", n_gen), seed=1)
    return result, codes, values, constraints


def _front(losses: np.ndarray) -> set[tuple[float, ...]]:
    rows = {*map(tuple, losses.tolist())}
    return {
        row
        for row in rows
        if not any(np.all(np.less_equal(o, row)) for o in rows - {row})
    }


def _nsga2(space: Any, pop_size: int = 24, **options: Any) -> NSGA2:
    return NSGA2(pop_size=pop_size, **make_operators(space, **options))


def test_the_front_is_that_of_all_it_evaluated(scored: Objectives) -> None:
    problem = make_problem(scored)
    result, codes, values, constraints = _solve(problem, _nsga2(SPACE), 6)
    # A population is one call; the first has lost its duplicates.
    assert [len(block) for block in codes[1:]] == [24] * 5
    assert 20 < len(codes[0]) <= 24
    every, losses = np.concatenate(codes), np.concatenate(values)
    SPACE.check_codes(every)
    assert (np.concatenate(constraints) <= 0).all()
    np.testing.assert_array_equal(losses * scored.signs, scored.score(every))
    assert scored.scorer is not None
    assert scored.scorer.num_traces == 1
    front = _front(losses)
    assert 1 < len(front) < 24
    assert {*map(tuple, result.F.tolist())} == front
    np.testing.assert_array_equal(result.F * scored.signs, scored.score(result.X))


def test_no_class_is_evaluated_twice_in_a_population(scored: Objectives) -> None:
    _, codes, _, _ = _solve(make_problem(scored), _nsga2(SPACE), 4)
    for block in codes:
        assert len(np.unique(SPACE.canonical(block), axis=0)) == len(block)


def test_a_seed_is_a_search(scored: Objectives) -> None:
    found = [_solve(make_problem(scored), _nsga2(SPACE), 3)[1] for _ in range(2)]
    np.testing.assert_array_equal(*map(np.concatenate, found))


def test_a_budget_is_respected_and_what_is_above_is_not_scored() -> None:
    asked = []

    def cells(codes: np.ndarray) -> np.ndarray:
        asked.append(codes)
        return -(codes > 1).sum(1)

    every = SPACE.enumerate()
    table = {SPACE.to_str(code): float(code.sum()) for code in every[::2]}
    budget = Budget(params=500_000, macs=70_000_000, costs=table, cost=14.0)
    objectives = make_objectives(SPACE, {"cells": cells, "latency": table})
    problem = make_problem(objectives, budget=budget)
    result, codes, values, constraints = _solve(problem, _nsga2(SPACE, 30), 12)
    above = (np.concatenate(constraints) > 0).any(1)
    within = budget.within(SPACE, np.concatenate(codes))
    np.testing.assert_array_equal(~above, within)
    assert 0 < within.sum() < len(within)
    assert budget.within(SPACE, np.concatenate(asked)).all()
    assert budget.within(SPACE, result.X).all()
    losses = np.concatenate(values)
    assert np.isnan(losses[~within]).all()
    assert {*map(tuple, result.F.tolist())} == _front(losses[within])


@pytest.mark.parametrize("name", ["params", "macs", "cost"])
def test_every_limit_is_a_constraint(name: str) -> None:
    every = SPACE.enumerate()[::7]
    table = {SPACE.to_str(code): float(code.sum()) for code in every[::2]}
    limits = {"params": 400_000, "macs": 60_000_000, "cost": 12.0}
    budget = Budget(**{name: limits[name]}, costs=table)
    problem = make_problem(make_objectives(SPACE, ["params"]), budget=budget)
    _, constraints = problem.evaluate(every)
    within = budget.within(SPACE, every)
    assert 0 < within.sum() < len(every)
    np.testing.assert_array_equal((constraints <= 0).all(1), within)
    assert np.isfinite(constraints).all()


def test_where_nothing_is_within_a_budget_there_is_no_front() -> None:
    objectives = make_objectives(SPACE, ["params", "macs"])
    problem = make_problem(objectives, budget=Budget(params=1))
    result, codes, _, _ = _solve(problem, _nsga2(SPACE), 3)
    assert result.F is None
    assert len(codes) == 3


def test_what_has_no_score_is_in_no_front() -> None:
    def half(codes: np.ndarray) -> np.ndarray:
        return np.where(codes[:, 0] % 2, np.nan, -codes.sum(1))

    objectives = make_objectives(SPACE, {"half": half, "params": SPACE.num_params})
    result, codes, values, _ = _solve(make_problem(objectives), _nsga2(SPACE, 30), 6)
    known = np.concatenate(codes)[:, 0] % 2 == 0
    assert 0 < known.sum() < len(known)
    assert (result.X[:, 0] % 2 == 0).all()
    assert {*map(tuple, result.F.tolist())} == _front(np.concatenate(values)[known])


def test_other_algorithms_and_a_space_of_constraints() -> None:
    space = nasbench101()
    objectives = make_objectives(space, ["params", "macs"])
    directions = get_reference_directions("das-dennis", 2, n_partitions=11)
    algorithm = NSGA3(directions, pop_size=16, **make_operators(space))
    _, codes, _, _ = _solve(make_problem(objectives), algorithm, 5)
    space.check_codes(np.concatenate(codes))
    one = make_objectives(space, ["params"])
    algorithm = GA(pop_size=16, **make_operators(space))
    result, codes, values, _ = _solve(make_problem(one), algorithm, 5)
    space.check_codes(np.concatenate(codes))
    assert result.F[0] == np.concatenate(values).min()


def test_where_there_is_no_child_it_is_a_parent() -> None:
    space = nasbench_nlp()
    parents = space.sample(np.random.default_rng(0), 4)
    operators = make_operators(space)
    pop = Population.new("X", parents)
    problem = make_problem(make_objectives(space, ["params"]))
    rng = np.random.default_rng(0)
    children = operators["crossover"](
        problem, pop, parents=np.array([[0, 1], [2, 3]]), random_state=rng
    )
    space.check_codes(np.array(children.get("X")))
    few = Constraint(lambda codes: (codes == 0).all(-1) | (codes == 2).all(-1))
    lonely = dataclasses.replace(SPACE, constraint=few, enumerate=None)
    pop = Population.new("X", np.zeros((3, 6), int))
    same = make_operators(lonely)["mutation"](problem, pop, random_state=rng)
    assert (np.array(same.get("X")) == 0).all()


def test_classes_and_codes() -> None:
    """Cells without a way through a node are one class, whatever is behind it."""
    codes = SPACE.enumerate()
    keys = SPACE.canonical(codes)
    _, row, size = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    twins = codes[row.reshape(-1) == size.argmax()][:2]
    pop = Population.new("X", np.concatenate([twins, twins[:1]]))
    by_class = make_operators(SPACE)["eliminate_duplicates"]
    by_code = make_operators(SPACE, distinct="code")["eliminate_duplicates"]
    np.testing.assert_array_equal(by_class.do(pop).get("X"), twins[:1])
    np.testing.assert_array_equal(by_code.do(pop).get("X"), twins)
    old = Population.new("X", twins[1:])
    assert len(by_class.do(pop, old)) == 0
    np.testing.assert_array_equal(by_code.do(pop, old).get("X"), twins[:1])
    with pytest.raises(ValueError, match=r"unknown distinct 'edge'; choose from \['cl"):
        make_operators(SPACE, distinct="edge")  # pyrefly: ignore


def test_operators_of_real_numbers_are_refused(scored: Objectives) -> None:
    with pytest.raises(ValueError, match=r"give the algorithm \*\*make_operators\(spa"):
        minimize(make_problem(scored), NSGA2(pop_size=4), ("n_gen", 1))


def test_without_pymoo(monkeypatch: pytest.MonkeyPatch, scored: Objectives) -> None:
    monkeypatch.delitem(sys.modules, "jaxproxy.integrations._pymoo_classes")
    monkeypatch.delattr("jaxproxy.integrations._pymoo_classes")
    monkeypatch.setitem(sys.modules, "pymoo.core.crossover", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxproxy\[pymoo\]'") as found:
        make_problem(scored)
    assert "\n" not in str(found.value)
    with pytest.raises(ImportError, match="pymoo"):
        make_operators(SPACE)
