"""Scores of unlike models in one call."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jax import Array

from jaxproxy.measure import NetworkMeter
from jaxproxy.proxies import Proxy, parse_proxy
from jaxproxy.scoring._score import make_scorer
from jaxproxy.scoring._scorer import Scorer
from jaxproxy.spaces import Anatomy, Model, Space, anatomy, model_space
from jaxproxy.types import Fidelity


class Population(NamedTuple):
    """Scores of N models."""

    names: tuple[str, ...]
    scores: dict[str, np.ndarray]
    """Proxy name -> float64[N], averaged over seeds; NaN where it was refused."""
    valid: dict[str, np.ndarray]
    """Proxy name -> bool[N], whether the score of every seed means anything."""
    refused: dict[str, dict[str, str]]
    """Proxy name -> model name -> why there is no score."""
    num_structures: int
    """Programs compiled: one for all models of a structure."""


def population(
    models: Mapping[str, Model] | Sequence[Model],
    x: Array,
    proxies: Sequence[Proxy | str] = ("intrain",),
    *,
    seeds: int | Sequence[int] = 1,
    images: np.ndarray | Array | None = None,
    labels: np.ndarray | Array | None = None,
) -> Population:
    """Returns scores of Flax models, however unlike, by every proxy that applies.

    Models whose programs are equal share a compilation. A proxy that cannot be had of a
    model is refused with a reason, and does not keep the others from being scored.

    Args:
      models: name -> model, or models, named by their place. Each is a Linen module, an
        NNX module, or a function from ``nnx.Rngs`` to one, with logits as its output
        (see :func:`~jaxproxy.spaces.from_linen`).
      x: float[B, ...], its shape is that of the inputs; B is the batch size.
      proxies: as in :func:`~jaxproxy.scoring.make_scorer`.
      seeds: as there.
      images: as there; for models of images.
      labels: as there.

    Raises:
      ValueError: no models or proxies, or a model that cannot be used at all.
    """
    models = _named(models)
    chosen = [parse_proxy(p) if isinstance(p, str) else p for p in proxies]
    known = {name: anatomy(name, model, x) for name, model in models.items()}
    groups = _by_structure(known)
    names = tuple(models)
    scores = {p.name: np.full(len(names), np.nan) for p in chosen}
    valid = {p.name: np.zeros(len(names), bool) for p in chosen}
    refused: dict[str, dict[str, str]] = {p.name: {} for p in chosen}
    options: dict[str, Any] = {
        "fidelity": Fidelity(width=1, cells=1, batch_size=len(x)),
        "seeds": seeds,
        "images": images,
        "labels": labels,
        "devices": 1,
    }
    for members in groups:
        found = known[members[0]]
        space = model_space({name: models[name] for name in members}, x, found)
        scorer, reasons = _fit(space, found, chosen, options)
        for proxy, reason in reasons.items():
            refused[proxy] |= dict.fromkeys(members, reason)
        if scorer is None:
            continue
        where = [names.index(name) for name in members]
        codes = np.arange(len(members), dtype=np.int32)[:, None]
        measured = scorer.score(codes)
        for proxy, values in measured.scores.items():
            scores[proxy][where] = values.mean(1)
            valid[proxy][where] = measured.valid[proxy].all(1)
        for proxy, values in scorer.counts(codes).items():
            scores[proxy][where], valid[proxy][where] = values, np.isfinite(values)
    return Population(names, scores, valid, refused, len(groups))


def _named(models: Mapping[str, Model] | Sequence[Model]) -> Mapping[str, Model]:
    if not models:
        raise ValueError("give at least one model")
    if isinstance(models, Mapping):
        return models
    return {str(number): model for number, model in enumerate(models)}


def _by_structure(known: Mapping[str, Anatomy]) -> list[list[str]]:
    """Returns names in groups whose models are one program."""
    groups: dict[str, list[str]] = {}
    for name, found in known.items():
        groups.setdefault(found.structure, []).append(name)
    return list(groups.values())


def _fit(
    space: Space, found: Anatomy, proxies: Sequence[Proxy], options: dict[str, Any]
) -> tuple[Scorer | None, dict[str, str]]:
    """A scorer of the proxies that apply, if any, and why the others do not."""
    reasons = {p.name: _missing(p, found) for p in proxies}
    for proxy in proxies:
        if not reasons[proxy.name]:
            reasons[proxy.name] = _complaint(space, [proxy], options, trace=False)
    if _complaint(space, _without(proxies, reasons), options):
        for proxy in _without(proxies, reasons):
            reasons[proxy.name] = _complaint(space, [proxy], options)
    left = _without(proxies, reasons)
    refused = {name: reason for name, reason in reasons.items() if reason}
    if not left:
        return None, refused
    size = space.num_archs
    return make_scorer(space, left, block_size=size, **options), refused


def _without(proxies: Sequence[Proxy], reasons: dict[str, str]) -> list[Proxy]:
    return [proxy for proxy in proxies if not reasons[proxy.name]]


def _missing(proxy: Proxy, found: Anatomy) -> str:
    """What a proxy reads and the model does not have."""
    for meter in proxy.meters:
        if isinstance(meter, NetworkMeter) and meter.needs_blocks:
            return "it needs a network in blocks, which a plain model is not"
        kinds = getattr(meter, "kinds", ())
        if kinds and not found.kinds & set(kinds):
            return f"it reads taps of kinds {kinds}, and the model has none"
    return ""


def _complaint(
    space: Space, proxies: Sequence[Proxy], options: dict[str, Any], trace: bool = True
) -> str:
    """Message of the error that scoring would end with, or nothing."""
    if not proxies:
        return ""
    try:
        scorer = make_scorer(space, proxies, **options)
        if trace:
            _ = scorer.layout
    except ValueError as error:
        return str(error)
    return ""
