"""Meter of the outputs of networks whose weights all have one value."""

from typing import Literal

from jaxproxy.measure import EqualWeightsMeter, Setup, meter

Underflow = Literal["paper", "stable"]


@meter
def equal_weights_outputs(
    *, mode: Underflow = "paper", weights: tuple[float, float] | None = None
) -> EqualWeightsMeter:
    """Outputs of all images with two constant weights, float64[1, 2, B].

    For scores only. Images come in their own number and size.

    Args:
      mode: ``"paper"`` loses the signal where float32 does, ``"stable"`` never.
      weights: the two values; None for the pair that is published for the space.

    References:
      Gracheva, "Neural architecture search: two constant shared weights
      initialisations", Artificial Intelligence Review 2025, arXiv:2302.04406.
    """
    return EqualWeightsMeter(
        weights, underflow=mode == "paper", keep=False, setup=Setup(inputs="images")
    )
