"""Ensembles: several proxies' scores of one set of architectures as one score (host).

A rule maps a table float64[N, K], one column for each component and higher is better in
all, to float64[N], higher is better. What it gives an architecture depends on the set
it is ranked in, so a rule is applied to a finished table and its result is not stored.
An entry that is not finite, +inf as well, is worse than every finite one of its column.
Ties are never broken by position.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

Rule = Callable[[np.ndarray], np.ndarray]

_BLOCK = 2**22  # pairs of architectures compared at once by a vote: 4 MB each array


def _table(table: np.ndarray) -> np.ndarray:
    """A float64[N, K] copy, -inf where it is not finite; ValueError if not 2-D."""
    table = np.array(table, np.float64)
    if table.ndim != 2 or not table.shape[1]:
        raise ValueError(f"expected a table [N, K], got shape {list(table.shape)}")
    table[~np.isfinite(table)] = -np.inf
    return table


def _ranks(table: np.ndarray) -> np.ndarray:
    """Ranks float64[N, K] of each column, 1 for the worst; ties share their mean."""
    return stats.rankdata(_table(table), axis=0)


def rank_sum(table: np.ndarray) -> np.ndarray:
    """Sum of ranks over columns, ties at their mean rank.

    The entries of a column that are not finite are tied at its lowest rank.

    References:
      Chen et al., "TE-NAS", ICLR 2021, arXiv:2102.11535.
    """
    return _ranks(table).sum(1)


def log_rank_sum(table: np.ndarray) -> np.ndarray:
    r"""Sum over columns of :math:`\log(rank / N)`, at most 0, ties at their mean rank.

    A bad rank in any one column weighs heavily. The entries of a column that are not
    finite are tied at its lowest rank.

    References:
      Lee and Ham, "AZ-NAS", CVPR 2024, arXiv:2403.19232.
    """
    return np.log(_ranks(table) / max(len(table), 1)).sum(1)


def rounded_log_rank_sum(table: np.ndarray) -> np.ndarray:
    """:func:`log_rank_sum` of scores that are rounded to four significant digits.

    For readings that many architectures share, such as the largest over layers: theirs
    are equal but for rounding, which would give them unlike ranks, and others where
    sums are made in another order.
    """
    return log_rank_sum(_rounded(_table(table), 4))


def _rounded(values: np.ndarray, digits: int) -> np.ndarray:
    """To significant decimal digits; zeros and infinities stay."""
    plain = np.isfinite(values) & (values != 0)
    exponent = np.floor(np.log10(np.abs(values, where=plain, out=np.ones_like(values))))
    unit = 10.0 ** (exponent - digits + 1)
    return np.where(plain, np.round(values / unit) * unit, values)


def lexicographic(table: np.ndarray) -> np.ndarray:
    """Dense rank, 1 for the worst, by the first column, then the second, and so on.

    Rows with an entry that is not finite are tied below all others.

    References:
      Tybl and Neumann, "VKDNW", CVPR 2025: its code, where the paper adds the columns.
    """
    table = _table(table)
    table[~np.isfinite(table).all(1)] = -np.inf
    return 1.0 + np.unique(table, axis=0, return_inverse=True)[1].reshape(len(table))


def vkdnw_rank(table: np.ndarray) -> np.ndarray:
    """Log of the :func:`lexicographic` rank of two columns, plus those of the others.

    Ranks of the other columns have ties at their mean, and are not divided by N. What
    is not finite ranks as it does in :func:`lexicographic` and :func:`log_rank_sum`.

    References:
      Tybl and Neumann, "VKDNW", CVPR 2025, VKDNW_agg.
    """
    table = _table(table)
    return np.log(lexicographic(table[:, :2])) + np.log(_ranks(table[:, 2:])).sum(1)


def vote(table: np.ndarray) -> np.ndarray:
    """How many others each architecture beats by a majority of the columns.

    It beats another if more columns prefer it than prefer the other; a column abstains
    between equal entries, and between two that are not finite, and prefers a finite
    one to one that is not. O(N^2 K) time, O(N) memory.

    References:
      Abdelfattah et al., "Zero-cost proxies for lightweight NAS", ICLR 2021: "vote".
    """
    table = _table(table)
    dense = [np.unique(c, return_inverse=True)[1].astype(np.int32) for c in table.T]
    # Rows with equal ranks beat the same others.
    rows, place, size = np.unique(
        np.stack(dense, 1), axis=0, return_inverse=True, return_counts=True
    )
    beaten = np.empty(len(rows))
    step = max(1, _BLOCK // max(len(rows), 1))
    votes = np.int8 if table.shape[1] < 128 else np.int32
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        lead = np.zeros((len(block), len(rows)), votes)
        for mine, others in zip(block.T, np.ascontiguousarray(rows.T), strict=True):
            lead += mine[:, None] > others
            lead -= mine[:, None] < others
        beaten[start : start + step] = (lead > 0) @ size
    return beaten[place.reshape(-1)]


@dataclass(frozen=True)
class Ensemble:
    """Several proxies as one score, higher is better.

    Attributes:
      name: column name, such as ``"az_nas"``.
      components: proxies or variants, written as their columns are named.
      rule: ``float64[N, K]`` of the components, higher is better -> ``float64[N]``.
      reference: the paper.
    """

    name: str
    components: tuple[str, ...]
    rule: Rule
    reference: str

    def score(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Scores float64[N] among N architectures.

        Args:
          columns: component -> float64[N], higher is better; others are ignored.

        Raises:
          ValueError: a component is missing, or lengths differ.
        """
        missing = [name for name in self.components if name not in columns]
        if missing:
            raise ValueError(
                f"ensemble {self.name!r} needs {missing}; there are {sorted(columns)}"
            )
        return self.rule(np.stack([columns[c] for c in self.components], axis=1))


def _make_table(*ensembles: Ensemble) -> dict[str, Ensemble]:
    return {ensemble.name: ensemble for ensemble in ensembles}


ENSEMBLES: dict[str, Ensemble] = _make_table(
    Ensemble(
        "az_nas",
        ("macs", "az_expressivity", "az_progressivity", "az_trainability"),
        log_rank_sum,
        "Lee and Ham, AZ-NAS, CVPR 2024, arXiv:2403.19232",
    ),
    Ensemble(
        "te_nas",
        ("ntk", "linear_regions"),
        rank_sum,
        "Chen et al., TE-NAS, ICLR 2021, arXiv:2102.11535",
    ),
    Ensemble(
        "vkdnw_single",
        ("num_tensors", "vkdnw_entropy"),
        lexicographic,
        "Tybl and Neumann, VKDNW, CVPR 2025",
    ),
    Ensemble(
        "vkdnw",
        (
            *("num_tensors", "vkdnw_entropy"),
            *("az_expressivity", "az_trainability", "macs", "jacov"),
        ),
        vkdnw_rank,
        "Tybl and Neumann, VKDNW, CVPR 2025",
    ),
    Ensemble(
        "vote",
        ("synflow", "jacov", "snip"),
        vote,
        "Abdelfattah et al., Zero-cost proxies for lightweight NAS, ICLR 2021",
    ),
    # Chosen by benchmarks/select_readings.py on 500 architectures of NAS-Bench-201 and
    # their CIFAR-10 accuracies, at the preset fast; its results are committed.
    Ensemble(
        "spread",
        (
            "participation(layers=conv,over=sqrt,relative=True)",
            "participation(layers=bn,over=sqrt,relative=True)",
            "participation(layers=relu,over=max,relative=True)",
            "participation(layers=relu,over=max)",
            "variance(layers=relu,over=std)",
            "variance(layers=conv,over=max,prefer=less)",
        ),
        rounded_log_rank_sum,
        "ours: six readings of how activations spread, one forward pass",
    ),
    # Chosen by benchmarks/choose.py on 1,000 architectures of NAS-Bench-201 and their
    # accuracies on three data sets, at the preset fast; its results are committed.
    Ensemble(
        "finder",
        (
            "variance(layers=conv,over=max)",
            "participation(layers=relu,over=mean,relative=True)",
            "swap",
            "participation(layers=conv,over=sqrt,relative=True)",
            "participation(layers=bn,over=slope)",
        ),
        rounded_log_rank_sum,
        "ours: five readings of activations and of their patterns, for the first place",
    ),
)
"""Every ensemble by name; a proxy of the same name would hide behind it."""


def expand(names: Sequence[str]) -> list[str]:
    """The names with each ensemble replaced by those components that are missing.

    No component comes twice; a name that is given twice stays so, for the caller to
    refuse. Names of proxies are compared as text, so they have to be canonical.
    """
    taken, expanded = set(names), []
    for name in names:
        if name not in ENSEMBLES:
            expanded.append(name)
            continue
        new = [c for c in ENSEMBLES[name].components if c not in taken]
        expanded += new
        taken.update(new)
    return expanded
