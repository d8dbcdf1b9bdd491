"""From stored runs to knowledge: ranking, ensembles, ablation; no network is run."""

from jaxproxy.analysis._ablation import SETS, Ablation, ablate
from jaxproxy.analysis._best_of import (
    BestOf,
    Found,
    best_of,
    best_of_columns,
    best_of_draws,
)
from jaxproxy.analysis._columns import (
    Column,
    archs_of,
    count_column,
    reachable,
    score_columns,
    subsets,
    truth_column,
)
from jaxproxy.analysis._correlations import Record, compare, correlations
from jaxproxy.analysis._ensembles import (
    ENSEMBLES,
    Ensemble,
    expand,
    lexicographic,
    log_rank_sum,
    rank_sum,
    rounded_log_rank_sum,
    vkdnw_rank,
    vote,
)
from jaxproxy.analysis._front import OnFront, front
from jaxproxy.analysis._matrix import (
    CONTROLS,
    Matrix,
    Partial,
    matrix,
    partial_spearman,
)
from jaxproxy.analysis._propose import propose
from jaxproxy.analysis._rank import (
    MEASURES,
    Correlation,
    bootstrap,
    correlate,
    kendall,
    kendall_top,
    ndcg,
    spearman,
    spearman_top,
    tied_pairs,
    top_hits,
    top_overlap,
)
from jaxproxy.analysis._rescore import rescore, stored_readings
from jaxproxy.analysis._simulation import Simulated, simulated, simulations
from jaxproxy.analysis._truth import Truth, load_truth

__all__ = [
    "CONTROLS",
    "ENSEMBLES",
    "MEASURES",
    "SETS",
    "Ablation",
    "BestOf",
    "Column",
    "Correlation",
    "Ensemble",
    "Found",
    "Matrix",
    "OnFront",
    "Partial",
    "Record",
    "Simulated",
    "Truth",
    "ablate",
    "archs_of",
    "best_of",
    "best_of_columns",
    "best_of_draws",
    "bootstrap",
    "compare",
    "correlate",
    "correlations",
    "count_column",
    "expand",
    "front",
    "kendall",
    "kendall_top",
    "lexicographic",
    "load_truth",
    "log_rank_sum",
    "matrix",
    "ndcg",
    "partial_spearman",
    "propose",
    "rank_sum",
    "reachable",
    "rescore",
    "rounded_log_rank_sum",
    "score_columns",
    "simulated",
    "simulations",
    "spearman",
    "spearman_top",
    "stored_readings",
    "subsets",
    "tied_pairs",
    "top_hits",
    "top_overlap",
    "truth_column",
    "vkdnw_rank",
    "vote",
]
