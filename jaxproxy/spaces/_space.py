"""What a search space is: codes, strings, a network and exact counts."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxproxy.network import Network


def _identity(code: np.ndarray) -> np.ndarray:
    return code


def _ones(codes: np.ndarray) -> np.ndarray:
    return np.ones(len(codes))


def _always(code: np.ndarray) -> np.ndarray:
    return np.ones(code.shape[:-1], bool)


@dataclass(frozen=True, kw_only=True)
class Space:
    """A search space whose architectures are integer codes ``int32[G]``.

    Functions of codes take ``[..., G]`` and keep the leading axes, but for ``to_str``.

    Every combination of gene values is an architecture; that is what makes sampling
    and mutation generic. All functions run on the host, on numpy arrays, except
    ``network``.

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
        ``weights`` and ``norm`` (see :class:`~jaxproxy.setups.Setup`) and, if the
        network for taps cannot be differentiated freely, ``plain`` for one that can.
      num_tensors: code -> int64[...], named parameter tensors of that network;
        ``None`` where nobody counted them.
      canonical: code -> representative of its isomorphism class.
      enumerate: all architectures, ``int32[num_archs, G]``, in the official order of
        the benchmark if there is one; ``None`` where they are too many.
      cost: codes ``[N, G]`` -> relative time ``float64[N]``, to balance devices.
      reachable: code -> whether every operation can influence the output.
      settings: what else its numbers depend on, for the manifest of a run.
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
    enumerate: Callable[[], np.ndarray] | None = None
    cost: Callable[[np.ndarray], np.ndarray] = _ones
    reachable: Callable[[np.ndarray], np.ndarray] = _always
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    collapsed: Callable[..., Any] | None = None

    @property
    def num_archs(self) -> int:
        """Number of architectures; a Python integer, since spaces reach 1e30."""
        return math.prod(self.choices)

    def check_codes(self, codes: np.ndarray) -> np.ndarray:
        """Codes as ``int32[N, G]``, checked.

        Args:
          codes: integer[N, G].

        Raises:
          ValueError: not integers, not of shape ``[N, G]``, or a gene out of range.
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
        return codes.astype(np.int32)

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Uniformly random codes ``int32[n, G]``.

        An enumerable space is sampled without replacement, by index in its order; in
        any other, genes are independent and a repetition is possible.

        Raises:
          ValueError: ``n`` is negative or exceeds what an enumerable space has.
        """
        if n < 0 or (self.enumerate is not None and n > self.num_archs):
            raise ValueError(
                f"cannot sample {n} of the {self.num_archs} architectures of "
                f"{self.name}"
            )
        if self.enumerate is not None:
            return self.enumerate()[rng.choice(self.num_archs, n, replace=False)]
        genes = rng.integers(0, self.choices, (n, len(self.choices)))
        return genes.astype(np.int32)

    def mutate(
        self, rng: np.random.Generator, code: np.ndarray, num_mutations: int = 1
    ) -> np.ndarray:
        """Copy of a code with ``num_mutations`` genes changed to other values.

        Which genes, and which of their other values, is uniformly random.

        Args:
          rng: source of randomness.
          code: integer[G].
          num_mutations: number of genes that differ in the result.

        Raises:
          ValueError: the code is wrong, or fewer genes than asked have a choice.
        """
        mutant = self.check_codes(np.asarray(code)[None])[0]
        free = np.flatnonzero(np.array(self.choices) > 1)
        if not 0 <= num_mutations <= len(free):
            raise ValueError(
                f"num_mutations={num_mutations}; {self.name} has {len(free)} genes "
                "with a choice"
            )
        for gene in rng.choice(free, num_mutations, replace=False):
            # A non-zero step modulo the choices reaches every other value equally.
            step = rng.integers(1, self.choices[gene])
            mutant[gene] = (mutant[gene] + step) % self.choices[gene]
        return mutant
