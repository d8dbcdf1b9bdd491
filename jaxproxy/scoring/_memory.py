"""What was scored lately, so that a search which asks again need not wait (host)."""

from collections import OrderedDict

import numpy as np

from jaxproxy.scoring._balance import merge_blocks
from jaxproxy.scoring._program import BlockScores
from jaxproxy.scoring._scorer import Scorer

_NUM_BYTES = 2**28  # half a million architectures of some readings


class Memory:
    """Scores architectures that it has not scored before, and remembers the others.

    Scores are a function of the code, so the result is that of the scorer to the bit.
    The oldest are forgotten where all would take more than ``num_bytes``.
    """

    def __init__(self, scorer: Scorer, num_bytes: int = _NUM_BYTES) -> None:
        """Remembers nothing yet."""
        self._scorer, self._room = scorer, num_bytes
        self._known: OrderedDict[bytes, BlockScores] = OrderedDict()

    def score(self, codes: np.ndarray) -> BlockScores:
        """Returns scores of distinct codes int[n, G], n at least 1.

        Raises:
          ValueError: wrong codes, or none.
        """
        codes = self._scorer.space.check_codes(codes)
        keys = [code.tobytes() for code in codes]
        new = [i for i, key in enumerate(keys) if key not in self._known]
        rows = [self._known.get(key) for key in keys]
        if new or not keys:
            scored = self._scorer.score(codes[new])
            for place, i in enumerate(new):
                rows[i] = _row(scored, place)
        found = [row for row in rows if row is not None]
        for i in new:
            self._remember(keys[i], found[i])
        return merge_blocks(found, np.arange(len(found)))

    def _remember(self, key: bytes, row: BlockScores) -> None:
        self._known[key] = row
        self._room -= _num_bytes(row)
        while self._room < 0 and self._known:
            self._room += _num_bytes(self._known.popitem(last=False)[1])


def _row(scored: BlockScores, place: int) -> BlockScores:
    """The scores of one architecture, free of the others' memory."""
    return BlockScores(
        *({k: v[place : place + 1].copy() for k, v in d.items()} for d in scored)
    )


def _num_bytes(row: BlockScores) -> int:
    return sum(array.nbytes for table in row for array in table.values())
