"""What a search space is: codes, strings and a network; everything else is optional."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxproxy.measure import NORMS, EqualWeights, Network
from jaxproxy.spaces import _counting, _many, _networks, _sampling
from jaxproxy.spaces._mode import Mode
from jaxproxy.spaces._records import (
    Constraint,
    Counts,
    DeviceFunctions,
    Graph,
    Isomorphism,
    Sizes,
    Task,
)
from jaxproxy.spaces._strings import Strings
from jaxproxy.types import PRESETS, Fidelity

_IMAGES, _NONE = Task(), Isomorphism()


def _ones(codes: np.ndarray) -> np.ndarray:
    return np.ones(np.shape(codes)[:-1])


def _always(codes: np.ndarray) -> np.ndarray:
    return np.ones(np.shape(codes)[:-1], bool)


@dataclass(frozen=True, kw_only=True)
class Space:
    """A search space whose architectures are integer codes ``int32[G]``.

    The first five fields are required. Functions of codes take ``[..., G]`` and keep
    the leading axes, but for ``to_str``; all run on the host, except ``network``.
    """

    name: str
    choices: tuple[int, ...]
    """Number of values of each gene, so that ``G = len(choices)``."""
    to_str: Callable[[np.ndarray], str]
    """Code -> architecture string, as users and tables write it."""
    from_str: Callable[[str], np.ndarray]
    """Its inverse; ``ValueError`` names the string, the problem and the choices."""
    network: Callable[[Fidelity, Mode], Network]
    """(size, mode) -> network that takes a code."""
    norms: tuple[str, ...] = NORMS
    """Which of its modes of BatchNorm the network has."""
    strings: Strings | None = None
    """How many are written and read at once; None for one after another."""
    task: Task = _IMAGES
    on_device: DeviceFunctions | None = None
    """What devices count and draw themselves; None to ask the host."""
    counts: Counts | None = None
    """None to count the parameters of the network at the preset ``paper``."""
    constraint: Constraint | None = None
    isomorphism: Isomorphism = _NONE
    enumerate: Callable[[], np.ndarray] | None = None
    """All architectures int32[N, G], in the benchmark's order; None if too many."""
    cost: Callable[[np.ndarray], np.ndarray] = _ones
    """Codes -> relative time float64[...], to balance devices."""
    reachable: Callable[[np.ndarray], np.ndarray] = _always
    """Codes -> whether every operation can influence the output, bool[...]."""
    graph: Callable[[np.ndarray], Graph] | None = None
    """Code -> its drawing."""
    equal_weights: Callable[..., EqualWeights] | None = None
    """(size, *, underflow) -> the network of equal weights, with one channel."""
    presets: Mapping[str, Fidelity] = field(default_factory=PRESETS.copy, hash=False)
    sizes: Sizes | None = None
    """What its networks need at the least; None to refuse no size."""
    check_fidelity: Callable[[Fidelity], None] = lambda fidelity: None
    """Raises ValueError, in the space's words, for a size that its network has not."""
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What else its numbers depend on, for the manifest of a run."""

    num_archs = property(_sampling.num_archs)
    valid, check_codes = _sampling.valid, _sampling.check_codes
    sample, mutate = _sampling.sample, _sampling.mutate
    crossover, neighbours = _sampling.crossover, _sampling.neighbours
    to_strs, from_strs, mutants = _many.to_strs, _many.from_strs, _many.mutants
    num_params, num_macs = _counting.num_params, _counting.num_macs
    num_tensors = _counting.num_tensors
    make_network = _networks.make_network
    make_equal_weights = _networks.make_equal_weights

    def canonical(self, codes: np.ndarray) -> np.ndarray:
        """Returns the representatives of the isomorphism classes of codes."""
        return self.isomorphism.canonical(codes)
