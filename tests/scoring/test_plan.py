"""Plans of runs against the plain way to make them, which takes more of everything."""

import dataclasses
import hashlib
import math

import numpy as np
import pytest
from helpers.toy_space import toy

from jaxproxy.scoring import _plan
from jaxproxy.scoring._balance import deal
from jaxproxy.scoring._keys import distinct_keys, pack, unpack
from jaxproxy.scoring._plan import SpaceStrings, make_plan
from jaxproxy.spaces import Isomorphism, Space, parse_space

pytestmark = pytest.mark.smoke

SPACES = ("nasbench201", "nasbench101", "mobilenetv2", "nasbench_nlp", "autoformer")


def _codes(space: Space, num: int) -> np.ndarray:
    """Random architectures, of which some are there twice or are isomorphic."""
    rng = np.random.default_rng(0)
    if space.name == "nasbench_nlp":
        codes = space.sample(rng, num)
    else:
        codes = rng.integers(0, space.choices, (20 * num, len(space.choices)))
        codes = codes[space.valid(codes)][:num].astype(np.int32)
    return np.concatenate([codes, codes[: num // 3][::-1]])


@pytest.mark.parametrize("deduplicate", [True, False])
@pytest.mark.parametrize("name", SPACES)
def test_a_plan_is_that_of_whole_tables(
    name: str, deduplicate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written out with np.unique on codes and strings one by one, as it once was."""
    monkeypatch.setattr(_plan, "_BLOCK", 7)  # so that there are many blocks
    space, part_size = parse_space(name), 9
    codes = _codes(space, 60)
    strings = [space.to_str(code) for code in codes]
    plan = make_plan(space, codes, SpaceStrings(space, codes), part_size, deduplicate)

    scored = np.stack([space.canonical(c) for c in codes]) if deduplicate else codes
    classes, class_of_row = np.unique(scored, axis=0, return_inverse=True)
    by_cost = np.argsort(space.cost(classes), kind="stable")
    order = by_cost[np.concatenate(deal(len(classes), part_size))]
    classes, class_of_row = classes[order], np.argsort(order)[class_of_row.reshape(-1)]

    def digest(*data: bytes) -> str:
        return hashlib.sha256(b"".join(data)).hexdigest()

    assert plan.request() == {
        "archs_sha256": digest(codes.tobytes(), "\n".join(strings).encode()),
        "num_archs": len(codes),
        "num_classes": len(classes),
        "plan_sha256": digest(classes.tobytes(), class_of_row.tobytes()),
    }
    assert len(plan.rows) == math.ceil(len(classes) / part_size) > 2
    for number in range(len(plan.rows)):
        part = plan.part(space, number)
        first = number * part_size
        rows = np.flatnonzero(class_of_row // part_size == number)
        expected = classes[first : first + part_size]
        np.testing.assert_array_equal(part.index, rows)
        np.testing.assert_array_equal(part.codes, codes[rows])
        np.testing.assert_array_equal(part.classes, expected)
        np.testing.assert_array_equal(part.class_of_row, class_of_row[rows] - first)
        assert part.strings == [strings[row] for row in rows]
        assert part.class_strings.tolist() == [space.to_str(c) for c in expected]
        assert part.classes.dtype == part.codes.dtype == np.int32


def test_strings_of_ones_own_are_those_of_the_request() -> None:
    space = parse_space("nasbench201")
    codes = _codes(space, 20)
    names = [f"arch {row}" for row in range(len(codes))]
    plan = make_plan(space, codes, names, 5, deduplicate=False)
    usual = make_plan(space, codes, SpaceStrings(space, codes), 5, deduplicate=False)
    for number, rows in enumerate(plan.rows):
        assert plan.part(space, number).strings == [names[row] for row in rows]
    request, other = plan.request(), usual.request()
    assert request["archs_sha256"] != other["archs_sha256"]
    assert request["plan_sha256"] == other["plan_sha256"]


def test_strings_of_a_request_are_written_when_they_are_wanted() -> None:
    space = parse_space("nasbench201")
    codes = _codes(space, 12)
    strings, plain = SpaceStrings(space, codes), [space.to_str(c) for c in codes]
    assert len(strings) == len(plain)
    assert strings[3] == plain[3]
    assert strings[2:5] == plain[2:5]
    assert [*strings] == plain
    assert strings.at(np.array([4, 0])) == [plain[4], plain[0]]


def test_members_never_get_the_scores_of_others() -> None:
    """Of a space whose canonical form is a function of one code only."""
    wrong = dataclasses.replace(
        toy(), isomorphism=Isomorphism(lambda code: code[::-1].copy())
    )
    codes = np.array([[0, 1, 2], [1, 1, 0], [2, 0, 1]], np.int32)
    with pytest.raises(ValueError, match=r"canonical of toy must take codes of shape"):
        make_plan(wrong, codes, SpaceStrings(wrong, codes), 2, deduplicate=True)
    plan = make_plan(wrong, codes, SpaceStrings(wrong, codes), 2, deduplicate=False)
    assert len(plan.rows) == 2


def test_keys_by_hand() -> None:
    """Genes of 2, 3 and 5 values: a code a, b, c is 15 a + 5 b + c."""
    codes = np.array([[1, 2, 4], [0, 1, 3], [1, 2, 4]])
    keys = pack(codes, (2, 3, 5))
    np.testing.assert_array_equal(keys, [[29], [8], [29]])
    np.testing.assert_array_equal(unpack(keys, (2, 3, 5)), codes)
    distinct, place = distinct_keys(keys)
    np.testing.assert_array_equal(distinct, [[8], [29]])
    np.testing.assert_array_equal(place, [1, 0, 1])
    with pytest.raises(ValueError, match="from 0 to below"):
        pack(np.array([[0, 3, 0]]), (2, 3, 5))


@pytest.mark.parametrize("choices", [(2,) * 130, (2**31 - 1,) * 5, (1,), (7, 1) * 30])
def test_keys_of_many_genes_keep_the_order_of_codes(choices: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, choices, (200, len(choices))).astype(np.int32)
    codes[:50, :-1] = codes[50:100, :-1]  # which differ at the end alone
    codes = np.concatenate([codes, codes[::3], np.array(choices, np.int32)[None] - 1])
    expected, inverse = np.unique(codes, axis=0, return_inverse=True)
    distinct, place = distinct_keys(pack(codes, choices))
    np.testing.assert_array_equal(unpack(distinct, choices), expected)
    np.testing.assert_array_equal(place, inverse.reshape(-1))
    np.testing.assert_array_equal(unpack(pack(codes, choices), choices), codes)
