"""Comparing what scorers give for blocks of codes."""

from typing import Any

import numpy as np

from jaxproxy.scoring import BlockScores


def assert_same(given: BlockScores, expected: BlockScores) -> None:
    for tables in zip(given, expected, strict=True):
        assert tables[0].keys() == tables[1].keys()
        for name in tables[0]:
            a, b = (table[name] for table in tables)
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7, err_msg=name)


def rows(block: BlockScores, index: Any) -> BlockScores:
    return BlockScores(*({k: v[index] for k, v in t.items()} for t in block))
