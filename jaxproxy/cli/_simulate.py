"""The command that searches tables.

Options are fields of dataclasses. Everything slow to import is imported where it is
used, so that ``jaxproxy --help`` answers at once.
"""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from jaxproxy.cli._commands import File, Flag, Names, Truths, plotter, show
from jaxproxy.cli._truths import TruthOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Simulate(TruthOptions):
    """Run searches hundreds of times on tables, and compare what they find."""

    space: Annotated[Positional[str], arg(metavar="SPACE")]
    """Search space of which there are tables of all, such as nasbench201."""
    seen: Annotated[str, arg(metavar="TRUTH", help_behavior_hint="")]
    """What a search is told: FILE.csv:COLUMN, such as accuracies after 12 epochs."""
    truth: Truths
    """What is reported, some of FILE.csv:COLUMN, FILE.json:COLUMN or analog."""
    methods: Names = ("random_search", "regularized_evolution")
    """Searches with options, such as 'regularized_evolution(pool=10,sample=3)'."""
    budget: int = 300
    """Evaluations of a run."""
    warm_up: Annotated[
        str | None, arg(metavar="FILE.csv:COLUMN", help_behavior_hint="")
    ] = None
    """Scores of a proxy, whose best of 3000 each search evaluates first, as well."""
    features: Annotated[Path | None, arg(metavar="RUN", help_behavior_hint="")] = None
    """Run folder with scores of the whole space, whose columns rerank fits."""
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
        from jaxproxy.analysis import (
            all_codes,
            named_searches,
            simulated,
            simulations,
        )
        from jaxproxy.cli._tables import simulated_tables
        from jaxproxy.cli._words import to_json
        from jaxproxy.runs import open_run
        from jaxproxy.spaces import parse_space

        space = parse_space(self.space)
        features = None if self.features is None else open_run(self.features)
        all_codes(space)  # which says so if it is too large, before tables are read
        # One list, so that --lower names any of them.
        warm = [] if self.warm_up is None else [self.warm_up]
        seen, *truths = self.load([self.seen, *self.truth, *warm], space)
        found = {
            (method, truth): curve
            for method, truth, curve in simulations(
                space,
                named_searches(space, self.methods, features),
                seen,
                truths[: len(self.truth)],
                budget=self.budget,
                runs=self.runs,
                warm=truths[-1] if warm else None,
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
