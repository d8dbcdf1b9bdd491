"""Words that every other file uses: arrays, batches and fidelities.

Shape letters, the same everywhere: ``N`` architectures, ``G`` genes of a code, ``S``
seeds, ``B`` images of a batch, ``R`` pixels of an image's side, ``C`` channels, ``L``
tapped layers.
"""

from dataclasses import asdict, dataclass
from typing import NamedTuple

import jax


class Batch(NamedTuple):
    """Images and labels that an architecture is scored on.

    Attributes:
      x: float32[B, R, R, 3], channels last.
      y: int32[B], class labels in ``[0, num_classes)``.
    """

    x: jax.Array
    y: jax.Array


PRECISIONS = ("float32", "tensorfloat32", "bfloat16")
"""Precisions of a fidelity, the best first."""


@dataclass(frozen=True)
class Fidelity:
    """Size of the network and of the batch that are scored.

    The network that is scored need not be the network that is trained: ranking is
    often as good, and far cheaper, on a narrow, shallow network and a small batch.

    Attributes:
      width: channels of the stem, or what the space says it is.
      cells: cells per stage, or what the space says they are.
      batch_size: inputs per batch.
      resolution: side of the images in pixels, or what the space says it is.
      precision: of the operands of convolutions and matrix products, one of
        :data:`PRECISIONS`. Less than ``"float32"`` is for devices that have it.

    Raises:
      ValueError: a size is not a positive ``int``, or an unknown precision. A space may
        refuse more.
    """

    width: int = 16
    cells: int = 5
    batch_size: int = 64
    resolution: int = 64
    precision: str = "float32"

    def __post_init__(self) -> None:
        """Checks the fields, because a wrong one would surface inside a trace."""
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"unknown precision {self.precision!r}; choose from {[*PRECISIONS]}"
            )
        sizes = {k: v for k, v in asdict(self).items() if k != "precision"}
        for name, value in sizes.items():
            # bool is an int, and a numpy integer would not survive a JSON manifest.
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be a positive int, got {value!r}")


#: ``paper`` is the setting of InTrain. ``fast`` is about 1/8000 of its arithmetic and,
#: for forward readings of NAS-Bench-201, ranks architectures no worse.
PRESETS = {
    "paper": Fidelity(width=16, cells=5, batch_size=64, resolution=64),
    # Chosen on benchmarks/results/frontier.json: no cheaper size ranks as well.
    "fast": Fidelity(width=4, cells=5, batch_size=2, resolution=16),
}
