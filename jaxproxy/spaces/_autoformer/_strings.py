"""Strings of many codes of AutoFormer at once."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from jaxproxy.spaces._autoformer._codes import Supernet, canonical
from jaxproxy.spaces._strings import TextTable

_TOGETHER = 4  # blocks whose values share a table of 3 ** 4 texts at most


@cache
def _first_fields(supernet: Supernet) -> TextTable:
    embeddings, depths = supernet.embeddings, supernet.depths
    return TextTable(
        (len(embeddings), len(depths)),
        lambda e, d: f"embed:{embeddings[e]}|depth:{depths[d]}",
    )


@cache
def _values(choices: tuple[float, ...], num: int) -> TextTable:
    """Returns the texts of ``num`` values in a row, joined by ``-``."""
    texts = [f"{choice:g}" for choice in choices]
    return TextTable(
        (len(choices),) * num, lambda *genes: "-".join(texts[gene] for gene in genes)
    )


def _listed(choices: tuple[float, ...], genes: np.ndarray) -> list[str]:
    """Returns the values of genes int[N, k], joined by ``-``."""
    groups = (
        genes[:, first : first + _TOGETHER]
        for first in range(0, genes.shape[1], _TOGETHER)
    )
    columns = (_values(choices, group.shape[1]).write(group) for group in groups)
    return [*map("-".join, zip(*columns, strict=True))]


def write(supernet: Supernet, codes: np.ndarray) -> list[str]:
    """Strings of codes int[N, G]; see ``to_str`` for how long their lists are."""
    first, blocks = _first_fields(supernet).write(codes[:, :2]), supernet.blocks
    inert = (codes != canonical(supernet, codes)).any(1)
    lengths = np.where(inert, blocks, np.array(supernet.depths)[codes[:, 1]])
    lists = np.empty(len(codes), object)
    for length in np.unique(lengths).tolist():
        rows = np.flatnonzero(lengths == length)
        heads = _listed(supernet.heads, codes[rows, 2 : 2 + length])
        ratios = _listed(supernet.ratios, codes[rows, 2 + blocks :][:, :length])
        pairs = zip(heads, ratios, strict=True)
        lists[rows] = [f"|heads:{head}|mlp:{ratio}" for head, ratio in pairs]
    return [one + others for one, others in zip(first, lists, strict=True)]


def read(supernet: Supernet, archs: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Codes int32[N, G] of strings, and which were read, bool[N]."""
    none = (0,) * len(supernet.choices)
    codes = [_code(supernet, arch) for arch in archs]
    known = np.array([code is not None for code in codes], bool)
    rows = np.array([none if code is None else code for code in codes], np.int32)
    return rows.reshape(-1, len(supernet.choices)), known


@cache
def _known(choices: tuple[float, ...], before: str = "") -> dict[str, int]:
    """Returns text -> gene of values, and of a first one with the field's name."""
    texts = [f"{choice:g}" for choice in choices]
    return {start + t: g for start in ("", before) for g, t in enumerate(texts)}


def _code(supernet: Supernet, arch: str) -> list[int] | None:
    """Returns the genes of a string as it is written here; None for any other."""
    fields = arch.split("|")
    if len(fields) != 4 or not fields[2].startswith("heads:"):
        return None
    if not fields[3].startswith("mlp:"):
        return None
    heads, ratios = fields[2][6:].split("-"), fields[3][4:].split("-")
    blocks = supernet.blocks
    try:
        embedding = _known(supernet.embeddings, "embed:")[fields[0]]
        depth = _known(supernet.depths, "depth:")[fields[1]]
        known = _known(supernet.heads)
        head_genes = [known[text] for text in heads]
        known = _known(supernet.ratios)
        ratio_genes = [known[text] for text in ratios]
    except KeyError:
        return None
    num = len(heads)
    if num != len(ratios) or num not in (supernet.depths[depth], blocks):
        return None
    rest = [0] * (blocks - num)
    return [embedding, depth, *head_genes, *rest, *ratio_genes, *rest]
