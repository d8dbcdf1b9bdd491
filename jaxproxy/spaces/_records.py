"""The parts of a search space that many spaces do without: records of functions.

Functions of codes take ``integer[..., G]`` and keep the leading axes.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax import Array

from jaxproxy.measure import cross_entropy, make_batch
from jaxproxy.types import Batch, Fidelity


class Task(NamedTuple):
    """What a network is shown, and what is asked of it; ten classes of images."""

    num_outputs: int = 10
    """Classes, or outputs of another kind."""
    draw: Callable[[Array, Fidelity], Batch] | None = None
    """(key, size) -> a batch of noise; None for Gaussian images, random classes."""
    loss: Callable[[Array, Array], Array] = cross_entropy
    """(outputs, labels) -> float[]."""
    numbers: Callable[[Fidelity], int] = lambda fidelity: 3 * fidelity.resolution**2
    """Size -> numbers of one input, so that what cannot fit is refused."""

    @classmethod
    def of_inputs(cls, shape: tuple[int, ...], num_outputs: int) -> "Task":
        """Returns the task to tell apart classes of Gaussian inputs of a shape.

        Args:
          shape: of one input, such as ``(8,)`` or ``(32, 32, 3)``.
          num_outputs: classes.
        """
        draw = partial(_draw, shape, num_outputs)
        return cls(num_outputs, draw, numbers=lambda fidelity: math.prod(shape))

    def batch(self, key: Array, fidelity: Fidelity) -> Batch:
        """Returns a batch of noise with labels."""
        draw = self.draw or partial(make_batch, num_classes=self.num_outputs)
        return draw(key, fidelity)


def _draw(
    shape: tuple[int, ...], num_classes: int, key: Array, fidelity: Fidelity
) -> Batch:
    """Returns Gaussian inputs and uniformly random labels."""
    x_key, y_key = jax.random.split(key)
    size = (fidelity.batch_size, *shape)
    # Flat: the same numbers, but a draw of several axes is slow to compile.
    x = jax.random.normal(x_key, (math.prod(size),)).reshape(size)
    return Batch(x, jax.random.randint(y_key, size[:1], 0, num_classes))


class Sizes(NamedTuple):
    """What any network of a space needs at the least, so that more is refused."""

    weights: Callable[[Fidelity, int], int]
    """(size, outputs) -> numbers of all weights, at least."""
    activations: Callable[[Fidelity, int], int]
    """(size, outputs) -> numbers of the largest activation of one input, at least."""

    @classmethod
    def of_images(cls, patch: int = 1, *, repeats: bool = True) -> "Sizes":
        """Returns those of a network of images.

        Args:
          patch: side in pixels of what the first layer makes one of ``width`` numbers
            of, rounded up for a layer that makes fewer.
          repeats: whether each of ``cells`` has weights of its own.
        """
        return cls(partial(_weights, repeats), partial(_activations, patch))


def _weights(repeats: bool, fidelity: Fidelity, outputs: int) -> int:
    cells = fidelity.cells if repeats else 1
    return cells * fidelity.width**2 + fidelity.width * outputs // 2


def _activations(patch: int, fidelity: Fidelity, outputs: int) -> int:
    return max(outputs, fidelity.width * fidelity.resolution**2 // patch**2)


class Counts(NamedTuple):
    """Exact sizes of the network that is trained, not of the one that is scored."""

    params: Callable[[np.ndarray], np.ndarray]
    """Codes -> trainable parameters, int64[...]."""
    macs: Callable[[np.ndarray], np.ndarray] | None = None
    """Codes -> multiply-adds of one input, int64[...]; None where nobody knows."""
    tensors: Callable[[np.ndarray], np.ndarray] | None = None
    """Codes -> named parameter tensors, int64[...]; None where nobody knows."""


class DeviceFunctions(NamedTuple):
    """What a space does on the host, of one code int32[G] in terms of ``jax.numpy``.

    So that searches under budgets are one program and need not ask the host.
    """

    params: Callable[[Array], Array]
    """Code -> trainable parameters int32[]; 2**31 - 1 stands for all that is more."""
    macs: Callable[[Array], Array]
    """Code -> multiply-adds int32[], likewise."""
    valid: Callable[[Array], Array] | None = None
    """Code -> whether it is an architecture, bool[]; None if all are."""
    sampler: Callable[[Array], Array] | None = None
    """Key -> a random architecture; of the constraint's distribution."""
    mutation: Callable[[Array, Array], Array] | None = None
    """(key, code) -> a changed code, by the benchmark's own searches; None where they
    change one gene. A search has it by ``make_genes(space, mutation=...)``."""


class Constraint(NamedTuple):
    """Which combinations of genes are architectures, where not all of them are.

    Sampling, mutation and crossover draw until they have one.
    """

    valid: Callable[[np.ndarray], np.ndarray]
    """Codes with genes in range -> bool[...]."""
    explain: Callable[[np.ndarray], str] = lambda code: (
        "its genes contradict each other"
    )
    """A code that is none -> why, as in ``"there is no path to the output"``."""
    sampler: Callable[[np.random.Generator, int], np.ndarray] | None = None
    """(generator, n) -> n random architectures int32[n, G], where almost no combination
    is one; None to draw until one is."""


class Isomorphism(NamedTuple):
    """Which architectures are one and the same; by default each only itself."""

    canonical: Callable[[np.ndarray], np.ndarray] = lambda code: code
    """Codes -> representatives of their classes."""
    equal_scores: bool = True
    """Whether what looks at structure only cannot tell the members of a class apart;
    not so if, say, channels depend on the order of vertices."""


class Graph(NamedTuple):
    """A drawing of an architecture: what its nodes say and which feed which."""

    nodes: tuple[str, ...]
    """In an order in which every edge points forward."""
    edges: tuple[tuple[int, int, str], ...]
    """(source, target, label)."""
