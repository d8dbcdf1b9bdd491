"""What was scored before is not scored again, and has the same scores."""

from typing import Any, cast

import numpy as np
import pytest

from jaxproxy import make_scorer, search_live
from jaxproxy.scoring import Scorer
from jaxproxy.scoring._memory import Memory
from jaxproxy.scoring._program import BlockScores
from jaxproxy.search import intrain_nas, make_genes
from jaxproxy.spaces import nasbench201
from jaxproxy.types import Fidelity

SPACE = nasbench201()


class _Counting:
    """Scores a code by a sum that differs from seed to seed, and counts."""

    space = SPACE

    def __init__(self) -> None:
        self.scored: list[list[int]] = []

    def score(self, codes: np.ndarray) -> BlockScores:
        self.scored += codes.tolist()
        sums = codes @ np.array([[1, 7**i] for i in range(6)])
        return BlockScores(
            {"sum": sums.astype(float)},
            {"sum": sums > 0},
            {"genes": codes[:, None].astype(np.float32)},
            {"genes": codes > 0},
        )


def _memory(**options: Any) -> tuple[Memory, _Counting]:
    scorer = _Counting()
    return Memory(cast(Scorer, scorer), **options), scorer


def _codes(num: int) -> np.ndarray:
    numbers = np.random.default_rng(0).permutation(5**6)[:num]
    return np.stack(np.unravel_index(numbers, (5,) * 6), -1).astype(np.int32)


def _same(one: BlockScores, other: BlockScores) -> None:
    for table, expected in zip(one, other, strict=True):
        assert table.keys() == expected.keys()
        for name in table:
            assert table[name].dtype == expected[name].dtype
            np.testing.assert_array_equal(table[name], expected[name])


def test_only_what_is_new_is_scored() -> None:
    memory, scorer = _memory()
    codes = _codes(20)
    _same(memory.score(codes[:8]), _Counting().score(codes[:8]))
    _same(memory.score(codes[[3, 19, 5, 12]]), _Counting().score(codes[[3, 19, 5, 12]]))
    _same(memory.score(codes[[12, 3]]), _Counting().score(codes[[12, 3]]))
    assert scorer.scored == codes[[*range(8), 19, 12]].tolist()


def test_the_oldest_are_forgotten() -> None:
    codes = _codes(3)
    row = _Counting().score(codes[:1])
    size = sum(array.nbytes for table in row for array in table.values())
    memory, scorer = _memory(num_bytes=2 * size)
    for place in (0, 1, 2, 1, 0):
        _same(memory.score(codes[[place]]), _Counting().score(codes[[place]]))
    assert scorer.scored == codes[[0, 1, 2, 0]].tolist()
    memory, scorer = _memory(num_bytes=0)
    for _ in range(2):
        _same(memory.score(codes), _Counting().score(codes))
    assert scorer.scored == codes.tolist() * 2


def test_wrong_codes_are_refused() -> None:
    memory, _ = _memory()
    with pytest.raises(ValueError, match="gene"):
        memory.score(np.full((1, 6), 9))


@pytest.mark.parametrize("block_size", [4, 16])
def test_short_blocks_have_the_scores_of_full_ones(block_size: int) -> None:
    scorer = make_scorer(
        SPACE, ["capacity"], fidelity=Fidelity(4, 1, 4, 8), block_size=block_size
    )
    codes = _codes(16)
    whole = scorer.score(codes)
    for num in (1, 3, 5, 15):
        few = scorer.score(codes[:num])
        _same(few, BlockScores(*({k: v[:num] for k, v in d.items()} for d in whole)))
    assert scorer.num_traces == 1


def test_a_search_scores_no_architecture_twice(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = make_scorer(SPACE, ["params", "capacity"], fidelity=Fidelity(4, 1, 4, 8))
    seen: list[bytes] = []
    score = Scorer.score

    def counted(self: Scorer, codes: np.ndarray) -> BlockScores:
        seen.extend(code.tobytes() for code in codes)
        return score(self, codes)

    monkeypatch.setattr(Scorer, "score", counted)
    genes = make_genes(SPACE)
    options = {"budget": 60, "together": 1}
    found = search_live(intrain_nas(genes, k=2), genes, scorer, tmp_path, **options)
    archs = found.run.table()["arch"].to_pylist()
    assert len(seen) == len(set(seen)) == len(set(archs)) < len(archs) == 60
