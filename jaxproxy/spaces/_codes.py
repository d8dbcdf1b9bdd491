"""What spaces have in common: checks of codes, all codes, paths through a cell."""

from collections.abc import Sequence

import numpy as np


def checked(
    code: np.ndarray, num_genes: int, values: Sequence[object], name: str, what: str
) -> np.ndarray:
    """Codes integer[..., G] whose genes index one list of values.

    Args:
      code: what is claimed to be one code or several.
      num_genes: G.
      values: of every gene.
      name: of the space.
      what: the values are.

    Raises:
      ValueError: not integers, another G, or a gene out of range.
    """
    code = np.asarray(code)
    if not np.issubdtype(code.dtype, np.integer) or code.shape[-1:] != (num_genes,):
        raise ValueError(
            f"a code of {name} is integer[..., {num_genes}], "
            f"got {code.dtype}{list(code.shape)}"
        )
    wrong = code[(code < 0) | (code >= len(values))]
    if wrong.size:
        raise ValueError(f"{what} are 0 to {len(values) - 1}, got {wrong[0]}")
    return code


def check_one(code: np.ndarray, num_genes: int) -> None:
    """Raises ValueError for several codes where one is wanted."""
    if np.ndim(code) != 1:
        raise ValueError(
            f"to_str takes one code [{num_genes}], got shape {list(np.shape(code))}"
        )


def all_codes(num_values: int, num_genes: int) -> np.ndarray:
    """All codes int32[num_values**num_genes, num_genes], the last gene fastest.

    Read-only, since callers keep and share them.
    """
    places = num_values ** np.arange(num_genes)[::-1]
    ranks = np.arange(num_values**num_genes)
    codes = (ranks[:, None] // places % num_values).astype(np.int32)
    codes.flags.writeable = False
    return codes


def all_on_paths(edges: Sequence[tuple[int, int]], present: np.ndarray) -> np.ndarray:
    """Whether every present edge lies on a path from the first to the last node.

    Args:
      edges: (source, target) of the E edges of a cell, sources ascending for a target.
      present: bool[..., E].

    Returns:
      bool[...].
    """
    present = np.moveaxis(present, -1, 0)
    last = max(target for _, target in edges)
    fed = [np.full(present.shape[1:], node == 0) for node in range(last + 1)]
    read = [np.full(present.shape[1:], node == last) for node in range(last + 1)]
    for (source, target), edge in zip(edges, present, strict=True):
        fed[target] = fed[target] | (edge & fed[source])
    for (source, target), edge in zip(edges[::-1], present[::-1], strict=True):
        read[source] = read[source] | (edge & read[target])
    ends = zip(edges, present, strict=True)
    return np.all([~edge | (fed[s] & read[t]) for (s, t), edge in ends], axis=0)
