"""AutoFormer on the host: three supernets, strings and exact counts (numpy only).

A code is ``[embedding, depth, heads of every block, MLP ratio of every block]``, each
an index into the lists of its :class:`Supernet`, with as many blocks as the deepest
architecture has. Genes of blocks beyond the depth change nothing.

The network is a vision transformer with patches of 16 pixels, a class token, absolute
positions, relative positions for keys and values, pre-norm LayerNorm, heads of
dimension 64 and the mean over the patches before the classifier. That is what the
authors' scripts train by the options ``--gp --change_qkv --relative_position``.

Except for the string functions, functions take one code or any array of codes, genes
last, and drop that axis.

References:
  Chen et al., "AutoFormer", ICCV 2021, arXiv:2107.00651.
"""

from typing import NamedTuple

import numpy as np

from jaxproxy.options import quoted
from jaxproxy.spaces._autoformer._forms import plain
from jaxproxy.spaces._records import Graph

PATCH = 16
HEAD_DIM = 64
MAX_DISTANCE = 14
"""Relative positions are clipped to it; 0 of each table is for the class token."""
_TABLE = (2 * MAX_DISTANCE + 2) * HEAD_DIM
_PIXELS = PATCH * PATCH * 3


class Supernet(NamedTuple):
    """What the genes of a search space stand for."""

    embeddings: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    ratios: tuple[float, ...]

    @property
    def blocks(self) -> int:
        """Of the deepest architecture."""
        return max(self.depths)

    @property
    def choices(self) -> tuple[int, ...]:
        """Number of values of each gene."""
        first = len(self.embeddings), len(self.depths)
        return (
            first
            + (len(self.heads),) * self.blocks
            + (len(self.ratios),) * (self.blocks)
        )


SUPERNETS = {
    "tiny": Supernet((192, 216, 240), (12, 13, 14), (3, 4), (3.5, 4.0)),
    "small": Supernet((320, 384, 448), (12, 13, 14), (5, 6, 7), (3.0, 3.5, 4.0)),
    "base": Supernet((528, 576, 624), (14, 15, 16), (9, 10), (3.0, 3.5, 4.0)),
}
"""The three search spaces of the paper's table 1, by size."""

_FIELDS = ("embed", "depth", "heads", "mlp")
_EXAMPLE = "embed:192|depth:12|heads:3-4-...|mlp:3.5-4-..."


def _parts(
    supernet: Supernet, code: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Embedding and depth [...], heads and MLP ratios [..., blocks], as numbers."""
    code = np.asarray(code)
    heads, ratios = code[..., 2 : 2 + supernet.blocks], code[..., 2 + supernet.blocks :]
    return (
        np.array(supernet.embeddings)[code[..., 0]],
        np.array(supernet.depths)[code[..., 1]],
        np.array(supernet.heads)[heads],
        np.array(supernet.ratios)[ratios],
    )


def canonical(supernet: Supernet, code: np.ndarray) -> np.ndarray:
    """The code with genes of blocks beyond the depth at 0, int32[..., G]."""
    _, depth, *_ = _parts(supernet, code)
    used = np.arange(supernet.blocks) < depth[..., None]
    used = np.concatenate([np.ones_like(used[..., :2]), used, used], axis=-1)
    return np.where(used, code, 0).astype(np.int32)


def to_str(supernet: Supernet, code: np.ndarray) -> str:
    """``embed:192|depth:12|heads:3-4-...|mlp:3.5-4-...`` of one code.

    The lists have an entry for each block; those beyond the depth are written only if a
    gene there is not 0, so that no two codes share a string.
    """
    embedding, depth, heads, ratios = _parts(supernet, code)
    inert = not np.array_equal(code, canonical(supernet, code))
    length = supernet.blocks if inert else int(depth)
    listed = ["-".join(f"{v:g}" for v in values[:length]) for values in (heads, ratios)]
    values = (embedding, depth, *listed)
    return "|".join(f"{k}:{v}" for k, v in zip(_FIELDS, values, strict=True))


def from_str(supernet: Supernet, arch: str) -> np.ndarray:
    """Code ``int32[G]`` of a string, of AutoFormer's YAML or of dicts of its logs.

    Raises:
      ValueError: other forms or fields, a value that is not in the space, or a list
        that has neither an entry for each block nor one for each of the deepest.
    """
    arch = plain(arch)
    fields = [part.partition(":") for part in arch.split("|")]
    if tuple(name for name, _, _ in fields) != _FIELDS:
        raise ValueError(f"{quoted(arch)} is not of the form {_EXAMPLE!r}")
    embedding, depth, heads, ratios = (text.split("-") for _, _, text in fields)
    code = [
        *_genes(arch, "embed", embedding, supernet.embeddings, (1,)),
        *_genes(arch, "depth", depth, supernet.depths, (1,)),
    ]
    lengths = (supernet.depths[code[1]], supernet.blocks)
    if len(heads) != len(ratios):
        raise ValueError(
            f"{quoted(arch)} has {len(heads)} heads and {len(ratios)} mlp ratios"
        )
    for name, texts, choices in (
        ("heads", heads, supernet.heads),
        ("mlp", ratios, supernet.ratios),
    ):
        genes = _genes(arch, name, texts, choices, lengths)
        code += genes + [0] * (supernet.blocks - len(genes))
    return np.array(code, np.int32)


def _genes(
    arch: str,
    name: str,
    texts: list[str],
    choices: tuple[float, ...],
    lengths: tuple[int, ...],
) -> list[int]:
    """Indices of the values of a field."""
    if len(texts) not in lengths:
        wanted = " or ".join(map(str, sorted(set(lengths))))
        raise ValueError(
            f"{quoted(arch)} has {len(texts)} values of {name}, not {wanted}"
        )
    known = {f"{choice:g}": gene for gene, choice in enumerate(choices)}
    known |= {str(choice): gene for gene, choice in enumerate(choices)}
    for text in texts:
        if text not in known:
            raise ValueError(
                f"{name} {quoted(text)} in {quoted(arch)}; choose from {list(choices)}"
            )
    return [known[text] for text in texts]


def num_params(
    supernet: Supernet,
    code: np.ndarray,
    *,
    num_classes: int = 1000,
    resolution: int = 224,
) -> np.ndarray:
    """Trainable parameters int64[...], as the authors' code counts them."""
    embedding, depth, heads, ratios = _parts(supernet, code)
    e, inner = embedding[..., None], HEAD_DIM * heads
    hidden = (e * ratios).astype(np.int64)
    attention = (e + 1) * 3 * inner + (inner + 1) * e + 4 * _TABLE
    mlp = (e + 1) * hidden + (hidden + 1) * e
    blocks = _over_blocks(supernet, depth, attention + mlp + 4 * e)
    tokens = (resolution // PATCH) ** 2 + 1
    embedded = (_PIXELS + 1) * embedding + (tokens + 1) * embedding
    return blocks + embedded + 2 * embedding + (embedding + 1) * num_classes


def num_macs(
    supernet: Supernet,
    code: np.ndarray,
    *,
    num_classes: int = 1000,
    resolution: int = 224,
) -> np.ndarray:
    """Multiply-adds int64[...] of patch embedding, dense layers and attention.

    Attention has two products, of queries and keys and of their result and values;
    those with relative positions do not count.
    """
    embedding, depth, heads, ratios = _parts(supernet, code)
    e, inner = embedding[..., None], HEAD_DIM * heads
    hidden = (e * ratios).astype(np.int64)
    patches = (resolution // PATCH) ** 2
    tokens = patches + 1
    dense = 4 * e * inner + 2 * e * hidden
    blocks = _over_blocks(supernet, depth, tokens * dense + 2 * tokens**2 * inner)
    return blocks + patches * _PIXELS * embedding + embedding * num_classes


def _over_blocks(
    supernet: Supernet, depth: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Sum int64[...] of values [..., blocks] over the blocks there are."""
    used = np.arange(supernet.blocks) < depth[..., None]
    return np.where(used, values, 0).sum(-1)


def num_tensors(supernet: Supernet, code: np.ndarray) -> np.ndarray:
    """Named parameter tensors int64[...] of a network of its own, int64[...].

    Eight of four dense layers, four of two norms and four tables of relative positions
    in each block; two each of patches, tokens, last norm and classifier.
    """
    _, depth, *_ = _parts(supernet, code)
    return 16 * depth + 8


def graph(supernet: Supernet, code: np.ndarray) -> Graph:
    """Attention and MLP of every block in a chain, with the residual edges."""
    embedding, depth, heads, ratios = _parts(supernet, code)
    nodes = ["image", f"patches, {embedding}"]
    edges = [(0, 1, "")]
    for layer in range(int(depth)):
        nodes += [f"attention, {heads[layer]} heads", f"MLP x{ratios[layer]:g}"]
        for target in (len(nodes) - 2, len(nodes) - 1):
            edges += [(target - 1, target, ""), (target - 1, target, "residual")]
    last = len(nodes)
    edges.append((last - 1, last, "mean over patches"))
    return Graph((*nodes, "classifier"), tuple(edges))
