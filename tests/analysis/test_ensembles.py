"""Rules that rank by several columns, worked by hand and against plain definitions."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import rankdata

from jaxproxy.analysis import (
    ENSEMBLES,
    Ensemble,
    expand,
    lexicographic,
    log_rank_sum,
    rank_sum,
    rounded_log_rank_sum,
    score_columns,
    vkdnw_rank,
    vote,
)
from jaxproxy.proxies import PROXIES, parse_proxy

RULES = (rank_sum, log_rank_sum, lexicographic, vkdnw_rank, vote)
NAN, INF = math.nan, math.inf


def test_sums_of_ranks_by_hand():
    table = np.array([[1.0, 5.0], [2.0, 5.0], [2.0, 4.0], [9.0, 1.0]])
    # ranks 1, 2.5, 2.5, 4 and 3.5, 3.5, 2, 1
    np.testing.assert_allclose(rank_sum(table), [4.5, 6, 4.5, 5])
    expected = np.log(np.array([1 * 3.5, 2.5 * 3.5, 2.5 * 2, 4 * 1]) / 16)
    np.testing.assert_allclose(log_rank_sum(table), expected)


def test_what_is_not_finite_shares_the_lowest_rank():
    table = np.array([[NAN], [3.0], [INF], [-4.0], [-INF]])
    np.testing.assert_allclose(rank_sum(table), [2, 5, 2, 4, 2])
    np.testing.assert_allclose(log_rank_sum(table), np.log([0.4, 1, 0.4, 0.8, 0.4]))
    np.testing.assert_allclose(vote(table), [0, 4, 0, 3, 0])


def test_rounded_ranks_tie_what_rounding_tells_apart():
    table = np.array(
        [[1.23441, 0.0], [1.23439, 1e-9], [1.235, 2e6], [-np.inf, np.nan], [-5e5, 7.0]]
    )
    tied = np.array([[3, 2], [3, 3], [4, 5], [1, 1], [2, 4]], float)
    np.testing.assert_allclose(rounded_log_rank_sum(table), log_rank_sum(tied))
    rng = np.random.default_rng(0)
    shared = np.repeat(rng.normal(size=(9, 2)), 50, axis=0)
    noisy = shared * (1 + 1e-7 * rng.normal(size=shared.shape))
    np.testing.assert_array_equal(
        rounded_log_rank_sum(noisy), rounded_log_rank_sum(shared)
    )
    assert len(np.unique(log_rank_sum(noisy))) > len(np.unique(log_rank_sum(shared)))


def test_lexicographic_by_hand():
    table = np.array([[2.0, 0.5], [1.0, 9.0], [2.0, 0.1], [1.0, 9.0], [3.0, 0.0]])
    np.testing.assert_array_equal(lexicographic(table), [3, 1, 2, 1, 4])
    table[[0, 4], [1, 0]] = [NAN, INF]
    np.testing.assert_array_equal(lexicographic(table), [1, 2, 3, 2, 1])


def test_vkdnw_is_lexicographic_in_two_columns_and_log_ranks_in_the_rest():
    table = np.random.default_rng(0).normal(size=(50, 6)).round(1)
    expected = np.log(lexicographic(table[:, :2]))
    expected += sum(np.log(rankdata(column)) for column in table.T[2:])
    np.testing.assert_allclose(vkdnw_rank(table), expected)


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_vote_is_a_majority_of_each_pair(columns):
    rng = np.random.default_rng(columns)
    table = rng.integers(0, 5, (60, columns)).astype(float)
    table[rng.random(table.shape) < 0.1] = NAN
    clean = np.where(np.isnan(table), -INF, table)
    expected = np.zeros(60)
    for i, j in itertools.permutations(range(60), 2):
        lead = np.sum(clean[i] > clean[j]) - np.sum(clean[i] < clean[j])
        expected[i] += lead > 0
    np.testing.assert_array_equal(vote(table), expected)


def test_vote_has_no_transitive_order():
    """Three architectures that beat each other in a circle are equal."""
    table = np.array([[1.0, 2.0, 3.0], [2.0, 3.0, 1.0], [3.0, 1.0, 2.0]])
    np.testing.assert_array_equal(vote(table), [1, 1, 1])


def test_vote_in_blocks_is_the_same(monkeypatch):
    table = np.random.default_rng(0).normal(size=(40, 3))
    whole = vote(table)
    monkeypatch.setattr("jaxproxy.analysis._ensembles._BLOCK", 7 * 40)
    np.testing.assert_array_equal(vote(table), whole)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_depends_on_order_and_scale_of_nothing(rule):
    """Not on the order of the rows, nor on a monotone change; the input stays."""
    rng = np.random.default_rng(1)
    table = rng.normal(size=(30, 3)).round(1)
    table[3, 1] = NAN
    before, found = table.copy(), rule(table)
    order = rng.permutation(30)
    np.testing.assert_allclose(rule(table[order]), found[order])
    np.testing.assert_allclose(rule(np.exp(table)), found)
    np.testing.assert_array_equal(table, before)
    assert found.dtype == np.float64
    assert np.isfinite(found).all()
    assert rule(table[:0]).shape == (0,)


@pytest.mark.parametrize("rule", RULES)
def test_a_better_column_never_hurts(rule):
    table = np.random.default_rng(2).normal(size=(20, 3))
    better = table.copy()
    better[7, 1] += 3
    assert rule(better)[7] >= rule(table)[7]


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_needs_a_table(rule):
    with pytest.raises(ValueError, match=r"table \[N, K\], got shape \[3\]"):
        rule(np.zeros(3))


def test_an_ensemble_takes_its_components_from_named_columns():
    ensemble = Ensemble("duo", ("b", "a"), lambda table: table @ [10.0, 1.0], "none")
    columns = {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0]), "c": np.zeros(5)}
    np.testing.assert_array_equal(ensemble.score(columns), [31, 42])
    with pytest.raises(ValueError, match=r"'duo' needs \['b'\]; there are \['a'\]"):
        ensemble.score({"a": columns["a"]})


@pytest.mark.parametrize("ensemble", ENSEMBLES.values(), ids=list(ENSEMBLES))
def test_the_table_of_ensembles(ensemble):
    assert ENSEMBLES[ensemble.name] is ensemble
    assert ensemble.name not in PROXIES
    assert ensemble.reference
    for component in ensemble.components:
        if component.partition("(")[0] in PROXIES:
            assert parse_proxy(component).name == component
    columns = {c: np.arange(4.0) for c in ensemble.components}
    assert (np.diff(ensemble.score(columns)) > 0).all()  # all columns agree


def test_expand_scores_no_component_twice(monkeypatch):
    duo, trio = (
        Ensemble(name, components, rank_sum, "none")
        for name, components in {"duo": ("a", "b"), "trio": ("b", "c", "d")}.items()
    )
    monkeypatch.setitem(ENSEMBLES, "duo", duo)
    monkeypatch.setitem(ENSEMBLES, "trio", trio)
    assert expand(["duo", "x", "trio", "d"]) == ["a", "b", "x", "c", "d"]
    assert expand(["x", "x"]) == ["x", "x"]  # for the caller to refuse


def test_runs_whose_options_were_words_have_their_ensembles():
    """``relative`` was ``yes`` or ``no`` in names before it was a truth value."""
    components = ENSEMBLES["spread"].components
    stored = [c.replace("relative=True", "relative=yes") for c in components]
    assert stored != list(components)
    scores = np.random.default_rng(0).standard_normal((len(stored), 5))
    table = {name: pa.array(row) for name, row in zip(stored, scores, strict=True)}
    table |= {f"{name}_valid": pa.array(np.ones(5, bool)) for name in stored}
    less = [name for name in stored if "prefer=less" in name]
    old = SimpleNamespace(
        manifest={"scorer": {"proxies": stored, "lower_is_better": less}},
        table=lambda names: pa.table({name: table[name] for name in names}),
    )
    columns = {column.name: column for column in score_columns(old)}
    assert columns.keys() == {*components, "spread"}
    oriented = {name: columns[name].oriented for name in components}
    expected = ENSEMBLES["spread"].score(oriented)
    np.testing.assert_array_equal(columns["spread"].values, expected)
