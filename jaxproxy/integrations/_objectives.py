"""What is to be good about an architecture: scores that proxies give, and costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from jaxproxy.proxies import PROXIES, Proxy
from jaxproxy.scoring import Scorer
from jaxproxy.spaces import Space

Cost: TypeAlias = Mapping[str, float] | Callable[[np.ndarray], np.ndarray]
"""Architecture string -> cost, or a function of codes int32[n, G] -> float[n]."""


@dataclass(frozen=True)
class Objectives:
    """M numbers of an architecture; :func:`make_objectives` makes it."""

    space: Space
    scorer: Scorer | None
    costs: Mapping[str, Callable[[np.ndarray], np.ndarray]]

    @property
    def proxies(self) -> tuple[Proxy, ...]:
        """Of the scorer those that are no costs."""
        proxies = () if self.scorer is None else self.scorer.proxies
        return tuple(proxy for proxy in proxies if proxy.name not in self.costs)

    @property
    def names(self) -> tuple[str, ...]:
        """The objectives in order: scores of proxies, then costs."""
        return (*(proxy.name for proxy in self.proxies), *self.costs)

    @property
    def directions(self) -> list[str]:
        """``"maximize"`` or ``"minimize"`` of each, as Optuna's ``directions``."""
        high = [proxy.higher_is_better for proxy in self.proxies]
        words = ["maximize" if good else "minimize" for good in high]
        return words + ["minimize"] * len(self.costs)

    @property
    def signs(self) -> np.ndarray:
        """float64[M], by which values are multiplied so that all are minimised."""
        words = self.directions
        return np.array([-1.0 if word == "maximize" else 1.0 for word in words])

    def score(self, codes: np.ndarray) -> np.ndarray:
        """Returns the values float64[n, M] of codes int[n, G].

        A score is the mean over seeds. What is not known or not valid is NaN. Each
        distinct code is scored once, all in one call of the scorer.

        Raises:
          ValueError: wrong codes.
        """
        codes = self.space.check_codes(codes)
        distinct, rows = np.unique(codes, axis=0, return_inverse=True)
        columns: dict[str, np.ndarray] = {}
        if self.scorer is not None and len(distinct):
            columns |= _scores(self.scorer, distinct)
        columns |= {name: cost(distinct) for name, cost in self.costs.items()}
        values = np.full((len(distinct), len(self.names)), np.nan)
        for place, name in enumerate(self.names if len(distinct) else ()):
            column = np.asarray(columns[name], np.float64)
            if column.shape != distinct.shape[:1]:
                raise ValueError(
                    f"cost {name!r} of {len(distinct)} codes has shape "
                    f"{list(column.shape)}, not [{len(distinct)}]"
                )
            values[:, place] = np.where(np.isfinite(column), column, np.nan)
        return values[rows.reshape(-1)]


def make_objectives(
    scorer: Scorer | Space, costs: Sequence[str] | Mapping[str, Cost] = ()
) -> Objectives:
    """Returns what a search is to optimise: scores and costs.

    Args:
      scorer: each of its proxies is an objective, to be high or, where low is good, to
        be low. A space, if there are only costs.
      costs: to be low: names of counts, such as ``["params", "macs"]``; or name ->
        table of architecture strings or function of codes, such as
        ``{"latency": table}``. A proxy of the scorer that is named here is a cost.

    Raises:
      ValueError: nothing to optimise, a cost that is named twice, or a name that is no
        count.
    """
    counted = scorer if isinstance(scorer, Scorer) else None
    space = scorer.space if isinstance(scorer, Scorer) else scorer
    if isinstance(costs, str):
        raise ValueError(f"costs are a list of names, such as [{costs!r}]")
    if len(set(costs)) < len(costs):
        raise ValueError(f"give each cost once, not {[*costs]}")
    if not isinstance(costs, Mapping):
        costs = {name: _count(space, name) for name in costs}
    functions = {
        name: partial(_look_up, space, cost) if isinstance(cost, Mapping) else cost
        for name, cost in costs.items()
    }
    made = Objectives(space, counted, functions)
    if not made.names:
        raise ValueError(f"give a scorer or costs: {space.name} alone has no objective")
    return made


def _scores(scorer: Scorer, codes: np.ndarray) -> dict[str, np.ndarray]:
    """Returns proxy name -> float64[n], NaN where a seed has no valid score."""
    scores = scorer.counts(codes)
    if len(scores) == len(scorer.proxies):
        return scores  # counts alone: nothing is compiled
    block = scorer.score(codes)
    for name in (proxy.name for proxy in scorer.proxies if proxy.count is None):
        valid = block.valid[name].all(1)
        scores[name] = np.where(valid, block.scores[name].mean(1), np.nan)
    return scores


def _count(space: Space, name: str) -> Callable[[np.ndarray], np.ndarray]:
    counts = {known: make().count for known, make in PROXIES.items()}
    count = counts.get(name)
    if count is None:
        named = [known for known, function in counts.items() if function is not None]
        raise ValueError(
            f"unknown cost {name!r}; choose from {named}, or give a table or function"
        )
    return partial(count, space)


def _look_up(space: Space, table: Mapping[str, float], codes: np.ndarray) -> np.ndarray:
    return np.array([table.get(arch, np.nan) for arch in space.to_strs(codes)], float)
