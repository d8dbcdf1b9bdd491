"""Optuna itself asks for architectures and is told their scores."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxproxy.integrations import (
    Objectives,
    ask_block,
    distributions,
    known_trials,
    make_objectives,
    suggest_code,
    tell_block,
    to_params,
    to_trials,
)
from jaxproxy.proxies import Proxy
from jaxproxy.scoring import Scorer, make_scorer, search_live, sweep
from jaxproxy.search import Budget, intrain_nas, make_genes
from jaxproxy.spaces import nasbench101, nasbench201
from jaxproxy.types import Fidelity

optuna = pytest.importorskip("optuna", reason="optuna is not installed")

SPACE = nasbench201()
BUDGET = Budget(params=400_000)


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Any:
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(level)


def _scorer(*proxies: str, seeds: int = 1) -> Scorer:
    return make_scorer(
        SPACE,
        proxies,
        fidelity=Fidelity(4, 1, 4, 8),
        seeds=seeds,
        devices=1,
        block_size=8,
    )


@pytest.fixture(scope="module")
def scored() -> Objectives:
    """A forward proxy of a tiny network, and parameters; compiled once."""
    return make_objectives(_scorer("naswot"), ["params"])


def _study(objectives: Objectives, sampler: str, **options: Any) -> Any:
    make = getattr(optuna.samplers, sampler)
    return optuna.create_study(
        directions=objectives.directions, sampler=make(seed=0, **options)
    )


def _codes(trials: Any) -> np.ndarray:
    return np.array([[*trial.params.values()] for trial in trials])


@pytest.mark.parametrize("sampler", ["TPESampler", "RandomSampler"])
def test_blocks_of_a_proxy(sampler: str, scored: Objectives) -> None:
    """One objective of each direction; what was told is what the scorer gives."""
    assert scored.directions == ["maximize", "minimize"]
    study = _study(scored, sampler)
    for _ in range(3):
        trials, codes = ask_block(study, SPACE, 8)
        np.testing.assert_array_equal(codes, _codes(trials))
        assert codes.dtype == np.int32
        tell_block(study, trials, scored.score(codes))
    told = np.array([trial.values for trial in study.trials])
    codes = _codes(study.trials)
    np.testing.assert_array_equal(told, scored.score(codes))
    assert scored.scorer is not None
    assert scored.scorer.num_traces == 1
    for trial, code in zip(study.trials, codes, strict=True):
        assert trial.user_attrs == {"arch": SPACE.to_str(code)}
    # The front, by hand.
    losses = told * scored.signs
    dominated = [
        bool(((losses <= row).all(1) & (losses < row).any(1)).any()) for row in losses
    ]
    front = {trial.number for trial in study.best_trials}
    assert front == {*np.flatnonzero(~np.array(dominated))}


def test_tpe_learns_what_is_over_a_budget() -> None:
    """Others are pruned before they are scored, and TPE asks for fewer of them."""
    budget = Budget(params=250_000)  # a quarter of the space
    objectives = make_objectives(_scorer("macs"))
    study, values, refused = _study(objectives, "TPESampler"), [], []
    for _ in range(8):
        before = len(study.trials)
        trials, codes = ask_block(study, SPACE, 16, budget=budget)
        refused.append(len(study.trials) - before - 16)
        values.append(objectives.score(codes))
        tell_block(study, trials, values[-1])
    complete = [t for t in study.trials if t.state.name == "COMPLETE"]
    pruned = [t for t in study.trials if t.state.name == "PRUNED"]
    assert budget.within(SPACE, _codes(complete)).all()
    assert not budget.within(SPACE, _codes(pruned)).any()
    assert (len(complete), len(pruned)) == (128, sum(refused))
    assert refused[0] > 16 > max(refused[1:])
    assert np.mean(values[-2:]) > 1.2 * np.mean(values[:2])
    assert study.best_value == np.max(values)


def test_codes_that_are_no_architectures_are_pruned() -> None:
    space = nasbench101()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials, codes = ask_block(study, space, 20)
    space.check_codes(codes)
    pruned = [t for t in study.trials if t.state.name == "PRUNED"]
    assert pruned
    assert not space.valid(_codes(pruned)).any()
    tell_block(study, trials, space.num_params(codes))
    assert study.best_value == space.num_params(codes).min()


def test_nothing_in_a_budget_leaves_nothing_running() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    nothing = Budget(params=1)
    with pytest.raises(ValueError, match=r"of 140 codes .* 0 are architectures .*1,"):
        ask_block(study, SPACE, 2, budget=nothing)
    every = SPACE.enumerate()
    few = Budget(costs={SPACE.to_str(code): 0.0 for code in every[::50]}, cost=1.0)
    with pytest.raises(ValueError, match=r"of 280 codes .* [1-8] are .{,120} too rare"):
        ask_block(study, SPACE, 9, budget=few)
    assert {t.state.name for t in study.trials} == {"PRUNED", "FAIL"}


@pytest.mark.parametrize("sampler", ["TPESampler", "NSGAIISampler", "RandomSampler"])
def test_constraints_that_are_known_late(sampler: str) -> None:
    objectives = make_objectives(_scorer("params"))
    study = _study(objectives, sampler)
    limit = 400_000
    for _ in range(6):
        trials, codes = ask_block(study, SPACE, 8)
        params = SPACE.num_params(codes)
        tell_block(study, trials, params, constraints={"size": params - limit})
    values = np.array([trial.value for trial in study.trials])
    assert values.max() > limit
    assert study.best_value == values[values <= limit].max()


def test_what_has_no_value_is_pruned() -> None:
    study = optuna.create_study(direction="maximize")
    trials, _ = ask_block(study, SPACE, 4)
    tell_block(study, trials, np.array([1.0, np.nan, np.inf, 2.0]))
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE", "PRUNED", "PRUNED", "COMPLETE"]
    assert study.best_value == 2.0


def test_an_objective_of_ones_own() -> None:
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0)
    )

    def objective(trial: Any) -> float:
        return float(SPACE.num_params(suggest_code(trial, SPACE, budget=BUDGET)))

    study.optimize(objective, n_trials=30)
    within = BUDGET.within(SPACE, _codes(study.trials))
    assert 0 < within.sum() < 30
    states = [trial.state.name == "COMPLETE" for trial in study.trials]
    np.testing.assert_array_equal(states, within)
    best = SPACE.from_str(study.best_trial.user_attrs["arch"])
    assert study.best_value == SPACE.num_params(best) <= 400_000


def test_a_run_is_imported(tmp_path: Path, scored: Objectives) -> None:
    """Its rows are complete trials, from which TPE goes on at once."""
    codes = SPACE.sample(np.random.default_rng(1), 12)
    assert scored.scorer is not None
    twice = np.concatenate([codes, codes[:3]])
    run = sweep(scored.scorer, twice, tmp_path / "run", progress=False)
    study = _study(scored, "TPESampler", n_startup_trials=12)
    study.add_trials(to_trials(run, scored))
    np.testing.assert_array_equal(_codes(study.trials), codes)
    expected = scored.score(codes)
    np.testing.assert_array_equal([t.values for t in study.trials], expected)
    best = max(study.trials, key=lambda trial: trial.values[0])
    assert best.user_attrs["arch"] == SPACE.to_str(codes[expected[:, 0].argmax()])
    trials, asked = ask_block(study, SPACE, 4)
    tell_block(study, trials, scored.score(asked))
    assert len(study.trials) == 16
    # Costs alone take any run of the space.
    costs = make_objectives(SPACE, ["macs"])
    values = [trial.values for trial in to_trials(run, costs)]
    np.testing.assert_array_equal(values, SPACE.num_macs(codes)[:, None])


def test_a_search_is_imported(tmp_path: Path) -> None:
    """What it asked for twice is one trial; what has no valid score is pruned."""
    even = Proxy("even", count=lambda space, c: np.where(c[:, 0] % 2, np.nan, c.sum(1)))
    scorer = make_scorer(SPACE, [even, "macs"], fidelity=Fidelity(4, 1, 4, 8))
    genes = make_genes(SPACE)
    out = tmp_path / "run"
    run = search_live(
        intrain_nas(genes, k=1), genes, scorer, out, budget=40, together=8
    ).run
    objectives = make_objectives(scorer, ["macs"])
    assert objectives.directions == ["maximize", "minimize"]
    trials = to_trials(run, objectives)
    archs = run.table(["arch"])["arch"].to_pylist()
    assert len(set(archs)) < 40
    assert [t.user_attrs["arch"] for t in trials] == [*dict.fromkeys(archs)]
    values = objectives.score(_codes(trials))
    known = np.isfinite(values).all(1)
    assert 0 < known.sum() < len(known)
    for trial, row, valid in zip(trials, values.tolist(), known, strict=True):
        assert trial.state.name == ("COMPLETE" if valid else "PRUNED")
        assert trial.values == (row if valid else None)


def test_a_run_of_other_numbers_is_refused(tmp_path: Path, scored: Objectives) -> None:
    codes = SPACE.sample(np.random.default_rng(1), 3)
    run = sweep(_scorer("params", seeds=2), codes, tmp_path / "run", progress=False)
    with pytest.raises(ValueError, match=r"seeds=\[0, 1\], but the obj.*seeds=\[0\]"):
        to_trials(run, scored)
    other = make_objectives(nasbench101(), ["params"])
    with pytest.raises(ValueError, match=r"'nasbench201', but .* space='nasbench101'"):
        to_trials(run, other)


def test_known_and_enqueued() -> None:
    codes = SPACE.sample(np.random.default_rng(2), 5)
    study = optuna.create_study(direction="maximize")
    values = np.array([3.0, np.nan, 1.0])
    study.add_trials(known_trials(SPACE, codes[:3], values))
    assert [t.state.name for t in study.trials] == ["COMPLETE", "PRUNED", "COMPLETE"]
    assert study.best_value == 3.0
    for code in codes[3:]:
        study.enqueue_trial(to_params(code))
    _, asked = ask_block(study, SPACE, 3)
    np.testing.assert_array_equal(asked[:2], codes[3:])


def test_what_cannot_be_is_said() -> None:
    study = optuna.create_study()
    with pytest.raises(ValueError, match="n is an integer from 1"):
        ask_block(study, SPACE, 0)
    trials, _ = ask_block(study, SPACE, 2)
    with pytest.raises(ValueError, match=r"float\[2\] or float\[2, M\], not \[3, 1\]"):
        tell_block(study, trials, np.zeros(3))
    with pytest.raises(ValueError, match="2 values of a trial, but the study has 1"):
        tell_block(study, trials, np.zeros((2, 2)))
    late = {"size": np.array([1.0, np.nan])}
    with pytest.raises(ValueError, match="constraint 'size' is 2 numbers, not NaN"):
        tell_block(study, trials, np.zeros(2), constraints=late)
    assert {trial.state.name for trial in study.trials} == {"RUNNING"}
    tell_block(study, trials, np.zeros(2))


def test_without_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxproxy\[optuna\]'") as found:
        distributions(SPACE)
    assert "\n" not in str(found.value)
