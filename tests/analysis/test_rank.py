"""Rank statistics, against hand-worked values and published tables."""

import csv
import gzip
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxproxy.analysis import _rank as rank
from jaxproxy.spaces._nasbench201 import _codes as _nasbench201

A = np.array([1.0, 2.0, 3.0, 4.0])
B = np.array([1.0, 3.0, 2.0, 4.0])
NAN = math.nan


@pytest.fixture(scope="module")
def flops(shared_data):
    """Official FLOPs and accuracies of NAS-Bench-201, by dataset."""
    with gzip.open(shared_data / "nb201_accuracy.csv.gz", "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        dataset: np.array(
            [
                [float(row[f"flops_m_{dataset}"]), float(row[f"{dataset}_test_nats"])]
                for row in rows
            ]
        ).T
        for dataset in ("cifar10", "cifar100", "imagenet16")
    }


def test_kendall_by_hand():
    """With and without ties."""
    assert rank.kendall(A, B) == pytest.approx(4 / 6)  # 5 concordant, 1 discordant
    assert rank.kendall(A, -A) == pytest.approx(-1)
    # 5 of 6 pairs are concordant and one is tied in b only: 5 / sqrt(6 * 5)
    assert rank.kendall(A, [1.0, 2.0, 2.0, 3.0]) == pytest.approx(5 / math.sqrt(30))


def test_spearman_by_hand():
    """With and without ties."""
    assert rank.spearman(A, B) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert rank.spearman(A, np.exp(A)) == pytest.approx(1)
    # ranks 1, 2.5, 2.5, 4
    assert rank.spearman(A, [1.0, 2.0, 2.0, 3.0]) == pytest.approx(
        4.5 / math.sqrt(22.5)
    )


@pytest.mark.parametrize("statistic", [rank.kendall, rank.spearman])
@pytest.mark.parametrize("n", [0, 1, 4])
def test_correlation_with_a_constant_is_undefined(statistic, n):
    """NaN, and no warning."""
    assert math.isnan(statistic(np.ones(n), np.arange(n)))


@pytest.mark.parametrize("statistic", rank.MEASURES.values(), ids=list(rank.MEASURES))
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (A, A[:3], r"shapes \[4\] and \[3\]"),
        (A[:, None], A[:, None], r"shapes \[4, 1\]"),
        (A, [1.0, 2.0, 3.0, math.inf], "must be finite"),
        ([NAN, 2.0, 3.0, 4.0], A, "must be finite"),
    ],
)
def test_every_measure_checks_its_arguments(statistic, a, b, message):
    """Shapes, and values that cannot be ranked."""
    with pytest.raises(ValueError, match=message):
        statistic(a, b)


def test_top_overlap_by_hand():
    """Counts are rounded up."""
    accuracy = np.arange(10.0)
    score = np.array([0, 1, 2, 3, 4, 9, 6, 7, 8, 5], float)
    assert rank.top_overlap(score, accuracy, percent=30) == pytest.approx(2 / 3)
    assert rank.top_overlap(score, accuracy, percent=21) == pytest.approx(2 / 3)
    assert rank.top_overlap(score, accuracy, percent=10) == 0
    assert rank.top_overlap(score, accuracy, percent=100) == 1


def test_top_overlap_shares_places_among_ties():
    """The expectation over a random order of equal scores."""
    # The best two: 3 for sure, then one of the three tied, of which one is truly top.
    score, accuracy = np.array([1.0, 2, 2, 2, 3]), np.array([0.0, 1, 2, 4, 3])
    assert rank.top_overlap(score, accuracy, percent=40) == pytest.approx(
        (1 + 1 / 3) / 2
    )
    assert rank.top_overlap(np.zeros(5), accuracy, percent=40) == pytest.approx(2 / 5)


def test_top_hits_by_hand():
    """A number of architectures, not a fraction."""
    accuracy = np.arange(100.0)
    score = np.where(accuracy >= 97, accuracy, -accuracy)  # then 0, 1, 2, ...
    assert rank.top_hits(score, accuracy, num=4, percent=5) == 3
    assert rank.top_hits(score, accuracy, num=2, percent=5) == 2
    assert rank.top_hits(score, accuracy, num=500, percent=5) == 5
    assert rank.top_hits(np.zeros(100), accuracy, num=20, percent=5) == pytest.approx(1)


def test_correlation_of_the_best_by_hand():
    """The other architectures do not matter."""
    accuracy = np.array([0.0] * 36 + [7, 8, 9, 10])
    score = np.array([99.0] * 36 + [7, 9, 8, 10])
    assert rank.kendall_top(score, accuracy) == pytest.approx(4 / 6)
    assert rank.spearman_top(score, accuracy) == pytest.approx(0.8)


def test_best_includes_all_tied_for_the_last_place():
    """Otherwise the choice would depend on the order of rows."""
    accuracy = np.array([0.0] * 7 + [5, 5, 6])
    score = np.array([9.0] * 7 + [1, 1, 2])
    assert rank.kendall_top(score, accuracy, percent=20) == pytest.approx(1)


def test_ndcg_by_hand():
    """Gains 1, 3, 7."""
    # The order 3, 7 of at most two.
    expected = (3 + 7 / math.log2(3)) / (7 + 3 / math.log2(3))
    assert rank.ndcg([1.0, 3, 2], [1.0, 2, 3], k=2) == pytest.approx(expected)
    assert rank.ndcg([1.0, 2, 3], [1.0, 2, 3]) == pytest.approx(1)


def test_ndcg_averages_over_ties():
    """The expectation over a random order of equal scores."""
    one = rank.ndcg([1.0, 3, 2], [1.0, 2, 3], k=1)
    other = rank.ndcg([1.0, 2, 3], [1.0, 2, 3], k=1)
    tied = rank.ndcg([1.0, 2, 2], [1.0, 2, 3], k=1)
    assert tied == pytest.approx((one + other) / 2)


def test_ndcg_does_not_overflow():
    """Where two to the accuracy would."""
    accuracy = np.array([5000.0, 5001, 5002])
    assert rank.ndcg(accuracy, accuracy) == pytest.approx(1)
    assert rank.ndcg(-accuracy, accuracy, k=1) == pytest.approx(0.25)


def test_ndcg_without_a_gain_is_undefined():
    """NaN, and no warning."""
    assert math.isnan(rank.ndcg(A, -A))
    assert math.isnan(rank.ndcg([], []))
    with pytest.raises(ValueError, match="k must be positive, got 0"):
        rank.ndcg(A, B, k=0)


@pytest.mark.parametrize("percent", [0, -1, 101])
def test_percent_is_checked(percent):
    """Outside of (0, 100]."""
    with pytest.raises(ValueError, match="percent must be in"):
        rank.top_overlap(A, B, percent=percent)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6)), min_size=2), st.data())
def test_no_measure_depends_on_the_order_of_the_rows(pairs, data):
    """Although scores and accuracies are full of ties."""
    shuffled = data.draw(st.permutations(pairs))
    for statistic in rank.MEASURES.values():
        before = statistic(*np.array(pairs, float).T)
        after = statistic(*np.array(shuffled, float).T)
        assert after == pytest.approx(before, nan_ok=True)


@pytest.mark.parametrize(
    ("dataset", "all_archs", "reachable"),
    [
        ("cifar10", (0.578, 0.753, 0.729), (0.623, 0.799, 0.745)),
        ("cifar100", (0.551, 0.727, 0.565), (0.586, 0.763, 0.576)),
        ("imagenet16", (0.517, 0.691, 0.386), (0.545, 0.718, 0.403)),
    ],
)
def test_published_values_of_flops(flops, dataset, all_archs, reachable):
    """The tables of VKDNW, both sets of architectures."""
    # tau, rho and nDCG@1000 from the notebook and table 1 of VKDNW (CVPR 2025), whose
    # accuracies differ a little from these.
    mask = _nasbench201.reachable(_nasbench201.enumerate_codes())
    for rows, expected in ((slice(None), all_archs), (mask, reachable)):
        pair = flops[dataset][:, rows]
        found = rank.kendall(*pair), rank.spearman(*pair), rank.ndcg(*pair)
        assert found == pytest.approx(expected, abs=0.004)


def test_bootstrap_covers_and_repeats():
    """Deterministic given a seed."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=300)
    b = a + rng.normal(size=300)
    interval = rank.bootstrap(rank.kendall, a, b, num=50)
    assert interval[0] < rank.kendall(a, b) < interval[1]
    assert interval == rank.bootstrap(rank.kendall, a, b, num=50)
    assert interval != rank.bootstrap(rank.kendall, a, b, num=50, seed=1)
    wider = rank.bootstrap(rank.kendall, a, b, num=50, level=0.99)
    assert wider[0] <= interval[0] and interval[1] <= wider[1]


def test_bootstrap_width_is_the_standard_error():
    """Known for independent normals."""
    # For independent normals the variance of tau is about 4 / (9 n).
    a, b = np.random.default_rng(0).normal(size=(2, 400))
    low, high = rank.bootstrap(rank.kendall, a, b, num=400)
    assert (high - low) / 2 == pytest.approx(1.96 * math.sqrt(4 / 9 / 400), rel=0.2)


def test_bootstrap_leaves_out_undefined_resamples():
    """A resample of two can be constant."""
    assert all(map(math.isnan, rank.bootstrap(rank.kendall, np.ones(5), np.arange(5))))
    assert all(map(math.isnan, rank.bootstrap(rank.kendall, [], [])))
    assert rank.bootstrap(rank.kendall, [0.0, 1.0], [0.0, 1.0]) == (1, 1)


def test_bootstrap_checks_its_options():
    """No resample, no interval."""
    with pytest.raises(ValueError, match="num >= 1"):
        rank.bootstrap(rank.kendall, A, B, num=0)


def test_bootstrap_of_a_whole_benchmark_is_quick(flops):
    """200 resamples of 15,625 architectures."""
    start = time.perf_counter()
    low, high = rank.bootstrap(rank.kendall, *flops["cifar10"])
    assert time.perf_counter() - start < 10
    assert 0.56 < low < high < 0.60


def test_tied_pairs_by_hand():
    """A fraction of pairs."""
    assert rank.tied_pairs(np.array([1, 1, 1, 2])) == pytest.approx(3 / 6)
    assert rank.tied_pairs(np.array([1])) == 0


def test_correlate_counts_and_leaves_out_what_is_invalid():
    """Non-finite scores are invalid whatever the flag says."""
    score = np.array([1.0, 3, NAN, 2, math.inf, 4, 50])
    valid = np.array([True, True, True, True, True, True, False])
    accuracy = np.array([10.0, 20, 90, 30, 0, 40, 1])
    found = rank.correlate(score, valid, accuracy)
    assert (found.n, found.num_valid, found.coverage) == (7, 4, 4 / 7)
    assert found.tau == pytest.approx(4 / 6)
    assert found.rho == pytest.approx(0.8)
    assert found.top10_top10 == 1
    assert found.top64_top5 == 1
    assert (found.score_ties, found.truth_ties, found.intervals) == (0, 0, {})


def test_correlate_turns_a_score_whose_low_values_are_good():
    """Same numbers as for the negated score."""
    all_valid = np.ones(4, bool)
    up = rank.correlate(A, all_valid, B)
    down = rank.correlate(-A, all_valid, B, higher_is_better=False)
    for measure in rank.MEASURES:
        values = getattr(up, measure), getattr(down, measure)
        assert values[0] == pytest.approx(values[1], nan_ok=True)


def test_correlate_bootstraps_every_measure():
    """An interval for each field."""
    a = np.random.default_rng(0).normal(size=200)
    found = rank.correlate(a, a < 9, 50 + a + a[::-1], num_bootstrap=20)
    assert list(found.intervals) == list(rank.MEASURES)
    for low, high in found.intervals.values():
        assert low <= high


def test_correlate_of_nothing_is_undefined():
    """NaN, and no warning."""
    found = rank.correlate([NAN, NAN], [True, True], [1.0, 2.0], num_bootstrap=3)
    assert (found.n, found.num_valid, found.coverage) == (2, 0, 0)
    assert all(math.isnan(getattr(found, measure)) for measure in rank.MEASURES)
    assert math.isnan(rank.correlate([], [], []).coverage)


def test_correlate_checks_its_arguments():
    """Shapes and accuracies."""
    with pytest.raises(ValueError, match=r"shape: \[4\], \[3\], \[4\]"):
        rank.correlate(A, np.ones(3, bool), B)
    with pytest.raises(ValueError, match="must be finite"):
        rank.correlate(A, np.zeros(4, bool), [1, 2, 3, NAN])
