"""Search over codes: ask which architecture to score next, tell how good it was."""

from collections.abc import Callable

from jaxproxy.search._az_nas import az_nas_evolution
from jaxproxy.search._budget import Budget
from jaxproxy.search._evolution import regularized_evolution
from jaxproxy.search._genes import Genes, make_genes
from jaxproxy.search._intrain import intrain_nas
from jaxproxy.search._local import local_search
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
from jaxproxy.search._zennas import zennas_evolution

SEARCHES: dict[str, Callable[..., Search]] = {
    search.__name__: search
    for search in (
        az_nas_evolution,
        intrain_nas,
        local_search,
        random_search,
        regularized_evolution,
        reinforce,
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
    "Search",
    "Trace",
    "az_nas_evolution",
    "curves",
    "intrain_nas",
    "local_search",
    "look_up",
    "make_genes",
    "random_search",
    "regularized_evolution",
    "reinforce",
    "run",
    "simulate",
    "table_rows",
    "warm_up",
    "zennas_evolution",
]
