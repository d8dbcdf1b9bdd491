"""The command that says what to train next."""

import dataclasses
import json
from typing import Annotated

from tyro.conf import Positional, arg

from jaxproxy.cli._commands import Flag, Folder, show
from jaxproxy.cli._truths import TruthOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Propose(TruthOptions):
    """Show which architectures of a run to train next, given accuracies so far."""

    run: Positional[Folder]
    """Run folder: the architectures to choose from, and the scores to fit."""
    told: Annotated[str | None, arg(metavar="TRUTH", help_behavior_hint="")] = None
    """Accuracies so far, FILE.csv:COLUMN; a file that grows between the calls."""
    n: Annotated[int, arg(metavar="N")] = 8
    """How many to train next."""
    json: Flag = False
    """Print a list of records and nothing else."""

    def __call__(self) -> int:
        """Prints architectures, one a line, the best first."""
        from jaxproxy.startup import set_up_jax

        set_up_jax()
        from jaxproxy.analysis import propose, space_of
        from jaxproxy.runs import open_run

        run = open_run(self.run)
        specs = [] if self.told is None else [self.told]
        told = self.load(specs, space_of(run), failures=True) if specs else []
        archs = propose(run, told[0] if told else {}, self.n)
        if self.json:
            print(json.dumps([{"arch": arch} for arch in archs], indent=2))
        else:
            show(*archs)
        return 0
