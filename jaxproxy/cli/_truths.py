"""Options of all commands that read users' tables, and what they load.

Options are fields of dataclasses. Everything slow to import is imported where it is
used, so that ``jaxproxy --help`` answers at once.
"""

import dataclasses
import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

if TYPE_CHECKING:
    from jaxproxy.analysis import Truth
    from jaxproxy.runs import Run
    from jaxproxy.spaces import Space

_LOGGER = logging.getLogger("jaxproxy")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RepeatsOption:
    """What to do with several rows of an architecture."""

    repeats: Literal["refuse", "mean"] = "refuse"
    """What several rows of an architecture are: an error, or runs to average."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TruthOptions(RepeatsOption):
    """How tables of accuracies are read."""

    lower: Annotated[
        tuple[str, ...] | None, arg(metavar="[COLUMN ...]", help_behavior_hint="")
    ] = None
    """Truths of which lower is better, such as losses; all, if none is named."""

    def load(
        self, specs: Sequence[str], space: "Space | None", *, failures: bool = False
    ) -> "list[Truth]":
        """Returns the truths of a command, and says how they were read.

        Raises:
          ValueError: one cannot be loaded, or --lower names another.
        """
        from jaxproxy.analysis import load_truth

        truths = [
            load_truth(spec, space=space, repeats=self.repeats, failures=failures)
            for spec in specs
        ]
        names = [truth.name for truth in truths]
        # Two files may call a column alike, and tables must not mix the two.
        once = dict(zip(specs, names, strict=True))
        labels = [
            spec if [*once.values()].count(name) > 1 else name
            for spec, name in zip(specs, names, strict=True)
        ]
        lower = {*names, *labels} if self.lower == () else {*(self.lower or ())}
        if unknown := sorted(lower.difference(names, labels)):
            raise ValueError(f"--lower {unknown[0]!r} is none of the truths {names}")
        truths = [
            truth._replace(name=label, lower=not lower.isdisjoint((truth.name, label)))
            for truth, label in zip(truths, labels, strict=True)
        ]
        notes = [note for truth in truths for note in (*truth.notes, *_on_unit(truth))]
        for note in dict.fromkeys(notes):
            _LOGGER.warning("%s", note)
        return truths

    def open(
        self, path: Path, specs: Sequence[str], *, some: bool = True
    ) -> "tuple[Run, list[Truth]]":
        """Returns the run and the truths to compare it with.

        Raises:
          ValueError: either cannot be read, or there are to be some truths.
        """
        from jaxproxy.analysis import space_of
        from jaxproxy.runs import open_run

        if some and not specs:
            raise ValueError("give at least one truth, such as FILE.csv:COLUMN")
        run = open_run(path)
        return run, self.load(specs, space_of(run)) if specs else []


def _on_unit(truth: "Truth") -> Iterator[str]:
    """Yields a note on accuracies that are fractions, of which nDCG says little."""
    known = [value for value in truth.accuracy.values() if not math.isnan(value)]
    if not truth.lower and known and 0 <= min(known) <= max(known) <= 1:
        yield (
            f"{truth.name} is at most 1; the gains of nDCG are of percents, so that of "
            "fractions it is nearly constant"
        )
