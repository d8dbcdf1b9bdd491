"""From codes to scores: any number of architectures and seeds, on any devices."""

from jaxproxy.scoring._bound import bind_pass
from jaxproxy.scoring._cost import COSTS, cost_class, summary
from jaxproxy.scoring._coverage import Coverage
from jaxproxy.scoring._images import as_labels, check_layout
from jaxproxy.scoring._live import LiveSearch, search_live
from jaxproxy.scoring._population import Population, population
from jaxproxy.scoring._pruning import prune_live
from jaxproxy.scoring._ray import sweep_on_ray
from jaxproxy.scoring._score import make_scorer, score
from jaxproxy.scoring._scorer import BlockScores, Scorer
from jaxproxy.scoring._sweep import PART_SIZE, Cut, Interrupted, sweep
from jaxproxy.scoring._trained import search_trained

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
    "as_labels",
    "bind_pass",
    "check_layout",
    "cost_class",
    "make_scorer",
    "population",
    "prune_live",
    "score",
    "search_live",
    "search_trained",
    "summary",
    "sweep",
    "sweep_on_ray",
]
