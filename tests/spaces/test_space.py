"""What every space gets for free: checks, sampling and mutation."""

import itertools

import numpy as np
import pytest

from jaxproxy.spaces import Constraint, Space

ALL = np.array(list(itertools.product(range(2), range(1), range(3))), np.int32)[::-1]


def make_space(**fields) -> Space:
    """A space of six codes, with some fields replaced."""
    defaults = {
        "name": "toy",
        "choices": (2, 1, 3),
        "to_str": lambda code: "".join(map(str, code)),
        "from_str": lambda arch: np.array([int(gene) for gene in arch], np.int32),
        "network": lambda fidelity, mode: None,
    }
    return Space(**(defaults | fields))


def test_num_archs_is_exact_beyond_64_bits():
    """Spaces are that large."""
    assert make_space().num_archs == 6
    assert make_space(choices=(10,) * 30).num_archs == 10**30


def test_defaults_say_nothing_is_special():
    """Fields that a small space need not give."""
    space = make_space()
    assert space.enumerate is None
    np.testing.assert_array_equal(space.canonical(ALL[0]), ALL[0])
    np.testing.assert_array_equal(space.cost(ALL), np.ones(6))
    assert space.reachable(ALL[0])


def test_sampling_all_of_an_enumerable_space_lists_it():
    """Without replacement, in random order."""
    space = make_space(enumerate=lambda: ALL)
    codes = space.sample(np.random.default_rng(0), 6)
    assert codes.dtype == np.int32
    assert sorted(map(tuple, codes)) == sorted(map(tuple, ALL))
    assert not np.array_equal(codes, ALL)


def test_sampling_follows_the_generator_and_the_official_index():
    """So a sample can be reproduced elsewhere."""
    space = make_space(enumerate=lambda: ALL)
    index = np.random.default_rng(7).choice(6, 4, replace=False)
    codes = space.sample(np.random.default_rng(7), 4)
    np.testing.assert_array_equal(codes, ALL[index])


def test_sampling_a_huge_space_is_uniform_per_gene():
    """Without listing it."""
    space = make_space(choices=(2, 5) * 20)
    codes = space.sample(np.random.default_rng(0), 4000)
    assert codes.shape == (4000, 40)
    assert codes.dtype == np.int32
    space.check_codes(codes)
    for value in range(5):
        assert np.mean(codes[:, 1] == value) == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("n", [-1, 7])
def test_sampling_refuses_more_than_there_is(n):
    """Rather than repeat architectures."""
    with pytest.raises(ValueError, match=f"cannot sample {n} of the 6"):
        make_space(enumerate=lambda: ALL).sample(np.random.default_rng(0), n)


@pytest.mark.parametrize("num", [0, 1, 2])
def test_mutation_changes_exactly_so_many_genes_and_not_its_input(num):
    """Genes without a choice are left alone."""
    space, rng = make_space(), np.random.default_rng(0)
    for code in ALL:
        before = code.copy()
        mutant = space.mutate(rng, code, num)
        assert np.sum(mutant != code) == num
        assert mutant.dtype == np.int32
        np.testing.assert_array_equal(code, before)
        space.check_codes(mutant[None])


def test_mutation_reaches_every_neighbour_equally_often():
    """Uniform over genes, then over values."""
    space, rng = make_space(), np.random.default_rng(0)
    mutants = [tuple(space.mutate(rng, np.array([0, 0, 1]))) for _ in range(2000)]
    frequency = {m: mutants.count(m) / 2000 for m in set(mutants)}
    expected = {(1, 0, 1): 0.5, (0, 0, 0): 0.25, (0, 0, 2): 0.25}
    assert frequency == pytest.approx(expected, abs=0.05)


def test_mutation_refuses_more_genes_than_have_a_choice():
    """Rather than mutate a gene twice."""
    with pytest.raises(ValueError, match="num_mutations=3; toy has 2 genes"):
        make_space().mutate(np.random.default_rng(0), ALL[0], 3)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((2, 3)), "are integers, got float64"),
        (np.zeros(3, int), r"shape \[N, 3\], got \[3\]"),
        (np.zeros((2, 4), int), r"shape \[N, 3\], got \[2, 4\]"),
        (np.array([[0, 0, 2], [0, 1, 0]]), "gene 1 of code 1 is 1; toy allows 0 to 0"),
        (np.array([[-1, 0, 0]]), "gene 0 of code 0 is -1"),
    ],
)
def test_check_codes_names_what_is_wrong(codes, message):
    """Value, place and choices."""
    with pytest.raises(ValueError, match=message):
        make_space().check_codes(codes)


def test_check_codes_returns_int32_and_takes_no_codes():
    """Zero codes are fine."""
    assert make_space().check_codes(np.zeros((0, 3), np.int64)).dtype == np.int32


def _not_equal(codes):
    return codes[..., 0] != codes[..., 2]


def make_constrained(**fields) -> Space:
    """Four of the six codes: those whose first gene is not the last."""
    constraint = Constraint(_not_equal, lambda _: "ends are equal")
    return make_space(constraint=constraint, **fields)


def test_what_is_no_architecture_is_refused_with_a_reason():
    """Genes may be in range and yet contradict each other."""
    with pytest.raises(ValueError, match=r"\[1, 0, 1\], is no arch.* toy: ends are eq"):
        make_constrained().check_codes(np.array([[0, 0, 1], [1, 0, 1]]))


def test_only_architectures_are_drawn_and_all_of_them():
    """By sampling, mutation, crossover and among neighbours."""
    space, rng = make_constrained(), np.random.default_rng(0)
    legal = ALL[_not_equal(ALL)]
    assert set(map(tuple, space.sample(rng, 200))) == set(map(tuple, legal))
    for code in legal:
        near = {tuple(c) for c in legal if np.sum(c != code) == 1}
        assert set(map(tuple, space.neighbours(code))) == near
        mutants = {tuple(space.mutate(rng, code)) for _ in range(50)}
        assert mutants == near
    children = {tuple(space.crossover(rng, legal[0], legal[-1])) for _ in range(50)}
    between = {tuple(c) for c in legal if np.all((c == legal[0]) | (c == legal[-1]))}
    assert children == between


def test_a_search_for_what_does_not_exist_ends():
    """Rather than run forever."""
    nothing = Constraint(lambda codes: np.zeros(codes.shape[:-1], bool))
    space = make_space(constraint=nothing)
    with pytest.raises(ValueError, match="random codes is an architecture of toy"):
        space.sample(np.random.default_rng(0), 1)


def test_neighbours_of_a_free_space_are_all_that_differ_in_one_gene():
    """As many as there are other values."""
    neighbours = make_space().neighbours(ALL[0])
    assert sorted(map(tuple, neighbours)) == [(0, 0, 2), (1, 0, 0), (1, 0, 1)]
