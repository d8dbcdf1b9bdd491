"""Which spaces a test that takes long goes through.

A few that differ most, so that the suite ends within minutes; all of them with
``JAXPROXY_EVERY_SPACE=1 pytest``, which is for changes of networks and of passes.
"""

import os
from collections.abc import Iterable, Sequence

EVERY = bool(os.environ.get("JAXPROXY_EVERY_SPACE"))


def spaces(few: Sequence[str], every: Iterable[str]) -> Sequence[str]:
    """Returns the few, or all that the test is for."""
    return [*every] if EVERY else few
