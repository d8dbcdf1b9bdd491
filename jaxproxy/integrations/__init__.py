"""Other libraries' searches on scores: ask there, score here, tell there (host code).

What needs Optuna or pymoo imports it when it is called.
"""

from jaxproxy.integrations._objectives import Cost, Objectives, make_objectives
from jaxproxy.integrations._optuna import (
    ask_block,
    distributions,
    known_trials,
    suggest_code,
    tell_block,
    to_params,
    to_trials,
)
from jaxproxy.integrations._pymoo import make_operators, make_problem

__all__ = [
    "Cost",
    "Objectives",
    "ask_block",
    "distributions",
    "known_trials",
    "make_objectives",
    "make_operators",
    "make_problem",
    "suggest_code",
    "tell_block",
    "to_params",
    "to_trials",
]
