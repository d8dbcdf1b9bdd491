"""The commands that find architectures."""

import dataclasses
import json
from typing import Annotated

from tyro.conf import Positional, arg

from jaxproxy.cli._commands import Flag, Folder, Truths, open_both, show


@dataclasses.dataclass(frozen=True, kw_only=True)
class BestOf:
    """Show what the columns of a run find: the first of N random architectures."""

    run: Positional[Folder]
    """Run folder."""
    truth: Truths
    """Trained accuracies, one or several: FILE.csv:COLUMN (or .csv.gz) or analog."""
    n: Annotated[tuple[int, ...], arg(metavar="N ...", help_behavior_hint="")] = ()
    """Sizes of samples; those of 100, 1000 and 5000 that the run has by default."""
    runs: Annotated[int, arg(metavar="N")] = 0
    """Samples drawn at random; by default, exact expectations over all there are."""
    json: Flag = False
    """Print a list of records and nothing else."""

    def __call__(self) -> int:
        """Prints the report."""
        from jaxproxy.analysis import best_of_columns
        from jaxproxy.cli._tables import best_of_tables
        from jaxproxy.cli._words import to_json

        run, truths = open_both(self.run, self.truth)
        records = best_of_columns(run, truths, self.n or None, runs=self.runs)
        if self.json:
            print(json.dumps(to_json(records), indent=2))
        else:
            show(*best_of_tables(records))
        return 0
