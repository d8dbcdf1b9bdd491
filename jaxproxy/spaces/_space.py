"""What a search space is: codes, strings, a network and exact counts."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxproxy.types import PRESETS, Fidelity

if TYPE_CHECKING:
    from jax import Array

    from jaxproxy.measure import Network
    from jaxproxy.types import Batch


_TRIES = 10_000


class Graph(NamedTuple):
    """A drawing of an architecture: what its nodes say and which feed which."""

    nodes: tuple[str, ...]
    """In an order in which every edge points forward."""
    edges: tuple[tuple[int, int, str], ...]
    """(source, target, label)."""


def _identity(code: np.ndarray) -> np.ndarray:
    return code


def _ones(codes: np.ndarray) -> np.ndarray:
    return np.ones(len(codes))


def _always(code: np.ndarray) -> np.ndarray:
    return np.ones(code.shape[:-1], bool)


def _no_reason(code: np.ndarray) -> str:
    return "its genes contradict each other"


@dataclass(frozen=True, kw_only=True)
class Space:
    """A search space whose architectures are integer codes ``int32[G]``.

    Functions of codes take ``[..., G]`` and keep the leading axes, but for ``to_str``.

    Where genes constrain each other (graphs without a path, budgets), ``valid`` says
    which combinations are architectures; sampling, mutation and crossover draw until
    they have one. All functions run on the host, on numpy arrays, except ``network``.

    Attributes:
      name: name of the space, as in ``SPACES``.
      choices: number of values of each gene, so that ``G = len(choices)``.
      num_classes: outputs of the network.
      to_str: code -> architecture string, as users and tables write it.
      from_str: its inverse; ``ValueError`` names the string, the problem and the
        choices.
      num_params: code -> int64[...], trainable parameters of the network that is
        trained (not of the one that is scored at some fidelity).
      num_macs: code -> int64[...], multiply-adds of one image through that network.
      network: fidelity -> network that takes a code. It may also take, by keyword,
        ``weights`` and ``norm`` (see :class:`~jaxproxy.measure.Setup`) and, if the
        network for taps cannot be differentiated freely, ``plain`` for one that can.
      num_tensors: code -> int64[...], named parameter tensors of that network;
        ``None`` where nobody counted them.
      canonical: code -> representative of its isomorphism class.
      same_in_class: whether what looks at structure only cannot tell the members of a
        class apart; not so if, say, channels depend on the order of vertices.
      enumerate: all architectures, ``int32[num_archs, G]``, in the official order of
        the benchmark if there is one; ``None`` where they are too many.
      cost: codes ``[N, G]`` -> relative time ``float64[N]``, to balance devices.
      reachable: code -> whether every operation can influence the output.
      settings: what else its numbers depend on, for the manifest of a run.
      presets: ``"paper"``, the setting of InTrain, and ``"fast"``.
      draw: ``(key, fidelity) ->`` a batch of noise, where inputs are not images or
        outputs not classes; ``None`` for Gaussian images and random classes.
      loss: ``(outputs, labels) -> float[]`` of the task, in place of cross-entropy;
        ``None`` where outputs are logits of classes.
      valid: codes with genes in range -> bool[...], which are architectures.
      explain: a code that is not -> why, as in "there is no path to the output".
      sampler: ``(generator, n) -> `` int32[n, G] random architectures, where almost no
        combination of genes is one; ``None`` to draw until one is.
      graph: code -> its drawing; ``None`` where there is none.
      collapsed: ``(fidelity, *, underflow) -> `` the network with all weights equal,
        evaluated with one channel; ``None`` where no such form is known.
    """

    name: str
    choices: tuple[int, ...]
    num_classes: int
    to_str: Callable[[np.ndarray], str]
    from_str: Callable[[str], np.ndarray]
    num_params: Callable[[np.ndarray], np.ndarray]
    num_macs: Callable[[np.ndarray], np.ndarray]
    network: "Callable[..., Network]"
    num_tensors: Callable[[np.ndarray], np.ndarray] | None = None
    canonical: Callable[[np.ndarray], np.ndarray] = _identity
    same_in_class: bool = True
    enumerate: Callable[[], np.ndarray] | None = None
    cost: Callable[[np.ndarray], np.ndarray] = _ones
    reachable: Callable[[np.ndarray], np.ndarray] = _always
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    presets: Mapping[str, Fidelity] = field(
        default_factory=lambda: dict(PRESETS), hash=False
    )
    draw: "Callable[[Array, Fidelity], Batch] | None" = None
    loss: "Callable[[Array, Array], Array] | None" = None
    valid: Callable[[np.ndarray], np.ndarray] = _always
    explain: Callable[[np.ndarray], str] = _no_reason
    sampler: Callable[[np.random.Generator, int], np.ndarray] | None = None
    graph: Callable[[np.ndarray], Graph] | None = None
    collapsed: Callable[..., Any] | None = None

    @property
    def num_archs(self) -> int:
        """Number of combinations of genes; a Python integer, for spaces reach 1e30.

        Where ``valid`` excludes some, there are fewer architectures.
        """
        return math.prod(self.choices)

    @property
    def constrained(self) -> bool:
        """Whether some combinations of genes are no architectures."""
        return self.valid is not _always

    def check_codes(self, codes: np.ndarray) -> np.ndarray:
        """Codes as ``int32[N, G]``, checked.

        Args:
          codes: integer[N, G].

        Raises:
          ValueError: not integers, not of shape ``[N, G]``, a gene out of range, or a
            combination that is no architecture.
        """
        codes = np.asarray(codes)
        if not np.issubdtype(codes.dtype, np.integer):
            raise ValueError(f"codes of {self.name} are integers, got {codes.dtype}")
        if codes.ndim != 2 or codes.shape[1] != len(self.choices):
            raise ValueError(
                f"codes of {self.name} have shape [N, {len(self.choices)}], "
                f"got {list(codes.shape)}"
            )
        wrong = np.argwhere((codes < 0) | (codes >= np.array(self.choices)))
        if len(wrong):
            row, gene = wrong[0]
            raise ValueError(
                f"gene {gene} of code {row} is {codes[row, gene]}; {self.name} "
                f"allows 0 to {self.choices[gene] - 1} there"
            )
        codes = codes.astype(np.int32)
        refused = np.flatnonzero(~self.valid(codes))
        if len(refused):
            code = codes[refused[0]]
            raise ValueError(
                f"code {refused[0]}, {code.tolist()}, is no architecture of "
                f"{self.name}: {self.explain(code)}"
            )
        return codes

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Uniformly random codes ``int32[n, G]``.

        An enumerable space is sampled without replacement, by index in its order; in
        any other, genes are independent, combinations that are no architecture are
        drawn again, and a repetition is possible. A space with a sampler has its own
        distribution.

        Raises:
          ValueError: ``n`` is negative or exceeds what an enumerable space has, or
            architectures are too rare to be found.
        """
        codes = None if self.enumerate is None else self.enumerate()
        if n < 0 or (codes is not None and n > len(codes)):
            there = "" if codes is None else f" of the {len(codes)}"
            raise ValueError(f"cannot sample {n}{there} architectures of {self.name}")
        if codes is not None:
            return codes[rng.choice(len(codes), n, replace=False)]
        if self.sampler is not None:
            return self.check_codes(self.sampler(rng, n))

        def draw(num: int) -> np.ndarray:
            return rng.integers(0, self.choices, (num, len(self.choices)))

        return self._until_valid(draw, n, "random codes")

    def mutate(
        self, rng: np.random.Generator, code: np.ndarray, num_mutations: int = 1
    ) -> np.ndarray:
        """Copy of a code with ``num_mutations`` genes changed to other values.

        Which genes, and which of their other values, is uniformly random among the
        mutants that are architectures.

        Args:
          rng: source of randomness.
          code: integer[G].
          num_mutations: number of genes that differ in the result.

        Raises:
          ValueError: the code is wrong, fewer genes than asked have a choice, or no
            mutant is an architecture.
        """
        parent = self.check_codes(np.asarray(code)[None])[0]
        free = np.flatnonzero(np.array(self.choices) > 1)
        if not 0 <= num_mutations <= len(free):
            raise ValueError(
                f"num_mutations={num_mutations}; {self.name} has {len(free)} genes "
                "with a choice"
            )

        def draw(num: int) -> np.ndarray:
            mutants = np.tile(parent, (num, 1))
            for mutant in mutants:
                for gene in rng.choice(free, num_mutations, replace=False):
                    # A non-zero step reaches every other value equally.
                    step = rng.integers(1, self.choices[gene])
                    mutant[gene] = (mutant[gene] + step) % self.choices[gene]
            return mutants

        return self._until_valid(draw, 1, f"mutants of {self.to_str(parent)}")[0]

    def crossover(
        self, rng: np.random.Generator, a: np.ndarray, b: np.ndarray
    ) -> np.ndarray:
        """Code int32[G] with every gene from one of two parents, uniformly at random.

        Raises:
          ValueError: a parent is wrong.
        """
        one, other = self.check_codes(np.stack([a, b]))

        def draw(num: int) -> np.ndarray:
            return np.where(rng.random((num, len(self.choices))) < 0.5, one, other)

        return self._until_valid(draw, 1, "children")[0]

    def neighbours(self, code: np.ndarray) -> np.ndarray:
        """All architectures that differ in exactly one gene, ``int32[M, G]``.

        Raises:
          ValueError: the code is wrong.
        """
        (code,) = self.check_codes(np.asarray(code)[None])
        found = []
        for gene, num in enumerate(self.choices):
            others = np.tile(code, (num, 1))
            others[:, gene] = np.arange(num)
            found.append(np.delete(others, code[gene], axis=0))
        codes = np.concatenate(found)
        return codes[self.valid(codes)]

    def _until_valid(
        self, draw: Callable[[int], np.ndarray], num: int, what: str
    ) -> np.ndarray:
        """``num`` codes of those that ``draw`` gives, int32[num, G]."""
        found, tries, size = [np.zeros((0, len(self.choices)), np.int32)], 0, num
        while (missing := num - sum(map(len, found))) > 0:
            if tries > _TRIES * num:
                raise ValueError(
                    f"none of {tries} {what} is an architecture of {self.name}"
                )
            codes = draw(size).astype(np.int32)
            found.append(codes[self.valid(codes)][:missing])
            tries, size = tries + size, min(2 * size, 4096)
        return np.concatenate(found)
