"""How a network and its input are prepared for a pass, as data.

Proxies differ in more than their formulas: in the weights that are drawn, in what the
network is shown, in whether BatchNorm normalises, and in what is differentiated.
Proxies whose setups agree share their passes.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array
from optax.losses import softmax_cross_entropy

from jaxproxy.options import check_choices


def check_logits(shape: tuple[int, ...], y: Array | None = None) -> None:
    """Raises ValueError unless outputs are logits [B, K], and labels, if given, [B]."""
    if len(shape) != 2:
        raise ValueError(f"logits [B, K] are needed, not outputs {list(shape)}")
    if y is not None and y.ndim != 1:
        raise ValueError(f"classes [B] are needed, not targets {list(y.shape)}")


def cross_entropy(logits: Array, y: Array) -> Array:
    """Returns the mean softmax cross-entropy of float[B, K] logits, float[].

    Args:
      logits: float[B, K].
      y: int32[B], classes from 0 to K - 1.
    """
    return softmax_cross_entropy(logits, jax.nn.one_hot(y, logits.shape[1])).mean()


def _sum(logits: Array, y: Array) -> Array:
    return logits.sum()


def _one_logit(logits: Array, y: Array) -> Array:
    check_logits(logits.shape)
    return jnp.take_along_axis(logits, y[:, None], axis=1).sum()


def _kaiming(z: Array, fan: int) -> Array:
    return z * (2 / fan) ** 0.5


def _uniform(z: Array, bound: float) -> Array:
    return jax.scipy.special.erf(z * 0.5**0.5) * bound


Weights = Literal["kaiming", "kaiming_out", "normal", "uniform", "he_uniform", "abs"]
"""A name in :data:`WEIGHTS`."""

WEIGHTS: dict[str, Callable[[Array, int, int], Array]] = {
    "kaiming": lambda z, fan_in, fan_out: _kaiming(z, fan_in),
    "kaiming_out": lambda z, fan_in, fan_out: _kaiming(z, fan_out),
    "normal": lambda z, fan_in, fan_out: z,
    "uniform": lambda z, fan_in, fan_out: _uniform(z, fan_in**-0.5),
    "he_uniform": lambda z, fan_in, fan_out: _uniform(z, (6 / fan_in) ** 0.5),
    "abs": lambda z, fan_in, fan_out: jnp.abs(_kaiming(z, fan_in)),
}
"""(standard normal numbers, fan-in, fan-out) -> weights of a convolution or matrix.

``uniform`` is PyTorch's default, between -1/sqrt(fan-in) and its negative. Biases are 0
and BatchNorm scales 1 under all of them.
"""

INPUTS = ("gaussian", "perturbed", "ones", "images")
"""``gaussian`` noise with random labels; ``perturbed``: two batches, the second the
first plus a hundredth of other noise; one image of ``ones``; the user's ``images``."""

NORMS = ("batch", "fixed", "none")
"""BatchNorm by the statistics of the batch; by those of a fresh network in evaluation
mode, mean 0 and variance 1; or none, in which case every cell's output is divided by
its largest entry, lest it overflow."""

LOSSES: dict[str, Callable[[Array, Array], Array]] = {
    "cross_entropy": cross_entropy,  # or the loss of the space's task
    "sum": _sum,
    "logit": _one_logit,
}
"""(logits float[B, K], classes int32[B]) -> float[], what is differentiated.

With ``logit``, every batch is shown K times, and its k-th logits are differentiated.
"""


@dataclass(frozen=True)
class Setup:
    """What one pass runs on.

    Attributes:
      weights: name in :data:`WEIGHTS`.
      inputs: name in :data:`INPUTS`.
      norm: name in :data:`NORMS`.
      loss: name in :data:`LOSSES`.
      batches: how many batches M are shown, one after another; readings of taps get a
        leading axis M if more than one.
      batch_size: images of each, if not the fidelity's.
      single: whether the images are shown one at a time, each a batch of its own.

    Raises:
      ValueError: an unknown name, or a number below 1.
    """

    weights: str = "kaiming"
    inputs: str = "gaussian"
    norm: str = "batch"
    loss: str = "cross_entropy"
    batches: int = 1
    batch_size: int | None = None
    single: bool = False

    def __post_init__(self) -> None:
        """Checks the names."""
        check_choices(
            weights=(self.weights, WEIGHTS),
            inputs=(self.inputs, INPUTS),
            norm=(self.norm, NORMS),
            loss=(self.loss, LOSSES),
        )
        if self.batches < 1 or (self.batch_size is not None and self.batch_size < 1):
            raise ValueError(
                f"batches and batch_size must be at least 1, got {self.batches} and "
                f"{self.batch_size}"
            )

    @property
    def shown(self) -> "Setup":
        """With defaults for what the batches do not depend on."""
        loss = self.loss if self.loss == "logit" else Setup.loss
        return replace(self, weights=Setup.weights, norm=Setup.norm, loss=loss)

    @property
    def opening(self) -> "Setup":
        """With one batch, where that is the first of however many.

        Setups that open alike are one pass over the most batches that any has.
        """
        goes_on = self.inputs in ("gaussian", "images") and not self.single
        if self.loss == "logit" or not goes_on:
            return self
        return replace(self, batches=1)

    @property
    def label(self) -> str:
        """``"@weights=abs,norm=none"``: what is not the default; else empty."""
        changed = [
            f"{field.name}={getattr(self, field.name)}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"@{','.join(changed)}" if changed else ""


DEFAULT = Setup()
"""The setup of InTrain: noise, random labels, Kaiming-normal weights, BatchNorm."""
