"""The command that searches tables.

Options are fields of dataclasses. Everything slow to import is imported where it is
used, so that ``jaxproxy --help`` answers at once.
"""

import dataclasses
import json
from typing import Annotated

from tyro.conf import Positional, arg

from jaxproxy.cli._commands import File, Flag, Names, Truths, plotter, show


@dataclasses.dataclass(frozen=True, kw_only=True)
class Simulate:
    """Run searches hundreds of times on tables, and compare what they find."""

    space: Annotated[Positional[str], arg(metavar="SPACE")]
    """Search space of which there are tables of all, such as nasbench201."""
    seen: Annotated[str, arg(metavar="TRUTH", help_behavior_hint="")]
    """What a search is told: FILE.csv:COLUMN, such as accuracies after 12 epochs."""
    truth: Truths
    """What is reported, one or several: FILE.csv:COLUMN (or .csv.gz) or analog."""
    methods: Names = ("random_search", "regularized_evolution")
    """Searches with options, such as 'regularized_evolution(pool=10,sample=3)'."""
    budget: int = 300
    """Evaluations of a run."""
    warm_up: Annotated[
        str | None, arg(metavar="FILE.csv:COLUMN", help_behavior_hint="")
    ] = None
    """Scores of a proxy, whose best of 3000 each search evaluates first, as well."""
    runs: int = 500
    """Runs of each search."""
    seed: int = 0
    """Of all runs."""
    json: Flag = False
    """Print a list of records and nothing else."""
    plot: File = None
    """Draw medians and quartiles into a .png or .svg file."""

    def __call__(self) -> int:
        """Prints the report, and draws it if asked to."""
        draw = plotter("plot_curves", self.plot)
        from jaxproxy.startup import set_up_jax

        set_up_jax()
        from jaxproxy.analysis import load_truth, simulated, simulations
        from jaxproxy.cli._tables import simulated_tables
        from jaxproxy.cli._words import to_json
        from jaxproxy.spaces import parse_space

        found = {
            (method, truth): curve
            for method, truth, curve in simulations(
                parse_space(self.space),
                self.methods,
                load_truth(self.seen),
                [load_truth(spec) for spec in self.truth],
                budget=self.budget,
                runs=self.runs,
                warm=None if self.warm_up is None else load_truth(self.warm_up),
                seed=self.seed,
            )
        }
        draw(found)  # first: whoever reads what is printed may leave
        records = simulated(found)
        if self.json:
            print(json.dumps(to_json(records), indent=2))
        else:
            show(*simulated_tables(records))
        return 0
