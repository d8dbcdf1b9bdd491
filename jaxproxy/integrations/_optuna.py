"""Optuna asks for architectures in blocks and is told their scores (host code).

A gene is a categorical parameter, ``gene0`` and so on, of the integers that it may be.
What is no architecture, or over a budget, is told as pruned before it is scored.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxproxy.integrations._objectives import Objectives
from jaxproxy.options import check_counts
from jaxproxy.runs import Run
from jaxproxy.search import Budget
from jaxproxy.spaces import Space

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Trial

_NO_LIMIT = Budget()
# What a manifest says of a scorer beside that which decides on its numbers.
_FREE = {"proxies", "lower_is_better", "meters"}


def distributions(space: Space) -> "dict[str, BaseDistribution]":
    """Returns the parameters of a space's codes, as ``study.ask`` takes them.

    Raises:
      ImportError: Optuna is not installed.
    """
    categorical = _optuna().distributions.CategoricalDistribution
    return {
        _gene(place): categorical(tuple(range(num)))
        for place, num in enumerate(space.choices)
    }


def to_params(code: np.ndarray) -> dict[str, int]:
    """Returns a code int[G] as parameters, such as ``study.enqueue_trial`` takes."""
    return {_gene(place): int(gene) for place, gene in enumerate(code)}


def suggest_code(
    trial: "Trial", space: Space, *, budget: Budget = _NO_LIMIT
) -> np.ndarray:
    """Returns the code int32[G] that a trial suggests, inside an objective function.

    Args:
      trial: as the objective gets it.
      space: of the architectures.
      budget: what an architecture may cost.

    Raises:
      TrialPruned: it is no architecture or over the budget, which ``study.optimize``
        takes as it is meant.
      ImportError: Optuna is not installed.
    """
    pruned = _optuna().TrialPruned
    choices = enumerate(space.choices)
    genes = [trial.suggest_categorical(_gene(g), [*range(n)]) for g, n in choices]
    code = np.array(genes, np.int32)
    if not budget.within(space, code):
        raise pruned(f"{code.tolist()} is no architecture or over the budget")
    trial.set_user_attr("arch", space.to_str(code))
    return code


def ask_block(
    study: "optuna.Study", space: Space, n: int, *, budget: Budget = _NO_LIMIT
) -> "tuple[list[Trial], np.ndarray]":
    """Returns n trials and their codes int32[n, G], all within the budget.

    The trials are running until :func:`tell_block`. Others that the study asked for
    meanwhile are told as pruned, without a value: TPE learns to avoid them, other
    samplers ignore them. The user attribute ``arch`` of a trial is its string.

    Args:
      study: what asks.
      space: of the architectures.
      n: how many trials.
      budget: what an architecture may cost.

    Raises:
      ValueError: an ``n`` below one, or almost nothing that is asked for is within the
        budget; no trial is left running.
      ImportError: Optuna is not installed.
    """
    check_counts(n=n)
    parameters, states = distributions(space), _optuna().trial.TrialState
    trials, codes, tries = [], [], 100 + 20 * n
    for _ in range(tries):
        trial = study.ask(parameters)
        code = _code(trial.params, space)
        if budget.within(space, code):
            trial.set_user_attr("arch", space.to_str(code))
            trials.append(trial)
            codes.append(code)
        else:
            study.tell(trial, state=states.PRUNED)
        if len(trials) == n:
            return trials, np.stack(codes)
    for trial in trials:
        study.tell(trial, state=states.FAIL)
    limits = budget._replace(costs=None)._asdict()  # a table would be long
    raise ValueError(
        f"of {tries} codes that the study asked for, {len(trials)} are architectures "
        f"of {space.name} within {limits}: what is asked for is too rare"
    )


def tell_block(
    study: "optuna.Study",
    trials: "Sequence[Trial]",
    values: np.ndarray,
    *,
    constraints: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Tells a study the values of the trials that :func:`ask_block` gave.

    Trials without a value, or with one that is not finite, are told as pruned.

    Args:
      study: what asked.
      trials: n of them.
      values: float[n], or float[n, M] in the order of the study's directions; a score
        is told as it is, and the study's direction says whether high is good.
      constraints: name -> float[n], what is only known once an architecture has been
        evaluated, as Optuna has it: a value above zero breaks the constraint, and the
        trial is never the best.

    Raises:
      ValueError: not n values, not M objectives, or a constraint that is NaN.
      ImportError: Optuna is not installed.
    """
    states = _optuna().trial.TrialState
    values = _table(values, len(trials))
    if values.shape[1] != len(study.directions):
        raise ValueError(
            f"{values.shape[1]} values of a trial, but the study has "
            f"{len(study.directions)} directions"
        )
    broken = {}
    for name, column in (constraints or {}).items():
        broken[name] = np.asarray(column, float)
        if broken[name].shape != (len(trials),) or np.isnan(broken[name]).any():
            raise ValueError(f"constraint {name!r} is {len(trials)} numbers, not NaN")
    for row, trial in enumerate(trials):
        for name, column in broken.items():
            trial.set_constraint(name, float(column[row]))
        if np.isfinite(values[row]).all():
            study.tell(trial, values[row].tolist())
        else:
            study.tell(trial, state=states.PRUNED)


def known_trials(
    space: Space, codes: np.ndarray, values: np.ndarray
) -> "list[FrozenTrial]":
    """Returns trials of what is known already, for ``study.add_trials``.

    Args:
      space: of the codes.
      codes: int[n, G].
      values: float[n] or float[n, M], as :func:`tell_block` takes them; trials with
        one that is not finite are pruned.

    Raises:
      ValueError: wrong codes, or not n values.
      ImportError: Optuna is not installed.
    """
    module, parameters = _optuna().trial, distributions(space)
    codes = space.check_codes(codes)
    trials = []
    for code, row in zip(codes, _table(values, len(codes)), strict=True):
        known = bool(np.isfinite(row).all())
        states = module.TrialState
        trials.append(
            module.create_trial(
                state=states.COMPLETE if known else states.PRUNED,
                values=row.tolist() if known else None,
                params=to_params(code),
                distributions=parameters,
                user_attrs={"arch": space.to_str(code)},
            )
        )
    return trials


def to_trials(run: Run, objectives: Objectives) -> "list[FrozenTrial]":
    """Returns the architectures of a run as trials, for ``study.add_trials``.

    Nothing is scored: scores are those of the run, and costs are looked up. Each
    architecture is one trial, however often it was asked for.

    Args:
      run: that has a column for each of the proxies.
      objectives: what the study optimises.

    Raises:
      ValueError: a run of another space, size, seeds or images than the scorer of the
        objectives has, whose scores would not be comparable.
      StoreError: the run cannot be read, or has no such column.
      ImportError: Optuna is not installed.
    """
    space = objectives.space
    _check_same(run, objectives)
    proxies = [proxy.name for proxy in objectives.proxies]
    table = run.table(["arch", *proxies, *(f"{name}_valid" for name in proxies)])
    archs, rows = np.unique(table["arch"].to_pylist(), return_index=True)
    codes = space.from_strs([str(arch) for arch in archs])
    columns = []
    for name in proxies:
        valid = table[f"{name}_valid"].to_numpy()
        columns.append(np.where(valid, table[name].to_numpy(), np.nan))
    columns = [column[rows] for column in columns]
    costs = Objectives(space, None, objectives.costs).score(codes)
    values = np.column_stack([*columns, costs])
    first = np.argsort(rows)  # in the order of the run
    return known_trials(space, codes[first], values[first])


def _check_same(run: Run, objectives: Objectives) -> None:
    """Raises ValueError if scores of the run are not those of the objectives."""
    stored = run.manifest["scorer"]
    if objectives.scorer is None:
        mine = {"space": objectives.space.name}
    else:
        mine = objectives.scorer.describe()
    for key in mine.keys() - _FREE:
        if stored.get(key) != mine[key]:
            raise ValueError(
                f"{run.path} has {key}={stored.get(key)!r}, but the objectives have "
                f"{key}={mine[key]!r}"
            )


def _table(values: Any, n: int) -> np.ndarray:
    """Returns values as float64[n, M]."""
    values = np.asarray(values, np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or len(values) != n:
        raise ValueError(
            f"values of {n} trials are float[{n}] or float[{n}, M], not "
            f"{list(values.shape)}"
        )
    return values


def _gene(place: int) -> str:
    return f"gene{place}"


def _code(params: Mapping[str, Any], space: Space) -> np.ndarray:
    genes = [params[_gene(place)] for place in range(len(space.choices))]
    return np.array(genes, np.int32)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ImportError(
            f"this needs Optuna ({error}); pip install 'jaxproxy[optuna]'"
        ) from error
    return optuna
