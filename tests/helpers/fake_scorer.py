"""A scorer without JAX, whose numbers can be worked out; run, it sweeps into a folder.

``python fake_scorer.py OUT SECONDS_PER_BLOCK`` sweeps :func:`request` in parts of 10.
"""

import itertools
import logging
import sys
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from jaxproxy.runs import Run
from jaxproxy.scoring import Interrupted, sweep
from jaxproxy.spaces import Counts, Isomorphism, Space


def toy(genes: int = 5, values: int = 3) -> Space:
    """Genes whose order does not matter: 243 codes, 21 classes."""
    codes = np.array(list(itertools.product(range(values), repeat=genes)), np.int32)
    return Space(
        name="toy",
        choices=(values,) * genes,
        to_str=lambda code: "".join(str(int(gene)) for gene in code),
        from_str=lambda arch: np.array([int(gene) for gene in arch], np.int32),
        network=lambda fidelity, mode: None,
        counts=Counts(lambda code: int(code @ 10 ** np.arange(genes))),
        isomorphism=Isomorphism(np.sort),
        enumerate=lambda: codes,
        cost=lambda codes: 1.0 + codes.sum(1) ** 2,
    )


def alpha(codes: np.ndarray, seeds: tuple[int, ...]) -> np.ndarray:
    """Exact in float64 whatever the order: float64[n, S]."""
    weights = np.array([1, 3, 7, 13, 29, 53])[: codes.shape[1]]
    return (codes @ weights)[:, None] * 0.25 + np.array(seeds) / 8


class Slot(NamedTuple):
    """As the real one."""

    name: str
    kind: str
    depth: int
    channels: int


class BlockScores(NamedTuple):
    """As the real one."""

    scores: dict[str, np.ndarray]
    valid: dict[str, np.ndarray]
    readings: dict[str, np.ndarray]
    present: dict[str, np.ndarray]


@dataclass
class FakeScorer:
    """Follows the interface of ``Scorer``; ``calls`` records the blocks."""

    block_size: int = 8
    num_devices: int = 1
    lanes: int = 1
    seeds: tuple[int, ...] = (0, 1, 5)
    seconds: float = 0.0
    settings: dict = field(default_factory=lambda: {"width": 8})
    measure: bool = True
    space: Space = field(default_factory=toy)
    calls: list = field(default_factory=list)
    before: object = None

    proxies = (
        SimpleNamespace(name="alpha", count=None, invariant=True),
        SimpleNamespace(
            name="params",
            invariant=False,
            count=lambda space, codes: np.array([space.num_params(c) for c in codes]),
        ),
        SimpleNamespace(name="beta", count=None, invariant=True),
    )

    @property
    def layout(self) -> dict[str, tuple[Slot, ...]]:
        """One layer for each gene."""
        genes = range(len(self.space.choices))
        layers = tuple(Slot(f"layer{i}", "conv", i, 4) for i in genes)
        return {"trace": layers, "spectrum": layers, "none": ()}

    def describe(self) -> dict:
        """What defines the numbers."""
        names = [proxy.name for proxy in self.proxies]
        what = {"space": "toy", "proxies": names, "seeds": self.seeds}
        return what | {"fidelity": self.settings}

    def counts(self, codes: np.ndarray) -> dict[str, np.ndarray]:
        """Exact counts of codes."""
        counted = {p.name: p.count for p in self.proxies if p.count is not None}
        return {n: np.asarray(c(self.space, codes), float) for n, c in counted.items()}

    def score_block(self, codes: np.ndarray) -> BlockScores:
        """Scores a block."""
        if self.before:
            self.before()
        self.calls.append(codes)
        time.sleep(self.seconds)
        first = alpha(codes, self.seeds)
        beta, total = first.copy(), codes.sum(1)
        beta[total == 4] = np.array([np.nan, np.inf, 1.0])[: len(self.seeds)]
        beta[total == 5, 0] = np.inf
        trace = (first[:, :, None] * np.arange(codes.shape[1])).astype(np.float32)
        scores = {"alpha": first, "beta": beta}
        return BlockScores(
            scores,
            {name: np.isfinite(values) for name, values in scores.items()},
            {
                "trace": trace,
                "spectrum": np.stack([trace, -trace], -1),
                "none": trace[:, :, :0],
            }
            if self.measure
            else {},
            {"trace": codes > 0, "spectrum": codes > 1, "none": codes[:, :0] > 0},
        )


def request() -> np.ndarray:
    """300 codes, some of them repeated, in no order."""
    return np.random.default_rng(0).choice(toy().enumerate(), 300)


def as_lists(run: Run) -> list[str]:
    """Both tables, comparable: NaN equals itself and every digit counts."""
    return [repr(run.table().to_pylist()), repr(run.readings().to_pylist())]


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    scorer = FakeScorer(block_size=4, seconds=float(sys.argv[2]))
    try:
        sweep(scorer, request(), sys.argv[1], deduplicate=False, part_size=10)
    except Interrupted as stop:
        sys.exit(128 + stop.signum)
