"""Functions of many codes against those of one, for every space."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
from helpers.toy_space import toy

from jaxproxy.spaces import SPACES, Constraint, Space, _many, _sampling, parse_space
from jaxproxy.spaces._nasbench_nlp import _codes as recipes
from jaxproxy.spaces._nasbench_nlp._valid import valid

pytestmark = pytest.mark.smoke

TEXTS = (*SPACES, "autoformer(size=small)", "autoformer(size=base)")
NUM = 60


def _random(space: Space, num: int, seed: int = 0) -> np.ndarray:
    """Codes whose genes are independent, architectures or not."""
    rng = np.random.default_rng(seed)
    shape = (num, len(space.choices))
    return rng.integers(0, space.choices, shape).astype(np.int32)


def _architectures(space: Space) -> np.ndarray:
    """Random architectures and mutants; no sample, which lists NAS-Bench-101 first."""
    codes = _random(space, 20 * NUM)
    codes = codes[space.valid(codes)][:NUM]
    if len(codes) < NUM:  # recipes, which random genes never are
        codes = space.sample(np.random.default_rng(0), NUM)
    return codes


@pytest.mark.parametrize("text", TEXTS)
def test_strings_are_those_of_one_code_after_another(text: str) -> None:
    space = parse_space(text)
    assert space.strings is not None
    codes = _architectures(space)
    archs = [space.to_str(code) for code in codes]
    assert space.to_strs(codes) == archs
    read, known = space.strings.read(archs)
    assert known.all()
    np.testing.assert_array_equal(read, codes)
    found = space.from_strs(archs)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, codes)


@pytest.mark.parametrize("text", TEXTS)
def test_codes_that_are_no_architecture_are_written_alike(text: str) -> None:
    space = parse_space(text)
    codes = _random(space, NUM, seed=1)
    assert space.to_strs(codes) == [space.to_str(code) for code in codes]


@pytest.mark.parametrize("text", TEXTS)
def test_no_codes_and_no_strings(text: str) -> None:
    space = parse_space(text)
    none = np.zeros((0, len(space.choices)), np.int32)
    assert space.to_strs(none) == []
    assert space.from_strs([]).shape == none.shape
    assert space.mutants(np.random.default_rng(0), none).shape == none.shape


@pytest.mark.parametrize("text", TEXTS)
def test_canonical_forms_are_those_of_one_code_after_another(text: str) -> None:
    space = parse_space(text)
    codes = _architectures(space)
    expected = [space.canonical(code) for code in codes]
    np.testing.assert_array_equal(space.canonical(codes), expected)


@pytest.mark.parametrize("text", TEXTS)
def test_damaged_strings_are_read_or_refused_alike(text: str) -> None:
    """Every string with a character left out, doubled or changed, as `from_str` has it.

    Those that it refuses are refused with the same message.
    """
    space = parse_space(text)
    rng = np.random.default_rng(2)
    for arch in space.to_strs(_architectures(space)[:12]):
        place = int(rng.integers(len(arch)))
        for piece in ("", 2 * arch[place], "0", "1", "9", "|", ")"):
            damaged = arch[:place] + piece + arch[place + 1 :]
            try:
                expected = space.from_str(damaged)
            except ValueError as error:
                with pytest.raises(ValueError) as caught:
                    space.from_strs([arch, damaged])
                assert str(caught.value) == str(error)
            else:
                found = space.from_strs([arch, damaged])
                np.testing.assert_array_equal(found[1], expected)


OTHER_FORMS = {
    "nasbench101": (
        "011/001/000:input|maxpool3x3|output",
        "01/00:input|output",
        "0110/0001/0001/0000:input|conv1x1-bn-relu|maxpool3x3|output",
        " 011/001/000:input|conv3x3-bn-relu|output\n",
    ),
    "nasbench201": ("(4, 0, 3, 1, 4, 3)", "7"),
    "natsbench_sss": ("7", " 64:8:24:48:16"),
    "nasbench_macro": ("0-1-2-0-1-2-0-1",),
    "mobilenetv2": (
        "SuperConvK3BNRELU(3,16,2,1)SuperResIDWE1K7(16,40,2,40,1)"
        "SuperResIDWE1K7(40,64,2,64,1)SuperResIDWE4K7(64,96,2,96,5) "
        "SuperResIDWE2K7(96,224,2,224,5)SuperConvK1BNRELU(224,2048,1,1)",
    ),
    "nasbench_nlp": (
        '{"b": {"op": "activation_tanh", "input": ["a"]}, "h_new_0": {"op": '
        '"elementwise_sum", "input": ["b", "h_prev_0"]}, "a": {"op": "linear", '
        '"input": ["x", "h_prev_0"]}}',
    ),
}


@pytest.mark.parametrize("name", OTHER_FORMS)
def test_other_forms_are_read_among_the_usual_one(name: str) -> None:
    space = SPACES[name]()
    usual = space.to_strs(_architectures(space)[:2])
    archs = [usual[0], *OTHER_FORMS[name], usual[1]]
    expected = [space.from_str(arch) for arch in archs]
    np.testing.assert_array_equal(space.from_strs(archs), expected)


def test_the_first_wrong_string_is_named() -> None:
    space = SPACES["nasbench101"]()
    good = "011/001/000:input|maxpool3x3|output"
    unconnected = "000/001/000:input|maxpool3x3|output"
    with pytest.raises(ValueError, match="no path from input to output"):
        space.from_strs([good, unconnected, "nonsense"])


@pytest.mark.parametrize("name", SPACES)
def test_wrong_codes_are_not_written(name: str) -> None:
    space = SPACES[name]()
    code = np.zeros((1, len(space.choices)), int)
    code[0, -1] = space.choices[-1]
    with pytest.raises(ValueError, match=f"allows 0 to {space.choices[-1] - 1}"):
        space.to_strs(code)
    with pytest.raises(ValueError, match="are integers"):
        space.to_strs(code / 2)
    with pytest.raises(ValueError, match="have shape"):
        space.to_strs(code[0])


def test_a_space_without_tables_goes_one_by_one() -> None:
    space = toy()
    codes = space.sample(np.random.default_rng(0), 9)
    archs = space.to_strs(codes)
    assert archs == [space.to_str(code) for code in codes]
    np.testing.assert_array_equal(space.from_strs(archs), codes)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("num_mutations", [0, 1, 2])
def test_mutants_are_architectures_that_differ_by_so_much(
    name: str, num_mutations: int
) -> None:
    space = SPACES[name]()
    codes = _architectures(space)[: 5 if name == "nasbench_nlp" else NUM]
    before = codes.copy()
    found = space.mutants(np.random.default_rng(3), codes, num_mutations)
    np.testing.assert_array_equal((found != codes).sum(1), num_mutations)
    np.testing.assert_array_equal(codes, before)
    assert space.valid(found).all()
    assert found.dtype == np.int32


def test_mutants_are_as_likely_as_those_of_one_code() -> None:
    """All 6 x 4 mutants of a code are equally likely: a chi-squared of 23 degrees.

    It is below 50 in 999 of 1,000 draws of a fair die.
    """
    space = SPACES["nasbench201"]()
    code = np.array([0, 1, 2, 3, 4, 0], np.int32)
    num = 24_000
    found = space.mutants(np.random.default_rng(0), np.tile(code, (num, 1)))
    values, counts = np.unique(found, axis=0, return_counts=True)
    assert len(values) == 24
    assert ((counts - num / 24) ** 2 / (num / 24)).sum() < 50


def test_mutants_are_as_likely_where_some_are_no_architecture() -> None:
    """Of the mask of one operation an edge, all that give an edge another are equal.

    Taking the only operation of an edge away leaves none, so 18 of 24 are masks.
    """
    space = SPACES["nasbench201_supernet"]()
    mask = np.tile([1, 0, 0, 0], 6).astype(np.int32)
    num = 18_000
    found = space.mutants(np.random.default_rng(0), np.tile(mask, (num, 1)))
    values, counts = np.unique(found, axis=0, return_counts=True)
    assert len(values) == 18
    assert ((counts - 1000) ** 2 / 1000).sum() < 43  # 17 degrees, 1 in 2,000


def test_mutants_refuse_what_mutate_refuses() -> None:
    space = SPACES["nasbench201"]()
    codes = np.zeros((2, 6), np.int32)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="num_mutations=7; nasbench201 has 6 genes"):
        space.mutants(rng, codes, 7)
    with pytest.raises(ValueError, match="allows 0 to 4"):
        space.mutants(rng, codes + 5)
    stuck = dataclasses.replace(
        toy(), constraint=Constraint(lambda codes: np.all(codes == 0, axis=-1))
    )
    with pytest.raises(ValueError, match=r"mutants of .* is an architecture of toy"):
        stuck.mutants(rng, np.zeros((1, len(stuck.choices)), np.int32))


def test_recipes_are_told_apart_as_the_reasons_say() -> None:
    """On recipes, on codes that differ in one to three genes, and on random ones."""
    space = SPACES["nasbench_nlp"]()
    rng = np.random.default_rng(4)
    codes = np.repeat(space.sample(rng, 30), 40, axis=0)
    for code in codes[40:]:
        genes = rng.integers(len(space.choices), size=int(rng.integers(1, 4)))
        code[genes] = rng.integers(0, np.array(space.choices)[genes])
    codes = np.concatenate([codes, _random(space, 50)])
    expected = np.array([not recipes.problem(code) for code in codes])
    assert 100 < expected.sum() < len(codes) - 100
    np.testing.assert_array_equal(valid(codes), expected)
    np.testing.assert_array_equal(valid(codes[:3]), expected[:3])
    np.testing.assert_array_equal(valid(codes[0]), expected[0])


DRAWN = {
    "autoformer": "0c534f737d568b02",
    "mobilenetv2": "4dd694367139c526",
    "nasbench101": "4a1e56fabb3fa3d8",
    "nasbench201": "56562c00c948d2a3",
    "nasbench201_supernet": "2529657ea2565a05",
    "nasbench_macro": "3ac15d6b0df7806c",
    "nasbench_nlp": "c3a16734224bf7bf",
    "natsbench_sss": "2aad13d337e72b4b",
    "transnasbench101_micro": "20d0402d2224bd28",
    "autoformer(size=base)": "6deb4e7d89d63f5a",
    "mobilenetv2(max_macs=450000000)": "a63623047826000f",
}
"""Hashes of 40 random codes, a mutant and a child, as every release drew them.

Results are recorded by their seeds, so what a seed draws must not change.
"""


@pytest.mark.parametrize("text", DRAWN)
def test_seeds_draw_what_they_drew(text: str) -> None:
    space, rng = parse_space(text), np.random.default_rng(0)
    codes = space.sample(rng, 40)
    for _ in range(3):
        mutant = space.mutate(rng, codes[0], 2)
    child = space.crossover(rng, codes[0], mutant)
    found = np.concatenate([codes, [mutant, child]]).astype(np.int32)
    assert hashlib.sha256(found.tobytes()).hexdigest()[:16] == DRAWN[text]


def test_blocks_change_no_draw_and_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sampling, "_BLOCK", 3)
    monkeypatch.setattr(_many, "_BLOCK", 8)
    space = SPACES["mobilenetv2"]()
    found = space.sample(np.random.default_rng(6), 20)
    expected = np.random.default_rng(6).integers(0, space.choices, (20, 32))
    np.testing.assert_array_equal(found, expected)
    assert ((space.mutants(np.random.default_rng(0), found) != found).sum(1) == 1).all()
    wrong = found.copy()
    wrong[10, 3] = 8
    with pytest.raises(ValueError, match="gene 3 of code 10 is 8; mobilenetv2 allows"):
        space.check_codes(wrong)
    masks = np.ones((11, 24), np.int32)
    masks[7, 4:8] = 0
    with pytest.raises(ValueError, match=r"code 7, .* from node 0 to node 2 has no op"):
        SPACES["nasbench201_supernet"]().check_codes(masks)


def test_json_of_recipes_is_json() -> None:
    space = SPACES["nasbench_nlp"]()
    codes = space.sample(np.random.default_rng(5), 20)
    for arch in space.to_strs(codes):
        assert json.dumps(json.loads(arch), separators=(",", ":")) == arch
