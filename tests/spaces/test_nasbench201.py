"""NAS-Bench-201 on the host, against hand-worked values and the official tables."""

import csv
import gzip
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxproxy.spaces._nasbench201 import _canonical as classes
from jaxproxy.spaces._nasbench201 import _codes as nb201
from jaxproxy.spaces._nasbench201 import _counts as counts

codes = st.lists(st.integers(0, 4), min_size=6, max_size=6)
ARCH = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
CODE = [3, 0, 1, 4, 0, 2]


@pytest.fixture(scope="module")
def rows(shared_data):
    """The official table, a dictionary per architecture, in official order."""
    with gzip.open(shared_data / "nb201_accuracy.csv.gz", "rt", newline="") as file:
        return list(csv.DictReader(file))


def column(rows, name, dtype=float):
    """A column of the official table as an array."""
    return np.array([dtype(row[name]) for row in rows])


def test_string_of_a_code():
    """Genes are in the order of the official string."""
    assert nb201.to_str(np.array(CODE)) == ARCH
    np.testing.assert_array_equal(nb201.from_str(ARCH), CODE)
    assert nb201.from_str(ARCH).dtype == np.int32


@given(codes)
def test_strings_round_trip(code):
    """Every code comes back from its string."""
    np.testing.assert_array_equal(nb201.from_str(nb201.to_str(code)), code)


@given(st.text(alphabet="|+~012anoe_", max_size=40))
def test_any_other_string_is_refused(text):
    """Near misses never give a code."""
    with pytest.raises(ValueError):
        nb201.from_str(text)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("", "has 1 nodes, not 3"),
        ("|none~0|+|none~0|none~1|", "has 2 nodes, not 3"),
        (ARCH + "+|none~0|", "has 4 nodes, not 3"),
        (ARCH[1:], "node 1 .* is malformed"),
        ("|+|none~0|none~1|+|none~0|none~1|none~2|", "node 1 .* is malformed"),
        (ARCH.replace("|none~0", ""), "node 2 .* has 1 edges, not 2"),
        (ARCH.replace("skip_connect~1", "skip_connect"), "not of the form 'op~node'"),
        (ARCH.replace("skip_connect", "skip"), "unknown operation 'skip'.*'none', 's"),
        (ARCH.replace("skip_connect~1", "skip_connect~0"), "predecessor '0', not 1"),
    ],
)
def test_malformed_strings_are_explained(arch, message):
    """Each kind of mistake has its message."""
    with pytest.raises(ValueError, match=message):
        nb201.from_str(arch)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ([0, 1, 2, 3, 4], r"integer\[..., 6\], got int64\[5\]"),
        ([0.0] * 6, r"integer\[..., 6\], got float64\[6\]"),
        ([0, 1, 2, 3, 4, 5], "operations are 0 to 4, got 5"),
        ([-1, 1, 2, 3, 4, 4], "operations are 0 to 4, got -1"),
    ],
)
def test_wrong_codes_are_refused_everywhere(code, message):
    """No function accepts a gene or a shape that is wrong."""
    functions = (
        nb201.to_str,
        classes.canonical,
        nb201.reachable,
        counts.num_params,
        counts.num_macs,
        counts.cost,
    )
    for function in functions:
        with pytest.raises(ValueError, match=message):
            function(np.array(code))


def test_to_str_takes_one_code():
    """A batch of codes has no single string."""
    with pytest.raises(ValueError, match=r"one code \[6\], got shape \[2, 6\]"):
        nb201.to_str(np.zeros((2, 6), int))


def test_enumeration_is_complete_and_read_only():
    """The cached array cannot be changed by a caller."""
    everything = nb201.enumerate_codes()
    assert everything.shape == (15625, 6)
    assert everything.dtype == np.int32
    assert len(np.unique(everything, axis=0)) == 15625
    with pytest.raises(ValueError, match="read-only"):
        everything[0, 0] = 1


def test_enumeration_is_the_official_order(rows):
    """All 15,625 strings are in the order of the official table."""
    strings = [nb201.to_str(code) for code in nb201.enumerate_codes()]
    assert strings == [row["arch_str"] for row in rows]


@pytest.mark.parametrize(
    ("arch", "expected"),
    [
        ([0, 0, 0, 0, 0, 0], "#+#+#"),
        ([3, 0, 0, 0, 0, 0], "#+#+#"),  # a convolution that nobody reads
        ([1, 0, 0, 0, 2, 0], "#+#+(0)@nor_conv_1x1"),  # a skip is transparent
        ([0, 0, 0, 1, 3, 0], "#+#+0"),  # a convolution of nothing
        ([0, 0, 0, 1, 0, 3], "#+(#+#)@nor_conv_3x3+0"),  # but not of a zero sum
        ([2, 2, 4, 0, 0, 1], "#+#+((0)@nor_conv_1x1)@avg_pool_3x3+(0)@nor_conv_1x1"),
    ],
)
def test_unique_string(arch, expected):
    """Worked by hand from the definition."""
    assert classes._unique_string(arch) == expected


def test_isomorphism_classes_are_the_official_ones(rows):
    """Same strings and same partition, 6,466 classes."""
    everything = nb201.enumerate_codes()
    strings = [classes._unique_string(code) for code in everything.tolist()]
    assert strings == [row["isomorphism_str"] for row in rows]
    representatives = classes.canonical(everything)
    pairs = {(s, tuple(r)) for s, r in zip(strings, representatives, strict=True)}
    assert len(pairs) == len(set(strings)) == len({r for _, r in pairs}) == 6466


@given(codes)
def test_canonical_is_idempotent_and_cheapest(code):
    """A representative is in its class and represents itself."""
    representative = classes.canonical(np.array(code))
    np.testing.assert_array_equal(classes.canonical(representative), representative)
    assert counts.num_params(representative) <= counts.num_params(code)
    assert classes._unique_string(representative) == classes._unique_string(code)


def test_canonical_is_first_of_its_equals_in_the_official_order():
    """The tie between equally cheap members is broken as documented."""
    everything = nb201.enumerate_codes()
    index = {tuple(code): i for i, code in enumerate(everything.tolist())}
    params = counts.num_params(everything)
    best = [index[tuple(r)] for r in classes.canonical(everything).tolist()]
    for i, representative in enumerate(best):
        assert params[representative] < params[i] or representative <= i


def test_canonicalising_everything_is_quick():
    """From a cold cache."""
    everything = nb201.enumerate_codes()
    classes._representatives.cache_clear()
    start = time.perf_counter()
    classes.canonical(everything)
    assert time.perf_counter() - start < 1


def test_members_of_a_class_are_different_networks():
    """5,138 architectures have more parameters than what represents them."""
    everything = nb201.enumerate_codes()
    same = (counts.num_params(classes.canonical(everything))) == (
        counts.num_params(everything)
    )
    assert np.sum(~same) == 5138


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ([0, 0, 0, 0, 0, 0], True),
        ([0, 0, 0, 3, 0, 0], True),
        ([1, 0, 0, 3, 0, 0], False),  # node 1 is not read
        ([0, 0, 0, 3, 1, 0], False),  # node 1 has no input
        ([3, 0, 3, 0, 0, 3], True),
        ([3, 0, 3, 1, 0, 0], False),  # node 2 is not read, so node 1 is not either
        ([0, 1, 2, 0, 0, 1], False),
    ],
)
def test_reachable(code, expected):
    """Worked by hand."""
    assert nb201.reachable(np.array(code)) == expected


def test_reachable_architectures_are_those_of_nasbench_suite_zero(shared_data):
    """The same 9,445 architectures."""
    path = shared_data / "nb201_scores_nasbenchsuitezero.csv.gz"
    with gzip.open(path, "rt", newline="") as file:
        expected = {int(row["index"]) for row in csv.DictReader(file)}
    found = np.flatnonzero(nb201.reachable(nb201.enumerate_codes()))
    assert len(found) == 9445
    assert set(found.tolist()) == expected


def test_counts_by_hand():
    """A network small enough to count on paper."""
    # width 4, one cell a stage, a 1x1 convolution per cell, 8x8 pixels, 3 classes
    code = np.array([0, 0, 0, 2, 0, 0])
    stem, cells = 27 * 4 + 8, (16 + 8) + (64 + 16) + (256 + 32)
    to8, to16 = 288 + 576 + 2 * 16 + 32, 1152 + 2304 + 2 * 32 + 128
    head = 2 * 16 + 17 * 3
    params = counts.num_params(code, width=4, cells=1, num_classes=3)
    assert params == stem + cells + to8 + to16 + head
    macs = counts.num_macs(code, width=4, cells=1, resolution=8, num_classes=3)
    cells = 16 * 64 + 64 * 16 + 256 * 4
    reductions = (288 + 576 + 32) * 16 + (1152 + 2304 + 128) * 4
    assert macs == 27 * 4 * 64 + cells + reductions + 17 * 3


@pytest.mark.parametrize(
    ("dataset", "num_classes", "resolution"),
    [("cifar10", 10, 32), ("cifar100", 100, 32), ("imagenet16", 120, 16)],
)
def test_counts_are_the_official_ones(rows, dataset, num_classes, resolution):
    """Equal for all 15,625 architectures and three datasets."""
    everything = nb201.enumerate_codes()
    params = counts.num_params(everything, num_classes=num_classes)
    np.testing.assert_array_equal(params, column(rows, f"params_{dataset}", int))
    macs = counts.num_macs(everything, num_classes=num_classes, resolution=resolution)
    # The table has MFLOPs with five decimals.
    np.testing.assert_array_equal(
        np.round(macs / 1e6, 5), column(rows, f"flops_m_{dataset}")
    )


def test_macs_refuse_a_resolution_that_cannot_be_halved_twice():
    """Rather than round silently."""
    with pytest.raises(ValueError, match="multiple of 4, got 30"):
        counts.num_macs(np.array(CODE), resolution=30)


def test_functions_take_one_code_or_many():
    """Leading axes are kept."""
    many = nb201.enumerate_codes()[:6].reshape(2, 3, 6)
    for function in (counts.num_params, counts.num_macs, nb201.reachable, counts.cost):
        result = function(many)
        assert result.shape == (2, 3)
        assert result[1, 2] == function(many[1, 2])
    assert classes.canonical(many).shape == (2, 3, 6)
    assert classes.canonical(many).dtype == np.int32


def test_cost_grows_with_the_operations():
    """In the order that was measured."""
    none, skip, conv1, conv3, pool = counts.cost(
        np.repeat(np.arange(5), 6).reshape(5, 6)
    )
    assert 0 < none < skip < pool < conv1 < conv3
