"""Codes packed into a few integers each, to sort and to keep millions of them."""

import math
from collections.abc import Sequence

import numpy as np


def _words(choices: Sequence[int]) -> list[tuple[slice, np.ndarray]]:
    """Returns which genes share an integer, and what each counts there, int64[k].

    Genes are the digits of a number, the first one counting most, so that numbers have
    the lexicographic order of codes. NAS-Bench-101 takes one integer, MobileNetV2 two.
    """
    words, first = [], 0
    while first < len(choices):
        last = first + 1
        while last < len(choices) and math.prod(choices[first : last + 1]) < 2**63:
            last += 1
        places = [math.prod(choices[gene + 1 : last]) for gene in range(first, last)]
        words.append((slice(first, last), np.array(places, np.int64)))
        first = last
    return words


def pack(codes: np.ndarray, choices: Sequence[int]) -> np.ndarray:
    """Returns int64[n, W] integers of codes int[n, G], in the order of the codes.

    Raises:
      ValueError: a gene is out of range, so that two codes could share integers.
    """
    if np.any((codes < 0) | (codes >= np.array(choices))):
        raise ValueError(f"genes of codes must be from 0 to below {tuple(choices)}")
    columns = [codes[:, genes].astype(np.int64) @ p for genes, p in _words(choices)]
    return np.stack(columns, axis=1)


def unpack(keys: np.ndarray, choices: Sequence[int]) -> np.ndarray:
    """Returns the codes int32[n, G] of integers int64[n, W]."""
    codes = np.empty((len(keys), len(choices)), np.int32)
    for word, (genes, places) in enumerate(_words(choices)):
        codes[:, genes] = keys[:, word, None] // places % np.array(choices[genes])
    return codes


def distinct_keys(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distinct rows of int64[n, W], ascending, and which each is, int64[n].

    As ``np.unique(..., axis=0, return_inverse=True)``, which compares rows field by
    field and takes twenty times as long.
    """
    order = np.lexsort(keys.T[::-1])  # the last key that it is given counts most
    keys = keys[order]
    is_new = np.ones(len(keys), bool)
    is_new[1:] = (keys[1:] != keys[:-1]).any(1)
    place = np.empty(len(keys), np.int64)
    place[order] = np.cumsum(is_new) - 1
    return keys[is_new], place
