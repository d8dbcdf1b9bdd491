"""Checks of codes that every space makes, with errors that name what is wrong."""

from collections.abc import Sequence

import numpy as np

__all__ = ["check_one", "checked"]


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
