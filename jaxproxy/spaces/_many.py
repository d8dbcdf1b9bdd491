"""What a space does with many codes at once: what :class:`Space` delegates to.

Results are those of the functions of one code, which these take their place of where
there are thousands.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from jaxproxy.spaces import _sampling
from jaxproxy.spaces._sampling import Genes
from jaxproxy.spaces._strings import Strings

# Mutants that are drawn at once; more would only take memory.
_BLOCK = 2**14
_TRIES = 10_000


class Written(Genes, Protocol):
    """What the functions of this file need to know of a space."""

    @property
    def from_str(self) -> Callable[[str], np.ndarray]: ...
    @property
    def strings(self) -> Strings | None: ...


def to_strs(space: Written, codes: np.ndarray) -> list[str]:
    """Returns what ``to_str`` says of each of many codes.

    Args:
      space: whose codes they are.
      codes: integer[N, G].

    Raises:
      ValueError: not integers, not of shape ``[N, G]``, or a gene out of range.
    """
    codes = _sampling.check_genes(space, codes)
    if space.strings is None:
        return [space.to_str(code) for code in codes]
    return space.strings.write(codes)


def from_strs(space: Written, archs: Sequence[str]) -> np.ndarray:
    """Returns what ``from_str`` reads in each of many strings, int32[N, G].

    Raises:
      ValueError: as ``from_str`` of the first that is wrong.
    """
    num = len(archs)
    if space.strings is None:
        codes, known = (
            np.zeros((num, len(space.choices)), np.int32),
            np.zeros(num, bool),
        )
    else:
        codes, known = space.strings.read(archs)
        known &= _sampling.valid(space, codes)
    for row in np.flatnonzero(~known).tolist():
        codes[row] = space.from_str(archs[row])
    return codes


def mutants(
    space: Written,
    rng: np.random.Generator,
    codes: np.ndarray,
    num_mutations: int = 1,
) -> np.ndarray:
    """Returns a mutant of each of many codes, int32[N, G].

    Each has the distribution of ``mutate``, which draws other numbers: here all codes
    share a draw.

    Args:
      space: whose codes they are.
      rng: source of randomness.
      codes: integer[N, G].
      num_mutations: number of genes that differ in each result.

    Raises:
      ValueError: as ``mutate``.
    """
    codes = _sampling.check_codes(space, codes)
    free = _sampling.check_mutations(space, num_mutations)
    blocks = [codes[i : i + _BLOCK] for i in range(0, len(codes), _BLOCK)]
    mutated = [_mutants(space, rng, block, free, num_mutations) for block in blocks]
    return np.concatenate([codes[:0], *mutated])


def _mutants(
    space: Written,
    rng: np.random.Generator,
    codes: np.ndarray,
    free: np.ndarray,
    num_mutations: int,
) -> np.ndarray:
    """Returns a mutant of each code int32[N, G], drawn until all are architectures."""
    mutated, pending, tries = codes.copy(), np.arange(len(codes)), 0
    while len(pending):
        if tries > _TRIES:
            text = space.to_str(codes[pending[0]])
            raise ValueError(
                f"none of {tries} mutants of {text} is an architecture of {space.name}"
            )
        # The few codes that are hard get many tries at once: [pending * each] mutants.
        each = max(1, min(_BLOCK // len(pending), tries))
        rows = np.repeat(pending, each)
        drawn = _mutated(space, rng, codes[rows], free, num_mutations)
        fits = np.flatnonzero(_sampling.valid(space, drawn))
        # The first that fits of each code: np.unique points at the first of equals.
        found, first = np.unique(rows[fits], return_index=True)
        mutated[found] = drawn[fits[first]]
        pending = np.setdiff1d(pending, found, assume_unique=True)
        tries += each
    return mutated


def _mutated(
    space: Genes,
    rng: np.random.Generator,
    codes: np.ndarray,
    free: np.ndarray,
    num_mutations: int,
) -> np.ndarray:
    """Returns codes of which some free genes have other values, valid or not."""
    if not num_mutations:
        return codes
    if num_mutations == 1:
        places = rng.integers(len(free), size=(len(codes), 1))
    else:  # the smallest of random keys are a uniformly random set of genes
        keys = rng.random((len(codes), len(free)))
        order = np.argpartition(keys, min(num_mutations, len(free) - 1), axis=1)
        places = order[:, :num_mutations]
    genes = free[places]
    choices = np.array(space.choices)[genes]
    # A non-zero step reaches every other value equally.
    values = np.take_along_axis(codes, genes, axis=1) + rng.integers(1, choices)
    drawn = codes.copy()
    np.put_along_axis(drawn, genes, (values % choices).astype(np.int32), axis=1)
    return drawn
