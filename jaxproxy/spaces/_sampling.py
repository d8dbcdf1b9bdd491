"""Checks and random moves over the codes of a space: what :class:`Space` delegates to.

Architectures of constrained genes are found by drawing until there are enough.
"""

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np

from jaxproxy.limits import check_memory
from jaxproxy.spaces._records import Constraint

_TRIES = 10_000
# Codes that are checked at once.
_BLOCK = 2**14


class Genes(Protocol):
    """What the functions of this file need to know of a space."""

    @property
    def name(self) -> str: ...
    @property
    def choices(self) -> tuple[int, ...]: ...
    @property
    def to_str(self) -> Callable[[np.ndarray], str]: ...
    @property
    def constraint(self) -> Constraint | None: ...
    @property
    def enumerate(self) -> Callable[[], np.ndarray] | None: ...


def num_archs(space: Genes) -> int:
    """Returns the number of combinations of genes, an int, for spaces reach 1e30.

    Where genes are constrained, there are fewer architectures.
    """
    return math.prod(space.choices)


def valid(space: Genes, codes: np.ndarray) -> np.ndarray:
    """Returns which codes ``[..., G]`` with genes in range are architectures, bool."""
    if space.constraint is None:
        return np.ones(np.shape(codes)[:-1], bool)
    return space.constraint.valid(codes)


def check_codes(space: Genes, codes: np.ndarray) -> np.ndarray:
    """Returns codes as ``int32[N, G]``, checked: the array itself, if it is that.

    Args:
      space: whose codes they are.
      codes: integer[N, G].

    Raises:
      ValueError: not integers, not of shape ``[N, G]``, a gene out of range, or a
        combination that is no architecture.
    """
    codes = check_genes(space, codes)
    for first in range(0, len(codes), _BLOCK):  # a million at once take gigabytes
        _check_valid(space, codes, first)
    return codes


def _check_valid(space: Genes, codes: np.ndarray, first: int) -> None:
    """Raises ValueError for a code of a block that is no architecture."""
    if space.constraint is None:
        return
    refused = np.flatnonzero(~valid(space, codes[first : first + _BLOCK]))
    if len(refused):
        row = first + refused[0]
        code = codes[row]
        raise ValueError(
            f"code {row}, {code.tolist()}, is no architecture of "
            f"{space.name}: {space.constraint.explain(code)}"
        )


def check_genes(space: Genes, codes: np.ndarray) -> np.ndarray:
    """Returns codes as ``int32[N, G]`` with genes in range, architectures or not.

    Raises:
      ValueError: not integers, not of shape ``[N, G]``, or a gene out of range.
    """
    if isinstance(codes, list | tuple) and any(isinstance(c, tuple) for c in codes):
        raise ValueError(
            f"codes of {space.name} are an integer array, not tuples such as "
            f"{codes[0]}, which another library may number otherwise; its text is for "
            "from_str"
        )
    codes = np.asarray(codes)
    if not np.issubdtype(codes.dtype, np.integer):
        raise ValueError(f"codes of {space.name} are integers, got {codes.dtype}")
    if codes.ndim != 2 or codes.shape[1] != len(space.choices):
        raise ValueError(
            f"codes of {space.name} have shape [N, {len(space.choices)}], "
            f"got {list(codes.shape)}"
        )
    for first in range(0, len(codes), _BLOCK):
        block = codes[first : first + _BLOCK]
        wrong = np.argwhere((block < 0) | (block >= np.array(space.choices)))
        if len(wrong):
            row, gene = wrong[0]
            raise ValueError(
                f"gene {gene} of code {first + row} is {block[row, gene]}; "
                f"{space.name} allows 0 to {space.choices[gene] - 1} there"
            )
    return codes.astype(np.int32, copy=False)


def check_mutations(space: Genes, num_mutations: int) -> np.ndarray:
    """Returns the genes with a choice, int64[F], of which enough are there to change.

    Raises:
      ValueError: fewer than are to be changed.
    """
    free = np.flatnonzero(np.array(space.choices) > 1)
    if not 0 <= num_mutations <= len(free):
        raise ValueError(
            f"num_mutations={num_mutations}; {space.name} has {len(free)} genes "
            "with a choice"
        )
    return free


def sample(space: Genes, rng: np.random.Generator, n: int) -> np.ndarray:
    """Returns uniformly random codes ``int32[n, G]``.

    An enumerable space is sampled without replacement, by index in its order; in any
    other, genes are independent, combinations that are no architecture are drawn again,
    and a repetition is possible. A space with a sampler has its own distribution.

    Raises:
      ValueError: ``n`` is negative or exceeds what an enumerable space has, or
        architectures are too rare to be found.
    """
    if space.enumerate is None:
        # A gene is an int64 when it is drawn, and is kept as an int32 and as text.
        check_memory(16 * len(space.choices), sample=n)
    codes = None if space.enumerate is None else space.enumerate()
    if n < 0 or (codes is not None and n > len(codes)):
        there = "" if codes is None else f" of the {len(codes)}"
        raise ValueError(f"cannot sample {n}{there} architectures of {space.name}")
    if codes is not None:
        return codes[rng.choice(len(codes), n, replace=False)]
    if space.constraint is not None and space.constraint.sampler is not None:
        return check_codes(space, space.constraint.sampler(rng, n))

    def draw(num: int) -> np.ndarray:
        codes = np.empty((num, len(space.choices)), np.int32)
        # The same numbers as of one call, whose int64 would take twice the memory.
        for first in range(0, num, _BLOCK):
            block = codes[first : first + _BLOCK]
            block[:] = rng.integers(0, space.choices, block.shape)
        return codes

    return _until_valid(space, draw, n, "random codes")


def mutate(
    space: Genes, rng: np.random.Generator, code: np.ndarray, num_mutations: int = 1
) -> np.ndarray:
    """Returns a copy of a code with ``num_mutations`` genes changed to other values.

    Which genes, and which of their other values, is uniformly random among the mutants
    that are architectures.

    Args:
      space: whose code it is.
      rng: source of randomness.
      code: integer[G].
      num_mutations: number of genes that differ in the result.

    Raises:
      ValueError: the code is wrong, fewer genes than asked have a choice, or no mutant
        is an architecture.
    """
    parent = check_codes(space, np.asarray(code)[None])[0]
    free = check_mutations(space, num_mutations)

    def draw(num: int) -> np.ndarray:
        mutants = np.tile(parent, (num, 1))
        for mutant in mutants:
            for gene in rng.choice(free, num_mutations, replace=False):
                # A non-zero step reaches every other value equally.
                step = rng.integers(1, space.choices[gene])
                mutant[gene] = (mutant[gene] + step) % space.choices[gene]
        return mutants

    return _until_valid(space, draw, 1, f"mutants of {space.to_str(parent)}")[0]


def crossover(
    space: Genes, rng: np.random.Generator, a: np.ndarray, b: np.ndarray
) -> np.ndarray:
    """Returns a code int32[G] with every gene from one of two parents, at random.

    Raises:
      ValueError: a parent is wrong.
    """
    one, other = check_codes(space, np.stack([a, b]))

    def draw(num: int) -> np.ndarray:
        return np.where(rng.random((num, len(space.choices))) < 0.5, one, other)

    return _until_valid(space, draw, 1, "children")[0]


def neighbours(space: Genes, code: np.ndarray) -> np.ndarray:
    """Returns all architectures that differ in exactly one gene, ``int32[M, G]``.

    Raises:
      ValueError: the code is wrong.
    """
    (code,) = check_codes(space, np.asarray(code)[None])
    variants = []
    for gene, num in enumerate(space.choices):
        others = np.tile(code, (num, 1))
        others[:, gene] = np.arange(num)
        variants.append(np.delete(others, code[gene], axis=0))
    codes = np.concatenate(variants)
    return codes[valid(space, codes)]


def _until_valid(
    space: Genes, draw: Callable[[int], np.ndarray], num: int, what: str
) -> np.ndarray:
    """Returns the first ``num`` architectures that ``draw`` gives, int32[num, G]."""
    kept, tries, size = [np.zeros((0, len(space.choices)), np.int32)], 0, num
    while (missing := num - sum(map(len, kept))) > 0:
        if tries > _TRIES * num:
            raise ValueError(
                f"none of {tries} {what} is an architecture of {space.name}"
            )
        codes = draw(size).astype(np.int32, copy=False)
        kept.append(codes[valid(space, codes)][:missing])
        tries, size = tries + size, min(2 * size, 4096)
    return np.concatenate(kept)
