"""Search over codes: ask which architecture to score next, tell how good it was."""

from collections.abc import Callable

from jaxproxy.search._az_nas import az_nas_evolution
from jaxproxy.search._budget import Budget
from jaxproxy.search._evolution import regularized_evolution
from jaxproxy.search._genes import Genes, make_genes
from jaxproxy.search._intrain import intrain_nas
from jaxproxy.search._layernas import layernas
from jaxproxy.search._local import local_search
from jaxproxy.search._nsga2 import nsga2
from jaxproxy.search._pareto import (
    crowding,
    hypervolume,
    non_dominated_ranks,
    pareto_front,
)
from jaxproxy.search._pruning import (
    Pruning,
    PruningState,
    PruningTrace,
    prune,
    pruning,
)
from jaxproxy.search._random import random_search
from jaxproxy.search._reinforce import reinforce
from jaxproxy.search._rerank import normal_scores, rerank
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
from jaxproxy.search._zennas import zennas_evolution

SEARCHES: dict[str, Callable[..., Search]] = {
    search.__name__: search
    for search in (
        az_nas_evolution,
        intrain_nas,
        layernas,
        local_search,
        nsga2,
        random_search,
        regularized_evolution,
        reinforce,
        rerank,
        zennas_evolution,
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
    "az_nas_evolution",
    "crowding",
    "curves",
    "hypervolume",
    "intrain_nas",
    "layernas",
    "local_search",
    "look_up",
    "make_genes",
    "non_dominated_ranks",
    "normal_scores",
    "nsga2",
    "pareto_front",
    "prune",
    "pruning",
    "random_search",
    "regularized_evolution",
    "reinforce",
    "rerank",
    "run",
    "simulate",
    "table_rows",
    "warm_up",
    "zennas_evolution",
]
