"""The command that says what scores find.

Options are fields of dataclasses. Everything slow to import is imported where it is
used, so that ``jaxproxy --help`` answers at once.
"""

import dataclasses
import json
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from jaxproxy.cli._commands import Flag, Folder, Truths, show
from jaxproxy.cli._truths import TruthOptions

Percents = Annotated[tuple[float, ...], arg(metavar="% ...", help_behavior_hint="")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BestOf(TruthOptions):
    """Show what the columns of a run find: the first of N random architectures."""

    run: Positional[Folder]
    """Run folder."""
    truth: Truths
    """Trained accuracies, some of FILE.csv:COLUMN, FILE.json:COLUMN or analog."""
    n: Annotated[tuple[int, ...], arg(metavar="N ...", help_behavior_hint="")] = ()
    """Sizes of samples; those of 100, 1000 and 5000 that the run has by default."""
    runs: Annotated[int, arg(metavar="N")] = 0
    """Samples drawn at random; by default, exact expectations over all there are."""
    within: Annotated[
        tuple[float, ...], arg(metavar="% ...", help_behavior_hint="")
    ] = ()
    """Budgets, in percent of the largest --count of the run, such as 25 50 75."""
    count: Literal["params", "macs"] = "params"
    """Of what --within is a share."""
    json: Flag = False
    """Print a list of records and nothing else."""

    def __call__(self) -> int:
        """Prints the report."""
        from jaxproxy.analysis import best_of_columns
        from jaxproxy.cli._tables import best_of_tables
        from jaxproxy.cli._words import to_json

        run, truths = self.open(self.run, self.truth)
        records = best_of_columns(
            run,
            truths,
            self.n or None,
            runs=self.runs,
            within=[percent / 100 for percent in self.within],
            count=self.count,
        )
        if self.json:
            print(json.dumps(to_json(records), indent=2))
        else:
            show(*best_of_tables(records))
        return 0
