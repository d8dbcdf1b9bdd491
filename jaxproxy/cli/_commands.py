"""The commands that read a finished run, and the kinds of options of all commands.

Options are fields of dataclasses. Everything slow to import is imported where it is
used, so that ``jaxproxy --help`` answers at once.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import FlagCreatePairsOff, Positional, arg

from jaxproxy.cli._truths import TruthOptions

if TYPE_CHECKING:
    from jaxproxy.spaces import Space

Number = Annotated[int | None, arg(metavar="N", help_behavior_hint="")]
File = Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")]
Folder = Annotated[Path, arg(metavar="RUN")]
Names = Annotated[tuple[str, ...], arg(metavar="NAME ...")]
Truths = Annotated[tuple[str, ...], arg(metavar="TRUTH ...", help_behavior_hint="")]
Lanes = Annotated[int | Literal["auto"], arg(metavar="N|auto")]
Flag = Annotated[FlagCreatePairsOff[bool], arg(help_behavior_hint="")]


def show(*items: Any) -> None:
    """Prints lines and tables.

    Where standard output is no terminal, lines are as long as they need to be. What
    controls a terminal is escaped in lines; tables do so with the names that they show.
    """
    from rich.console import Console

    from jaxproxy.options import printable

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=220)
    for item in items:
        line = isinstance(item, str)
        console.print(printable(item) if line else item, soft_wrap=line)


def column_names(texts: Sequence[str]) -> list[str]:
    """Proxies and ensembles that were asked for, as columns are named.

    Raises:
      ValueError: an unknown one, or a malformed variant.
    """
    from jaxproxy.analysis import ENSEMBLES
    from jaxproxy.options import quoted
    from jaxproxy.proxies import PROXIES, parse_proxy

    for text in texts:
        name = text.partition("(")[0].strip()
        if name not in PROXIES and text not in ENSEMBLES:
            raise ValueError(
                f"unknown proxy {quoted(name)}; choose from {sorted(PROXIES)}, or from "
                f"the ensembles {sorted(ENSEMBLES)}"
            )
    return [t if t in ENSEMBLES else parse_proxy(t).name for t in texts]


def parse_sized(text: str, num_classes: int | None) -> "Space":
    """Returns the space of a name, with another number of outputs if one is given.

    Raises:
      ValueError: as :func:`~jaxproxy.spaces.parse_space`.
    """
    from jaxproxy.spaces import parse_space

    given = {} if num_classes is None else {"num_classes": num_classes}
    return parse_space(text, **given)


def plotter(name: str, path: Path | None) -> Callable[..., None]:
    """Returns a function that draws to a file, or one that does nothing.

    What would prevent the figure is found before anything is computed.
    """
    if path is None:
        return lambda *arguments: None
    from jaxproxy.cli import _plot as plot

    plot.check_path(path)
    return functools.partial(getattr(plot, name), path=path)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Correlate(TruthOptions):
    """Compare the scores of a run with trained accuracies."""

    run: Positional[Folder]
    """Run folder."""
    truth: Truths
    """Trained accuracies, some of FILE.csv:COLUMN, FILE.json:COLUMN or analog."""
    bootstrap: Annotated[int, arg(metavar="N")] = 0
    """Resamples of the architectures for 95 % intervals; none by default."""
    json: Flag = False
    """Print a list of records and nothing else."""

    def __call__(self) -> int:
        """Prints the report."""
        from jaxproxy.analysis import correlations
        from jaxproxy.cli._tables import correlation_tables
        from jaxproxy.cli._words import to_json

        run, truths = self.open(self.run, self.truth)
        records = correlations(run, truths, num_bootstrap=self.bootstrap)
        if self.json:
            print(json.dumps(to_json(records), indent=2))
        else:
            show(*correlation_tables(records))
        return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ablate(TruthOptions):
    """Compare the declared variants of a proxy, from the readings of one run."""

    run: Positional[Folder]
    """Run folder."""
    truth: Truths
    """Trained accuracies, some of FILE.csv:COLUMN, FILE.json:COLUMN or analog."""
    proxy: str = "intrain"
    """Proxy; options that are written, as in 'intrain(dead=live)', stay so."""
    set: Literal["all", "reachable"] = "all"
    """All architectures, or those without unreachable operations."""
    bootstrap: Annotated[int, arg(metavar="N")] = 0
    """Resamples of the architectures for 95 % intervals; none by default."""
    json: Flag = False
    """Print one object and nothing else."""
    plot: File = None
    """Draw the variants into a .png or .svg file."""

    def __call__(self) -> int:
        """Prints the report, and draws it if asked to."""
        draw = plotter("plot_ablation", self.plot)
        from jaxproxy.analysis import ablate
        from jaxproxy.cli._tables import ablation_tables
        from jaxproxy.cli._words import ablation_to_json
        from jaxproxy.startup import set_up_jax

        set_up_jax()
        run, truths = self.open(self.run, self.truth)
        found = ablate(
            run, self.proxy, truths, subset=self.set, num_bootstrap=self.bootstrap
        )
        draw(found.records)  # first: whoever reads what is printed may leave
        if self.json:
            print(json.dumps(ablation_to_json(found), indent=2))
        else:
            show(*ablation_tables(found))
        return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Matrix(TruthOptions):
    """Correlate the proxies of a run with each other, and beyond mere counts."""

    run: Positional[Folder]
    """Run folder."""
    truth: Truths = ()
    """Trained accuracies: FILE.csv:COLUMN, FILE.json:COLUMN or analog."""
    given: Annotated[
        tuple[Literal["params", "macs"], ...],
        arg(metavar="COUNT ...", help_behavior_hint=""),
    ] = ()
    """Counts to hold fixed, params, macs or both: do proxies merely count?"""
    measure: Literal["spearman", "kendall"] = "spearman"
    """Rank correlation of the matrix; what holds counts fixed is Spearman's."""
    json: Flag = False
    """Print one object and nothing else."""
    plot: File = None
    """Draw the matrix into a .png or .svg file."""

    def __call__(self) -> int:
        """Prints the report, and draws it if asked to."""
        draw = plotter("plot_matrix", self.plot)
        from jaxproxy.analysis import matrix
        from jaxproxy.cli._tables import matrix_tables
        from jaxproxy.cli._words import to_json

        if self.given and not self.truth:
            raise ValueError("--given needs a --truth to correlate with")
        run, truths = self.open(self.run, self.truth, some=False)
        found = matrix(run, truths, given=self.given, measure=self.measure)
        draw(found.names, found.values, found.measure)
        if self.json:
            print(json.dumps(to_json(found), indent=2))
        else:
            show(*matrix_tables(found))
        return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Show what scoring would run: passes, what they share and what they measure."""

    proxies: Annotated[Positional[tuple[str, ...]], arg(metavar="NAME ...")]
    """Proxies, variants and ensembles, as for `jaxproxy score`."""

    def __call__(self) -> int:
        """Prints a row for every pass."""
        from jaxproxy.analysis import expand
        from jaxproxy.cli._tables import plan_table
        from jaxproxy.proxies import parse_proxy
        from jaxproxy.scoring import summary

        if not self.proxies:
            raise ValueError("give at least one proxy, such as intrain")
        names = expand(column_names(self.proxies))
        proxies = [parse_proxy(name) for name in names]
        if any(proxy.meters for proxy in proxies):
            show(plan_table(proxies))
        show(*summary(proxies))
        return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draw:
    """Draw an architecture."""

    space: Annotated[Positional[str], arg(metavar="SPACE")]
    """Search space, such as nasbench201; see `jaxproxy list`."""
    arch: Annotated[Positional[str], arg(metavar="ARCH")]
    """Architecture string."""
    out: Annotated[Path, arg(metavar="FILE")]
    """Figure, .png or .svg."""

    def __call__(self) -> int:
        """Draws, and says what was drawn."""
        draw = plotter("plot_architecture", self.out)
        from jaxproxy.spaces import parse_space

        space = parse_space(self.space)
        code = space.check_codes(space.from_str(self.arch)[None])[0]
        if space.graph is None:
            raise ValueError(f"{space.name} has no drawing of its architectures")
        draw(space.graph(code), f"{space.name} {self.arch}")
        counts = f"{space.num_params(code)} parameters"
        if space.counts is not None and space.counts.macs is not None:
            counts += f", {space.num_macs(code)} multiply-adds"
        show(f"{counts}; the figure is {self.out}")
        return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class List:
    """List proxies with their options, spaces and presets."""

    def __call__(self) -> int:
        """Prints what can be chosen."""
        from jaxproxy.cli._words import catalogue

        show(*catalogue())
        return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fsck:
    """Find and remove what an accident left in a run folder."""

    run: Positional[Folder]
    """Run folder, which no process may be writing to."""
    dry_run: Flag = False
    """Only report; exit with 1 if there is anything."""

    def __call__(self) -> int:
        """Prints a line for each file found."""
        from jaxproxy.runs import Run

        problems = Run(self.run).fsck(delete=not self.dry_run)
        show(*problems or [f"{self.run}: nothing wrong"])
        if problems and not self.dry_run:
            show("removed; the same `jaxproxy score` command scores them again")
        return int(self.dry_run and bool(problems))
