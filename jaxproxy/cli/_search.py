"""The commands that find architectures.

Options are fields of dataclasses. Everything slow to import is imported where it is
used, so that ``jaxproxy --help`` answers at once.
"""

import dataclasses
import inspect
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from jaxproxy.cli._commands import (
    Flag,
    Folder,
    Lanes,
    Names,
    Number,
    column_names,
    parse_sized,
    show,
)
from jaxproxy.cli._found import front_records, front_tables, winner
from jaxproxy.cli._truths import RepeatsOption

if TYPE_CHECKING:
    from jax import Array

    from jaxproxy.scoring import LiveSearch, Scorer
    from jaxproxy.search import Budget
    from jaxproxy.search import Search as SearchKind
    from jaxproxy.spaces import Space

Size = Annotated[str | None, arg(metavar="N", help_behavior_hint="")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search(RepeatsOption):
    """Search for the best architecture by a proxy, into a run folder."""

    space: Annotated[Positional[str], arg(metavar="SPACE")]
    """Search space, such as nasbench201 or 'autoformer(size=small)'."""
    out: Folder
    """Run folder: new, or holding a search of the same settings, which goes on."""
    method: str = "intrain_nas"
    """Search and its options, such as 'regularized_evolution(pool=64,sample=10)'."""
    proxy: Names = ("capacity(depth=sqrt)",)
    """Proxy or variant whose score is to be high (or low, if low is good); several, or
    an ensemble, for searches that are told several scores."""
    budget: int = 1000
    """How many architectures are scored."""
    together: int = 64
    """How many are asked for before they are told; 1 is what papers do, but slow."""
    start: Annotated[str | None, arg(metavar="ARCH", help_behavior_hint="")] = None
    """Architecture to begin with, for searches that take one."""
    mutation: Literal["gene", "space"] = "gene"
    """One gene of another value, or what the space's own authors change."""
    max_params: Size = None
    """Most parameters: 1200000, 1200K or 1.2M."""
    max_macs: Size = None
    """Most multiply-adds of one input: 300M, for example."""
    max_latency: Annotated[
        str | None, arg(metavar="FILE.csv:COLUMN:VALUE", help_behavior_hint="")
    ] = None
    """Table of a cost, and the most of it; architectures without one are refused."""
    cost: Annotated[
        str | None, arg(metavar="FILE.csv:COLUMN", help_behavior_hint="")
    ] = None
    """Table of what 'nsga2(weigh_cost=True)' weighs, in place of multiply-adds."""
    preset: Literal["paper", "fast"] = "fast"
    """Fidelity: size of the network and batch that are scored, and nothing else."""
    seed: int = 0
    """Of the search."""
    seeds: int = 1
    """How many draws of weights and inputs; the score is their mean."""
    num_classes: Number = None
    """Outputs of the network, in place of the space's."""
    devices: Number = None
    """Devices to use, all by default; on the CPU, each is a processor core."""
    lanes: Lanes = 1
    """Architectures side by side on a device; auto is 1 on CPU, else what fits."""
    json: Flag = False
    """Print a list with the record of the winner and nothing else."""

    def __call__(self) -> int:
        """Searches, and prints the winner."""
        from jaxproxy.startup import set_up_jax

        set_up_jax(self.devices)
        from jaxproxy.scoring import Interrupted

        space = parse_sized(self.space, self.num_classes)
        limits = self._limits(space)
        scorer = self._scorer(space)
        try:
            found = self._search(space, scorer, limits)
        except Interrupted as stop:  # which has been logged
            return 128 + stop.signum
        record = winner(space, scorer, found)
        front = self._front(space, scorer, found)
        if front is not None:
            record["front"] = front
        if self.json:
            print(json.dumps([record], indent=2))
            return 0
        members = record.pop("front", [])
        show(*(f"{name}: {value}" for name, value in record.items()))
        show(*front_tables(members, self.cost or "cost"))
        refused = int(found.core.refused)
        show(f"{refused} proposals were refused" if refused else "")
        show(f"the run is in {self.out}")
        return 0

    def _search(
        self, space: "Space", scorer: "Scorer", limits: "Budget"
    ) -> "LiveSearch":
        from jaxproxy.options import make
        from jaxproxy.scoring import search_live
        from jaxproxy.search import SEARCHES, Budget, make_genes

        genes = make_genes(
            space,
            budget=limits if limits != Budget() else None,
            mutation=self._mutation(space),
            cost=self._costs(space),
        )
        more: dict[str, Any] = {"genes": genes}
        names = [proxy.name for proxy in scorer.proxies]
        if len(names) > 1 and "scores" in _options_of(self.method):
            more["scores"] = len(names)
        settings: dict[str, Any] = {"limits": self._named_limits()}
        if self.start is not None:
            settings["start"] = self.start
            more["start"] = tuple(space.from_str(self.start).tolist())
        if self.mutation != "gene":
            settings["mutation"] = self.mutation
        search, settings["method"] = make(self.method, SEARCHES, "method", **more)
        self._check_told(search, settings["method"], names)
        if self.cost is not None:
            if search.objectives == search.scores:
                raise ValueError(
                    f"--cost is for a search that weighs it, such as "
                    f"'nsga2(weigh_cost=True)', not {settings['method']!r}"
                )
            settings["cost"] = self.cost
        return search_live(
            search,
            genes,
            scorer,
            self.out,
            budget=self.budget,
            seed=self.seed,
            together=self.together,
            settings=settings,
        )

    def _costs(self, space: "Space") -> "Mapping[str, float] | None":
        from jaxproxy.analysis import load_truth

        if self.cost is None:
            return None
        return load_truth(self.cost, space=space, repeats=self.repeats).accuracy

    def _front(
        self, space: "Space", scorer: "Scorer", found: "LiveSearch"
    ) -> list[dict[str, Any]] | None:
        """Returns the records of the front, None if the search seeks none."""
        if found.search.objectives == 1:
            return None
        names = [proxy.name for proxy in scorer.proxies]
        weighs = found.search.objectives > found.search.scores
        return front_records(space, names, found.run, self._costs(space), weighs=weighs)

    def _scorer(self, space: "Space") -> "Scorer":
        from jaxproxy.analysis import expand
        from jaxproxy.options import check_counts
        from jaxproxy.scoring import make_scorer

        check_counts(together=self.together)
        return make_scorer(
            space,
            expand(column_names(self.proxy)),
            fidelity=self.preset,
            seeds=self.seeds,
            devices=self.devices,
            lanes=self.lanes,
            block_size=self.together,
        )

    def _mutation(self, space: "Space") -> "Callable[[Array, Array], Array] | None":
        if self.mutation == "gene":
            return None
        device = space.on_device
        if device is None or device.mutation is None:
            raise ValueError(
                f"{space.name} has no mutation of its own: leave out --mutation space"
            )
        return device.mutation

    def _check_told(self, search: "SearchKind", method: str, names: list[str]) -> None:
        """Raises ValueError if a method is not told just these scores."""
        from jaxproxy.search import SEARCHES

        if search.scores == len(names):
            return
        several = [n for n in SEARCHES if {"scores", "objectives"} & _options_of(n)]
        told = "one score" if search.scores == 1 else f"{search.scores} scores"
        raise ValueError(
            f"{method} is told {told}, not {names}; choose as many proxies, or a "
            f"search of several: {sorted(several)}"
        )

    def _named_limits(self) -> dict[str, Any]:
        names = ("max_params", "max_macs", "max_latency")
        return {name: getattr(self, name) for name in names}

    def _limits(self, space: "Space") -> "Budget":
        from jaxproxy.analysis import load_truth
        from jaxproxy.options import quoted
        from jaxproxy.search import Budget

        costs, most = None, None
        if self.max_latency is not None:
            table, _, value = self.max_latency.rpartition(":")
            try:
                most = float(value)
            except ValueError:
                raise ValueError(
                    "--max-latency is FILE.csv:COLUMN:VALUE, not "
                    f"{quoted(self.max_latency)}"
                ) from None
            costs = load_truth(table, space=space, repeats=self.repeats).accuracy
        params = _size("--max-params", self.max_params)
        return Budget(params, _size("--max-macs", self.max_macs), costs, most)


def _options_of(method: str) -> set[str]:
    """Returns the names of a search's options, none if there is no such search."""
    from jaxproxy.search import SEARCHES

    factory = SEARCHES.get(method.partition("(")[0].strip())
    return set() if factory is None else {*inspect.signature(factory).parameters}


def _size(option: str, text: str | None) -> int | None:
    """Returns the number of a text such as ``300M``.

    Raises:
      ValueError: it is none.
    """
    from jaxproxy.options import quoted

    if text is None:
        return None
    match = re.fullmatch(
        r"(\d+(?:\.\d+)?(?:e\d+)?)([KMG]?)", text.strip(), re.IGNORECASE
    )
    if match is None:
        raise ValueError(
            f"{option} is a number such as 1200000 or 1.2M, not {quoted(text)}"
        )
    if not math.isfinite(float(match[1])):
        raise ValueError(f"{option} is too large: {quoted(text)}")
    scale = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}[match[2].lower()]
    return round(float(match[1]) * scale)
