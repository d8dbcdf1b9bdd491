"""Whether a score of a model means anything, and why if not."""

import dataclasses
from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxproxy.measure import Meter, NetworkMeter, Readings, Setup
from jaxproxy.meters import gradient_norm, weight_size
from jaxproxy.proxies import Proxy
from jaxproxy.spaces import Anatomy

_MATRICES = ("conv_w", "linear_w", "attention_w", "other_w")
_LAYERS = ("conv", "linear", "relu", "bn")
_DIFFERENTIATE = ("second order", "per sample", "per class")
_SHOWN = 5


def missing(proxy: Proxy, found: Anatomy, batch_size: int) -> str:
    """Why a proxy cannot be had of a model, or its score would mean nothing.

    Args:
      proxy: any.
      found: what is known of the model.
      batch_size: images of a batch, unless a setup has its own.
    """
    for meter in proxy.meters:
        if isinstance(meter, NetworkMeter) and meter.needs_blocks:
            return "it needs a network in blocks, which a plain model is not"
        kinds = getattr(meter, "kinds", ())
        if kinds and not found.kinds & set(kinds):
            has = sorted(found.kinds & {*_LAYERS})
            hint = "; layers=linear reads those" * ("linear" in has and "conv" in kinds)
            return (
                f"it reads taps of kinds {kinds}, and the model has none; it has "
                f"{has}{hint}"
            )
        size = _images(meter.setup, batch_size)
        if meter.compares and size == 1:
            return "it compares images, and the batch has one"
        if why := _without_classes(meter, found):
            return why
        size = 1 if meter.setup.single else size
        if _normalises(meter) and size * (found.num_normalised or 2) == 1:
            return (
                "BatchNorm has one value for a channel, which it turns into zero "
                "whatever it is; give more images"
            )
    return ""


def _images(setup: Setup, batch_size: int) -> int:
    """How many images a setup shows at once, or one after another."""
    if setup.inputs == "ones":
        return 1
    return batch_size if setup.batch_size is None else setup.batch_size


def _without_classes(meter: Meter, found: Anatomy) -> str:
    """Returns why a meter needs another output or loss, empty if it does not."""
    classes = isinstance(meter, NetworkMeter) and meter.classes
    of_classes = found.loss == "cross_entropy" and len(found.output) == 1
    if (classes or meter.setup.loss == "logit") and not of_classes:
        return (
            "it needs the logits of two classes or more, float[B, K], with cross-"
            f"entropy, and the model has float[B{_axes(found.output)}] with "
            f"{found.loss or 'no loss'}"
        )
    of_loss = _differentiates(meter) and meter.setup.loss == "cross_entropy"
    if of_loss and not found.loss:
        return (
            f"the output is float[B{_axes(found.output)}], whose loss nobody knows; "
            "give loss='cross_entropy', 'binary', 'mse' or a function"
        )
    return ""


def _axes(shape: tuple[int, ...]) -> str:
    return "".join(f", {size}" for size in shape)


def _differentiates(meter: Meter) -> bool:
    if isinstance(meter, NetworkMeter):
        return meter.cost in _DIFFERENTIATE
    return getattr(meter, "phase", "") in ("backward", "gradient", "slope")


def _normalises(meter: Meter) -> bool:
    """Whether the network is run for it with BatchNorm by batches."""
    return meter.setup.norm == "batch" and getattr(meter, "phase", "") != "weight"


def reach(proxy: Proxy, found: Anatomy) -> list[Proxy]:
    """Proxies of which part of the weights the gradients that one reads arrive at.

    One for each of its setups; they share its passes.
    """
    setups = {_derived(m): None for m in proxy.meters if _differentiates(m)}
    return [_reach(setup) for setup in setups] if found.matrices else []


def _derived(meter: Meter) -> Setup:
    """Returns the setup of a meter with the loss that it differentiates."""
    if isinstance(meter, NetworkMeter) and meter.cost != "second order":
        return dataclasses.replace(meter.setup, loss="sum")
    return meter.setup


def _reach(setup: Setup) -> Proxy:
    norms = gradient_norm(_MATRICES).under(setup)
    sizes = weight_size(_MATRICES).under(setup)

    def score(readings: Readings) -> Array:
        size = readings[sizes]
        size = size.reshape(-1, size.shape[-1])[0]
        norm = readings[norms].reshape(-1, len(size))
        # Not "above zero": what is no number is no zero gradient.
        return jnp.where((norm != 0).any(0), size, 0).sum() / size.sum()

    return Proxy(f"reached {setup.label}", meters=(norms, sizes), score=score)


def doubts_of(
    scores: np.ndarray, valid: np.ndarray, reached: Sequence[np.ndarray]
) -> list[str]:
    """Why each of n scores means nothing, or nothing if it does.

    Args:
      scores: float64[n, S], on S seeds.
      valid: bool[n, S], by the proxy itself.
      reached: float64[n, S], of :func:`reach`.
    """
    least = np.min([np.ones_like(scores), *reached], axis=(0, 2))
    return list(_doubts(scores, valid, least))


def _doubts(scores: np.ndarray, valid: np.ndarray, least: np.ndarray) -> Iterator[str]:
    for values, means_anything, part in zip(scores, valid, least, strict=True):
        if part == 0:
            yield "no gradient reaches any weight"
        elif part < 0.5:
            yield (
                f"no gradient reaches {1 - part:.0%} of the weights, as before a layer "
                "that starts at zero"
            )
        elif not np.isfinite(values).all():
            yield f"the score is {values[~np.isfinite(values)][0]}"
        elif not means_anything.all():
            yield "nothing is left that the proxy could read"
        else:
            yield ""


def partial_views(found: Anatomy) -> tuple[str, ...]:
    """What proxies do not see of a model, in sentences."""
    missed, loss = found.uncounted, ()
    if found.loss not in ("", "cross_entropy"):
        loss = (f"gradients are of the loss {found.loss!r} with random targets",)
    if not missed:
        return loss
    names = ", ".join(missed[:_SHOWN]) + (", ..." if len(missed) > _SHOWN else "")
    return (
        *loss,
        f"{len(missed)} of {len(found.matrices)} matrices are not counted by proxies "
        f"of layers or weights, since they are in no layer that is known: {names}",
    )
