"""From codes to scores: any number of architectures and seeds, on any devices."""

from jaxproxy.scoring._bound import bind_pass
from jaxproxy.scoring._cost import COSTS, cost_class, summary
from jaxproxy.scoring._coverage import Coverage
from jaxproxy.scoring._images import as_labels, check_layout
from jaxproxy.scoring._live import LiveSearch, search_live
from jaxproxy.scoring._population import Population, population
from jaxproxy.scoring._processes import run_workers
from jaxproxy.scoring._pruning import prune_live
from jaxproxy.scoring._ray import sweep_on_ray
from jaxproxy.scoring._score import make_scorer, score
from jaxproxy.scoring._scorer import BlockScores, Scorer
from jaxproxy.scoring._sweep import PART_SIZE, Cut, Interrupted, plan_sweep, sweep
from jaxproxy.scoring._trained import search_trained
from jaxproxy.scoring._workers import Worker, find_worker

__all__ = [
    "COSTS",
    "PART_SIZE",
    "BlockScores",
    "Coverage",
    "Cut",
    "Interrupted",
    "LiveSearch",
    "Population",
    "Scorer",
    "Worker",
    "as_labels",
    "bind_pass",
    "check_layout",
    "cost_class",
    "find_worker",
    "make_scorer",
    "plan_sweep",
    "population",
    "prune_live",
    "run_workers",
    "score",
    "search_live",
    "search_trained",
    "summary",
    "sweep",
    "sweep_on_ray",
]
