"""The MobileNetV2 space of ZenNAS: strings, counts, budgets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxproxy.spaces import Mode, Space, mobilenetv2
from jaxproxy.spaces._mobilenetv2 import _codes as host
from jaxproxy.types import Fidelity

SPACE = mobilenetv2()
INITIAL = (
    "SuperConvK3BNRELU(3,8,2,1)SuperResIDWE6K3(8,32,2,8,1)SuperResIDWE6K3(32,48,2,32,1)"
    "SuperResIDWE6K3(48,96,2,48,1)SuperResIDWE6K3(96,128,2,96,1)"
    "SuperConvK1BNRELU(128,2048,1,1)"
)
LONG = (
    "SuperConvK3BNRELU(3,16,2,1)SuperResIDWE1K7(16,40,2,40,1)"
    "SuperResIDWE1K7(40,64,2,64,1)SuperResIDWE4K7(64,96,2,96,4)"
    "SuperResIDWE4K7(96,96,1,96,1)SuperResIDWE2K7(96,224,2,224,5)"
    "SuperConvK1BNRELU(224,2048,1,1)"
)
codes = st.tuples(*(st.integers(0, n - 1) for n in host.CHOICES)).map(np.array)


def layers(arch: str, resolution: int = 224) -> list[tuple[int, int, int, int, bool]]:
    """Kernel, groups, channels in and out, pixels of every convolution of a string."""
    found, side = [], resolution
    for word in arch.split(")")[:-1]:
        name, _, fields = word.partition("(")
        inputs, outputs, stride, *rest = map(int, fields.split(","))
        if name.startswith("SuperConv"):
            side //= stride
            found.append((int(name[10]), 1, inputs, outputs, side**2))
            continue
        expansion, kernel = int(name[12]), int(name[14])
        middle, depth = rest
        for pair in range(depth):
            for a, b in ((inputs if pair == 0 else outputs, middle), (middle, outputs)):
                wide = expansion * b
                found.append((1, 1, a, wide, side**2))
                if pair == 0 and b is middle:
                    side //= stride if (a, b) == (inputs, middle) else 1
                found.append((kernel, wide, wide, wide, side**2))
                found.append((1, 1, wide, b, side**2))
                stride = 1
    return found


@pytest.mark.parametrize("arch", [INITIAL, LONG])
def test_counts_are_those_of_the_layers(arch: str) -> None:
    code = SPACE.from_str(arch)
    assert SPACE.to_str(code) == arch
    rows = layers(arch)
    weights = sum(k * k * a * b // g for k, g, a, b, _ in rows)
    params = weights + sum(2 * b for _, _, _, b, _ in rows) + 2049 * 1000
    assert SPACE.num_params(code) == params
    macs = sum(k * k * a * b // g * pixels for k, g, a, b, pixels in rows)
    assert SPACE.num_macs(code) == macs + 2049 * 1000
    assert host.num_tensors(code) == 3 * len(rows) + 2


def test_a_stage_may_be_split_in_two() -> None:
    whole = LONG.replace(
        "(64,96,2,96,4)SuperResIDWE4K7(96,96,1,96,1)", "(64,96,2,96,5)"
    )
    a, b = SPACE.from_str(whole), SPACE.from_str(LONG)
    assert (a != b).any()
    assert SPACE.num_macs(a) == SPACE.num_macs(b)
    assert SPACE.num_params(a) == SPACE.num_params(b)


def test_absent_stages_have_a_canonical_form() -> None:
    code = SPACE.from_str(INITIAL)
    other = code.copy()
    other[16:20] = 1, 2, 3, 4  # of the fourth stage, which has no sub-layers
    assert "SuperResIDWE4K5(96,32,1,40,0)" in SPACE.to_str(other)
    np.testing.assert_array_equal(SPACE.canonical(other), code)
    for count in (SPACE.num_params, SPACE.num_macs, host.num_tensors):
        assert count(other) == count(code)


@given(codes)
def test_strings_round_trip(code: np.ndarray) -> None:
    np.testing.assert_array_equal(SPACE.from_str(SPACE.to_str(code)), code)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("(8,32,2,8,1)", "(8,72,2,8,1)", r"unknown width 72 .*choose from \[8, .*64\]"),
        ("(8,32,2,8,1)", "(8,32,2,12,1)", "unknown bottleneck 12"),
        ("(8,32,2,8,1)", "(8,32,2,8,6)", "unknown number of sub-layers 6"),
        ("(8,32,2,8,1)", "(8,32,2,8,0)", "unknown number of sub-layers 0"),
        ("(8,32,2,8,1)", "(8,0,2,8,1)", "unknown width 0"),
        ("(8,32,2,8,1)", "(8,32,1,8,1)", "stride must be"),
        ("(8,32,2,8,1)", "(8,32,3,8,1)", "stride must be"),
        ("(8,32,2,8,1)", "(16,32,2,8,1)", "input channels must be 8"),
        ("(8,32,2,8,1)", "(8,32,2,8)", "must be SuperResIDWE#K#"),
        ("(8,32,2,8,1)", "(8,032,2,8,1)", "must be SuperResIDWE#K#"),
        ("(8,32,2,8,1)", "(8,-32,2,8,1)", "must be SuperResIDWE#K#"),
        ("E6K3(8,", "E6K9(8,", r"unknown kernel 9 .*\[3, 5, 7\]"),
        ("E6K3(8,", "E3K3(8,", r"unknown expansion 3 .*\[1, 2, 4, 6\]"),
        ("SuperResIDWE6K3(8,", "SuperResK3K3(8,", "must be SuperResIDWE#K#"),
        ("(3,8,2,1)", "(3,8,1,1)", "must be 3,WIDTH,2,1"),
        ("(3,8,2,1)", "(1,8,2,1)", "must be 3,WIDTH,2,1"),
        ("(3,8,2,1)", "(3,80,2,1)", "unknown width 80"),
        ("(128,2048,1,1)", "(128,4096,1,1)", "unknown width 4096"),
        ("(128,2048,1,1)", "(96,2048,1,1)", "input channels must be 128"),
        (
            "SuperResIDWE6K3(96,128,2,96,1)SuperConvK1BNRELU(128",
            "SuperConvK1BNRELU(96",
            "four stages of stride 2",
        ),
        ("SuperConvK1BNRELU(128,2048,1,1)", "", "four stages of stride 2"),
        ("SuperConvK3", "Conv;K3", "is not a chain of blocks"),
        ("SuperConvK1", "SuperConvK3", "must be SuperConvK1BNRELU"),
    ],
)
def test_hostile_strings_are_explained(old: str, new: str, message: str) -> None:
    assert old in INITIAL
    with pytest.raises(ValueError, match=message):
        SPACE.from_str(INITIAL.replace(old, new, 1))


def test_too_many_stages_and_empty_strings() -> None:
    more = LONG.replace("Conv", "ResIDWE2K7(224,224,2,224,1)Conv").replace(
        "SuperResIDWE2K7(224,224,2,224,1)Conv", "SuperConv", 1
    )
    with pytest.raises(ValueError, match="stride must be"):
        SPACE.from_str(more)
    with pytest.raises(ValueError, match="is not a chain"):
        SPACE.from_str("")


def small(**budgets: int) -> Space:
    return mobilenetv2(num_classes=10, **budgets)


def test_budgets_bind_everything() -> None:
    most = {"max_macs": 100_000_000, "max_params": 1_500_000}
    space, rng = small(**most), np.random.default_rng(0)
    found = space.sample(rng, 100)
    assert len(np.unique(found, axis=0)) == 100
    children = [space.crossover(rng, code, found[0]) for code in found[1:20]]
    mutants = [space.mutate(rng, code) for code in found[:20]]
    others = np.array(children), np.array(mutants), space.neighbours(found[0])
    for some in (found, *others):
        assert (space.num_macs(some) <= most["max_macs"]).all()
        assert (space.num_params(some) <= most["max_params"]).all()
    # It is the budget that holds them back.
    assert space.num_macs(found).max() > 0.9 * most["max_macs"]


def test_codes_above_a_budget_are_explained() -> None:
    space = small(max_macs=100_000_000)
    largest = np.array(host.CHOICES) - 1
    more = space.num_macs(largest) - 100_000_000
    with pytest.raises(ValueError, match=f"exceeds max_macs=100,000,000 by {more:,}"):
        space.check_codes(largest[None])


def test_samples_under_a_budget_are_uniform() -> None:
    """Random walks and rejection agree in the mean of each gene."""
    space, rng = small(max_macs=450_000_000), np.random.default_rng(0)
    draws = rng.integers(0, host.CHOICES, (12_000, len(host.CHOICES)))
    expected = draws[space.valid(draws)]
    walked = space.sample(rng, 2000)
    error = expected.std(0) * (1 / len(expected) + 1 / 2000) ** 0.5
    assert (np.abs(walked.mean(0) - expected.mean(0)) < 4.5 * error).all()


def test_bad_arguments_are_refused() -> None:
    for name in ("max_macs", "max_params"):
        with pytest.raises(ValueError, match=f"{name} must be at least .*, not 1,000"):
            mobilenetv2(**{name: 1000})
    with pytest.raises(
        ValueError, match="num_classes is an integer from 1 to 1000000, not 0"
    ):
        mobilenetv2(num_classes=0)
    with pytest.raises(ValueError, match="multiple of 32, got 100"):
        mobilenetv2(resolution=100).num_macs(np.zeros(32, int))
    with pytest.raises(ValueError, match="width must be even, not 3"):
        SPACE.network(Fidelity(3, 1, 2, 32), Mode())
    with pytest.raises(ValueError, match="multiple of 32, not 48"):
        SPACE.network(Fidelity(2, 1, 2, 48), Mode())
    with pytest.raises(ValueError, match="gene 3 is 8; mobilenetv2 allows 0 to 7"):
        host.num_params(np.where(np.arange(32) == 3, 8, 0))
    with pytest.raises(ValueError, match="one code"):
        SPACE.to_str(np.zeros((2, 32), int))


def test_drawing_names_the_stages() -> None:
    assert SPACE.graph is not None
    nodes, edges = SPACE.graph(SPACE.from_str(LONG))
    assert len(nodes) == 2 + 5 + 2 and len(edges) == len(nodes) - 1
    assert "8 blocks 7x7 x4 96, 96 /2" in nodes
