"""NAS-Bench-101 on the host, against hand-worked values and the official tables."""

import csv
import gzip
import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxproxy.spaces import nasbench101
from jaxproxy.spaces._nasbench101 import _codes as nb101
from jaxproxy.spaces._nasbench101 import _counts as counts
from jaxproxy.spaces._nasbench101._canonical import canonical, enumerate_codes

SPACE = nasbench101()
CONV3, CONV1, POOL = nb101.OPS
LINE = "011/001/000:input|conv3x3-bn-relu|output"
# Vertex 2 is read by none, vertex 3 reads none.
DEAD = (
    "0110000/0010001/0000000/0000001/0000000/0000000/0000000"
    f":input|{CONV1}|{CONV3}|{POOL}|{CONV3}|{CONV3}|output"
)


@pytest.fixture(scope="module", params=["7v_10k", "subset"])
def rows(shared_data, request):
    """A table of trained architectures, a dictionary each."""
    path = shared_data / f"nb101_{request.param}_108ep.csv.gz"
    with gzip.open(path, "rt", newline="") as file:
        return list(csv.DictReader(file))


def codes_of(rows) -> np.ndarray:
    return np.stack([nb101.from_str(f"{r['adjacency']}:{r['ops']}") for r in rows])


def random_codes(num: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, nb101.CHOICES, (20 * num, 26)).astype(np.int32)
    return codes[nb101.valid(codes)][:num]


def test_hashes_and_params_are_the_official_ones(rows):
    codes = codes_of(rows)
    assert [nb101.module_hash(code) for code in codes] == [r["hash"] for r in rows]
    params = counts.num_params(codes)
    np.testing.assert_array_equal(params, [int(r["params"]) for r in rows])


def test_representatives_keep_the_hash_and_tell_classes_apart(rows):
    codes = canonical(codes_of(rows))
    assert len(np.unique(codes, axis=0)) == len({r["hash"] for r in rows})
    for code, row in zip(codes[::20], rows[::20], strict=True):
        assert nb101.module_hash(code) == row["hash"]


def test_enumeration_is_complete():
    """As many graphs as the paper has, all canonical, each once."""
    codes = enumerate_codes()
    assert codes.shape == (423624, 26)
    assert codes.dtype == np.int32
    with pytest.raises(ValueError, match="read-only"):
        codes[0, 0] = 1
    some = codes[::1000]
    np.testing.assert_array_equal(canonical(some), some)
    assert nb101.valid(codes).all()
    assert len({nb101.module_hash(code) for code in some}) == len(some)
    # Of the list as every release had it: what a seed draws depends on its order.
    assert hashlib.sha256(codes.tobytes()).hexdigest() == (
        "f412dce1c1be4fefc5a625129b99eb8cade0abf0aea5108762adc0a705955649"
    )
    places = {code.tobytes() for code in codes}
    assert all(code.tobytes() in places for code in canonical(random_codes(500)))


@given(st.integers(0, 2**32 - 1), st.permutations(range(1, 6)))
@settings(max_examples=40, deadline=None)
def test_isomorphic_codes_have_one_hash_and_representative(seed, order):
    (code,) = random_codes(1, seed)
    matrix, ops, _ = nb101.modules(code)
    places = np.array([0, *order, 6])
    moved = matrix[np.ix_(places, places)]
    if np.tril(moved).any():
        return
    other = nb101.join(moved, ops[np.array(order) - 1])
    assert nb101.module_hash(other) == nb101.module_hash(code)
    np.testing.assert_array_equal(canonical(other), canonical(code))


def test_pruning_by_hand():
    code = nb101.from_str(DEAD)
    matrix, ops = nb101.pruned(code)
    assert ops == ("input", CONV1, "output")
    np.testing.assert_array_equal(matrix, [[0, 1, 0], [0, 0, 1], [0, 0, 0]])
    short = nb101.from_matrix(matrix, ops)
    assert nb101.module_hash(short) == nb101.module_hash(code)
    np.testing.assert_array_equal(canonical(short), canonical(code))
    np.testing.assert_array_equal(nb101.from_str(nb101.to_str(code)), code)
    again, names = nb101.prune(
        np.triu(np.ones((3, 3), int), 1), ("input", POOL, "output")
    )
    assert again.tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 0]]
    assert names == ("input", POOL, "output")


@pytest.mark.parametrize(
    ("edges", "channels", "expected"),
    [
        ([(0, 1), (1, 6)], 128, [128, 0, 0, 0, 0]),
        ([(0, 1), (1, 6), (0, 2), (2, 6), (2, 3), (3, 6)], 128, [43, 43, 42, 0, 0]),
        # Vertex 1 feeds 2 and 4, which have 3 and 2 of the five channels.
        ([(0, 1), (1, 2), (1, 4), (2, 6), (4, 6)], 5, [3, 3, 0, 2, 0]),
        ([(0, 1), (1, 2), (2, 3), (3, 6), (0, 5), (5, 6)], 7, [4, 4, 4, 0, 3]),
        ([(0, 6)], 16, [0, 0, 0, 0, 0]),
    ],
)
def test_channels_by_hand(edges, channels, expected):
    matrix = np.zeros((7, 7), bool)
    matrix[tuple(np.array(edges).T)] = True
    assert nb101.vertex_channels(matrix, channels).tolist() == expected


def test_counts_by_hand():
    """A projection of the input alone."""
    code = nb101.from_matrix([[0, 1], [0, 0]], ("input", "output"))
    pairs = [128, 128, 128, 128, 256, 256, 256, 512, 512]
    outs = [128] * 3 + [256] * 3 + [512] * 3
    weights = [a * b for a, b in zip(pairs, outs, strict=True)]
    stem, head = 27 * 128 + 256, 512 * 10 + 10
    assert counts.num_params(code) == stem + sum(weights) + 2 * sum(outs) + head
    pixels = [32**2] * 3 + [16**2] * 3 + [8**2] * 3
    macs = 27 * 128 * 32**2 + np.dot(weights, pixels) + 512 * 10
    assert counts.num_macs(code) == macs
    assert counts.num_tensors(code) == 3 + 27 + 2
    with pytest.raises(ValueError, match="multiple of 4, got 30"):
        counts.num_macs(code, resolution=30)


def test_functions_take_one_code_or_many():
    many = random_codes(6).reshape(2, 3, 26)
    functions = (
        counts.num_params, counts.num_macs, counts.num_tensors, counts.cost,
        nb101.valid, canonical,
    )  # fmt: skip
    for function in functions:
        result = function(many)
        assert result.shape[:2] == (2, 3)
        np.testing.assert_array_equal(result[1, 2], function(many[1, 2]))


def test_one_change_at_a_time_leads_everywhere():
    """Every code loses edges one by one until the input feeds the output alone."""
    for code in random_codes(20):
        direct = code.copy()
        direct[5] = 1  # the edge from vertex 0 to vertex 6
        if not nb101.valid(direct):
            kept = np.flatnonzero(code[:21])
            spare = [g for g in kept if nb101.valid(without(code, g))]
            code = without(code, spare[0])
            direct = code.copy()
            direct[5] = 1
        assert nb101.valid(direct)
        for gene in np.flatnonzero(direct[:21]):
            if gene != 5:
                direct = without(direct, gene)
                assert nb101.valid(direct)
        assert nb101.pruned(direct)[1] == ("input", "output")


def without(code: np.ndarray, gene: int) -> np.ndarray:
    code = code.copy()
    code[gene] = 0
    return code


def test_graph_is_pruned():
    nodes, edges = SPACE.graph(nb101.from_str(DEAD))
    assert nodes == ("input", CONV1, "output")
    assert edges == ((0, 1, "projection"), (1, 2, ""))


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("", "not a square matrix"),
        (LINE.replace(":", "|"), "not a square matrix"),
        (LINE.replace("011", "012"), "not a square matrix"),
        (LINE.replace("011", "01"), "not a square matrix"),
        (LINE.replace("000:", "010:"), "zero on and below"),
        (LINE.replace("input|", ""), "operations of 3 vertices.*'conv1x1"),
        (LINE.replace("3x3", "5x5"), "unknown operation 'conv5x5.*choose from"),
        ("010/000/000:input|conv3x3-bn-relu|output", "no path"),
        ("0:input", "2 to 7 vertices"),
        (
            "/".join("0" * i + "1" * (7 - i) for i in range(1, 8))
            + f":input|{'|'.join([CONV3] * 5)}|output",
            "21 edges, more than 9",
        ),
        ("/".join(["0" * 8] * 8) + ":input|output", "2 to 7 vertices"),
    ],
)
def test_malformed_strings_are_explained(arch, message):
    with pytest.raises(ValueError, match=message):
        nb101.from_str(arch)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (np.zeros(25, int), r"integer\[..., 26\], got int64\[25\]"),
        (np.zeros(26), r"integer\[..., 26\], got float64\[26\]"),
        (np.array([2, *[0] * 25]), "edges are 0 to 1, got 2"),
        (np.array([*[0] * 25, 3]), "operations are 0 to 2, got 3"),
    ],
)
def test_wrong_codes_are_refused_everywhere(code, message):
    functions = (nb101.to_str, nb101.valid, canonical, counts.num_params, counts.cost)
    for function in functions:
        with pytest.raises(ValueError, match=message):
            function(code)


def test_what_is_no_architecture_says_why():
    nothing = np.zeros((1, 26), int)
    with pytest.raises(ValueError, match="no path from input to output"):
        SPACE.check_codes(nothing)
    with pytest.raises(ValueError, match="no hash: there is no path"):
        nb101.module_hash(nothing[0])
    with pytest.raises(ValueError, match="entries are 0 or 1"):
        nb101.from_matrix([[0, 2], [0, 0]], ("input", "output"))
    with pytest.raises(ValueError, match="got shape \\[2, 3\\]"):
        nb101.from_matrix(np.zeros((2, 3), int), ("input", "output"))
    with pytest.raises(ValueError, match=r"one code \[26\], got shape \[1, 26\]"):
        nb101.to_str(nothing)
    with pytest.raises(
        ValueError, match="num_classes is an integer from 1 to 1000000, not 0"
    ):
        nasbench101(num_classes=0)
