"""Search over codes: ask which architecture to score next, tell how good it was."""

from collections.abc import Callable

from jaxproxy.search._budget import Budget
from jaxproxy.search._evolution import regularized_evolution
from jaxproxy.search._genes import Genes, make_genes
from jaxproxy.search._intrain import intrain_nas
from jaxproxy.search._local import local_search
from jaxproxy.search._pruning import (
    Pruning,
    PruningState,
    PruningTrace,
    prune,
    pruning,
)
from jaxproxy.search._random import random_search
from jaxproxy.search._reinforce import reinforce
from jaxproxy.search._search import Core, Search, Trace, run
from jaxproxy.search._tables import (
    Curves,
    LookUp,
    curves,
    look_up,
    simulate,
    table_rows,
)
from jaxproxy.search._warm_up import warm_up

SEARCHES: dict[str, Callable[..., Search]] = {
    search.__name__: search
    for search in (
        intrain_nas,
        local_search,
        random_search,
        regularized_evolution,
        reinforce,
    )
}
"""Searches by name; each takes genes and options."""

__all__ = [
    "SEARCHES",
    "Budget",
    "Core",
    "Curves",
    "Genes",
    "LookUp",
    "Pruning",
    "PruningState",
    "PruningTrace",
    "Search",
    "Trace",
    "curves",
    "intrain_nas",
    "local_search",
    "look_up",
    "make_genes",
    "prune",
    "pruning",
    "random_search",
    "regularized_evolution",
    "reinforce",
    "run",
    "simulate",
    "table_rows",
    "warm_up",
]
