"""Several workers of one run: what each of them does, and how far all of them are.

Everything slow to import is imported where it is used.
"""

import contextlib
import dataclasses
import json
import logging
import os
import sys
import time
from collections.abc import Callable

from tyro.conf import Positional

from jaxproxy.cli._commands import Flag, Folder, show
from jaxproxy.cli._errors import one_line

PENDING = 75
"""Exit code of a worker whose share is done, and others' are not (EX_TEMPFAIL)."""
OTHER_RUN = 42
"""Exit code of a worker whose folder holds another run: trying again is of no use."""


@dataclasses.dataclass(frozen=True)
class Work:
    """What a worker of this machine does: a command that says nothing but errors."""

    command: Callable[[], int]
    """Can be pickled."""

    def __call__(self) -> int:
        """Returns the exit code of the command."""
        logging.basicConfig(level=logging.WARNING)
        logging.getLogger("jaxproxy").setLevel(logging.WARNING)
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            try:
                return self.command()
            except (ValueError, OSError, MemoryError, RuntimeError) as error:
                line = one_line(error)
                if line is None:
                    raise
                print("jaxproxy: error:", line, file=sys.stderr)
                return 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Status:
    """Show how far a run is, and what its workers do."""

    run: Positional[Folder]
    """Run folder."""
    json: Flag = False
    """Print one object and nothing else."""

    def __call__(self) -> int:
        """Prints the state of the run and a line for each worker."""
        from jaxproxy.cli._tables import worker_table
        from jaxproxy.cli._words import how_far, to_json
        from jaxproxy.runs import Run, status

        now = time.time()
        found = status(Run.open(self.run), now)
        if self.json:
            print(json.dumps(to_json(found), indent=2))
        else:
            show(how_far(found))
            if found.workers:
                show(worker_table(found, now))
        return 0
