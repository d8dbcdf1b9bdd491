"""Tests that ``pytest`` leaves out, for they take a minute or compile much.

``pytest tests``, or any file that is named, runs them too: before a change of networks,
of passes or of a space is merged. What they test is tested in CI on another space, by
another proxy or at another size.
"""

from pathlib import Path

_NAMES = Path(__file__).with_name("long.txt").read_text("utf-8").split()
LONG = frozenset(f"tests/{name}" for name in _NAMES)
"""With parameters, or without them for all."""


def is_long(nodeid: str) -> bool:
    """Whether a test is one of them."""
    return nodeid in LONG or nodeid.partition("[")[0] in LONG
