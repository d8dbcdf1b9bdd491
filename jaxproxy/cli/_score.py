"""The command that scores.

Options are fields of dataclasses. Everything slow to import is imported where it is
used, so that ``jaxproxy --help`` answers at once.
"""

import dataclasses
import os
import sys
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from jaxproxy.cli._commands import (
    File,
    Flag,
    Folder,
    Lanes,
    Names,
    Number,
    Truths,
    column_names,
    parse_sized,
    show,
)
from jaxproxy.cli._errors import one_line
from jaxproxy.cli._truths import TruthOptions
from jaxproxy.cli._workers import OTHER_RUN, PENDING, Work

if TYPE_CHECKING:
    import numpy as np

    from jaxproxy.analysis import Truth
    from jaxproxy.runs import Run
    from jaxproxy.scoring import Scorer, Worker
    from jaxproxy.spaces import Space
    from jaxproxy.types import Fidelity


_DEFAULT_SAMPLE = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score(TruthOptions):
    """Score architectures into a run folder, or finish a run that was stopped."""

    space: Annotated[Positional[str], arg(metavar="SPACE")]
    """Search space, such as nasbench201 or 'autoformer(size=small)'."""
    out: Folder
    """Run folder, or URL such as s3://bucket/run: new, or holding a run of the same
    request and settings."""
    proxies: Names = ("intrain",)
    """Proxies, variants and ensembles, such as intrain 'capacity(depth=sqrt)' vote."""
    sample: Number = None
    """Score this many random architectures; 100 if nothing else is asked for."""
    all: Flag = False
    """Score the whole space."""
    archs: File = None
    """Score the architectures in a file, one string a line; - is standard input."""
    seed: int = 0
    """Seed of --sample."""
    preset: Literal["paper", "fast"] = "fast"
    """Fidelity: size of the network and batch that are scored, and nothing else."""
    width: Number = None
    """Channels of the stem, in place of the preset's."""
    cells: Number = None
    """Cells per stage, in place of the preset's."""
    batch_size: Number = None
    """Images per batch, in place of the preset's."""
    resolution: Number = None
    """Side of the images in pixels, in place of the preset's."""
    seeds: int = 1
    """How many draws of weights and inputs; the score is their mean."""
    num_classes: Number = None
    """Outputs of the network, in place of the space's."""
    images: File = None
    """Images for proxies that take them: npz with x [N, R, R, 3] and labels y [N]."""
    devices: Number = None
    """Devices to use, all by default; on the CPU, each is a processor core."""
    lanes: Lanes = 1
    """Architectures side by side on a device; auto is 1 on CPU, else what fits."""
    worker: Annotated[str | None, arg(metavar="I/N|auto")] = None
    """Which of N workers of the same command this is, from 0; auto asks the scheduler.
    It scores its share of RUN, which all see, then what others have not finished."""
    no_steal: Flag = False
    """Stop after this worker's own share, with exit code 75 if others have not done
    theirs."""
    workers: Number = None
    """Start so many workers on this machine, one device each."""
    ray: Annotated[str | None, arg(metavar="local|auto|ADDRESS")] = None
    """Score on a Ray cluster, an actor for each of its CPUs; RUN is the same folder on
    all of its nodes."""
    precision: Literal["float32", "tensorfloat32", "bfloat16"] = "float32"
    """Of products; below float32, scores are others, and faster on an accelerator."""
    deduplicate: Flag = False
    """Score one of each isomorphism class; default where that changes no score."""
    no_deduplicate: Flag = False
    """Score every distinct architecture."""
    truth: Truths = ()
    """Trained accuracies to correlate with: FILE.csv:COLUMN, FILE.json:COLUMN or
    analog."""

    def __call__(self) -> int:
        """Scores, and prints what was found."""
        if self.deduplicate and self.no_deduplicate:
            raise ValueError("give --deduplicate or --no-deduplicate, not both")
        self._check_workers()
        from jaxproxy.startup import set_up_jax

        set_up_jax(self.devices)
        from jaxproxy.analysis import correlations
        from jaxproxy.cli import _tables as tables
        from jaxproxy.cli import _words as words
        from jaxproxy.runs import OtherRunError, num_parts
        from jaxproxy.scoring import Interrupted

        space = parse_sized(self.space, self.num_classes)
        codes, strings = self._request(space)
        truths = self._truths(space, codes)  # before hours of scoring
        scorer = self._scorer(space)
        show(*words.request(scorer, len(codes), self.images is not None))
        try:
            run, speed = self._sweep(scorer, codes, strings)
        except Interrupted as stop:  # which has been logged
            return 128 + stop.signum
        except OtherRunError as error:
            if self.worker is None:
                raise
            print("jaxproxy: error:", one_line(error), file=sys.stderr)
            return OTHER_RUN
        if self.no_steal and len(run.done()) < (num_parts(run) or 0):
            show(f"this share is done; others' parts of {run.path} are not")
            return PENDING
        show(words.settings(run), speed)
        first = column_names(self.proxies)[0]
        show(tables.proxy_table(run), tables.top_table(run, first))
        if truths:
            show(*tables.correlation_tables(correlations(run, truths)))
        show(f"the run is in {run.path}")
        return 0

    def _truths(self, space: "Space", codes: "np.ndarray") -> "list[Truth]":
        """The truths, each of which knows some of the architectures."""
        from jaxproxy.analysis import check_truth

        truths = self.load(self.truth, space)
        if truths and len(codes):
            # As a truth that is loaded for a space spells them.
            archs = space.to_strs(codes)
            for spec, truth in zip(self.truth, truths, strict=True):
                check_truth(truth, archs, f"this request (--truth {spec})")
        return truths

    def _scorer(self, space: "Space") -> "Scorer":
        from jaxproxy.analysis import expand
        from jaxproxy.cli._files import read_images
        from jaxproxy.scoring import make_scorer

        images, labels = read_images(self.images) if self.images else (None, None)
        return make_scorer(
            space,
            expand(column_names(self.proxies)),
            fidelity=self._fidelity(space),
            seeds=self.seeds,
            images=images,
            labels=labels,
            devices=self.devices,
            lanes=self.lanes,
        )

    def _sweep(
        self, scorer: "Scorer", codes: "np.ndarray", strings: list[str] | None
    ) -> "tuple[Run, str]":
        """The finished run, and how fast it went."""
        from jaxproxy.cli._words import speed
        from jaxproxy.runs import Run
        from jaxproxy.scoring import Cut, plan_sweep, run_workers, sweep, sweep_on_ray

        before, begin = Run(self.out), time.perf_counter()
        started = self.out.is_dir() and before.done()
        finished = len(before.table(["index"])) if started else 0
        cut: Cut = {
            "strings": strings,
            "deduplicate": self.deduplicate or (False if self.no_deduplicate else None),
            "part_size": _part_size(scorer.fidelity),
        }
        if self.ray is not None:
            make = partial(self._scorer, scorer.space)
            run = sweep_on_ray(make, codes, self.out, address=self.ray, **cut)
        elif self.workers is not None:
            _, run = plan_sweep(scorer, codes, self.out, **cut)
            names = [f"{index}/{self.workers}" for index in range(self.workers)]
            one = replace(self, workers=None, truth=(), devices=1)
            works = [Work(replace(one, worker=name)) for name in names]
            run_workers(works, run, len(codes), hopeless=(2, OTHER_RUN))
        else:
            run = sweep(scorer, codes, self.out, worker=self._worker(), **cut)
        seconds = time.perf_counter() - begin
        return run, speed(len(codes), finished, seconds)

    def _worker(self) -> "Worker | None":
        from jaxproxy.scoring import find_worker

        if self.worker is None:
            return None
        found = find_worker(self.worker, os.environ, steal=not self.no_steal)
        show(f"worker {found.index} of {found.count} ({found.source})")
        return found

    def _check_workers(self) -> None:
        """Raises ValueError for options that do not go together."""
        ways = {"--worker": self.worker, "--workers": self.workers, "--ray": self.ray}
        given = [name for name, value in ways.items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"give one of {' and '.join(given)}, not both")
        if self.no_steal and self.worker is None:
            raise ValueError("--no-steal is for a --worker")
        if self.workers is not None:
            most = 8 * (os.cpu_count() or 1)
            if not 1 <= self.workers <= most:
                raise ValueError(
                    f"--workers is from 1 to {most} here, not {self.workers}"
                )
            if self.devices not in (None, 1):
                raise ValueError("--workers have one device each, not --devices")
            if str(self.archs) == "-":
                raise ValueError("--workers cannot share standard input; give a file")

    def _fidelity(self, space: "Space") -> "Fidelity":
        names = ("width", "cells", "batch_size", "resolution")
        given = {name: getattr(self, name) for name in (*names, "precision")}
        given = {name: value for name, value in given.items() if value is not None}
        return dataclasses.replace(space.presets[self.preset], **given)

    def _request(self, space: "Space") -> tuple["np.ndarray", list[str] | None]:
        """Codes, and the strings they were given as."""
        import numpy as np

        from jaxproxy.cli._files import read_archs

        if (self.sample is not None) + self.all + (self.archs is not None) > 1:
            raise ValueError("give only one of --sample, --all and --archs")
        if self.archs is not None:
            strings, codes = read_archs(self.archs, space)
            return codes, strings
        if self.all:
            if space.enumerate is None:
                raise ValueError(f"{space.name} is too large for --all; use --sample")
            return space.enumerate(), None
        num = _DEFAULT_SAMPLE if self.sample is None else self.sample
        return space.sample(np.random.default_rng(self.seed), num), None


def _part_size(fidelity: "Fidelity") -> int:
    """Architectures that a stop may lose; it must not depend on the machine."""
    from jaxproxy.scoring import PART_SIZE

    work = fidelity.batch_size * fidelity.resolution**2 * fidelity.width**2
    return PART_SIZE if work * fidelity.cells < 2e7 else PART_SIZE // 10
