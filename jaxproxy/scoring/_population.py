"""Scores of unlike models in one call."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Unpack

import numpy as np
from jax import Array

from jaxproxy.proxies import Proxy, parse_proxy
from jaxproxy.scoring._coverage import Coverage, coverage
from jaxproxy.scoring._meaning import doubts_of, missing, partial_views, reach
from jaxproxy.scoring._reasons import reason_of
from jaxproxy.scoring._score import make_scorer
from jaxproxy.spaces import (
    Anatomy,
    Model,
    Space,
    Usage,
    Use,
    anatomy,
    model_space,
)
from jaxproxy.types import Fidelity

_LOGGER = logging.getLogger("jaxproxy")


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
    doubts: dict[str, dict[str, str]]
    """Proxy name -> model name -> why the score that there is means nothing."""
    notes: dict[str, tuple[str, ...]]
    """Model name -> what proxies do not see of the model, or saw otherwise."""
    coverage: dict[str, dict[str, Coverage]]
    """Proxy name -> model name -> how many matrices the score that there is counts."""

    def partial(self) -> dict[str, dict[str, str]]:
        """Returns proxy name -> model name -> what a score that misses matrices counts.

        As in ``{"capacity": {"vit": "1 of 16 matrices"}}``.
        """
        texts = {
            proxy: {name: str(one) for name, one in seen.items() if one.missed}
            for proxy, seen in self.coverage.items()
        }
        return {proxy: named for proxy, named in texts.items() if named}


def population(
    models: Mapping[str, Model] | Sequence[Model],
    x: Array,
    proxies: Sequence[Proxy | str] = ("intrain",),
    *,
    seeds: int | Sequence[int] = 1,
    images: np.ndarray | Array | None = None,
    labels: np.ndarray | Array | None = None,
    **use: Unpack[Use],
) -> Population:
    """Returns scores of Flax models, however unlike, by every proxy that applies.

    Models whose programs are equal share a compilation. A model that fails, or a proxy
    that cannot be had of it, is refused with a reason, whatever exception it ends with,
    and does not keep the others from being scored.

    Args:
      models: name -> model, or models, named by their place. Each is a Linen module, an
        NNX module, or a function from ``nnx.Rngs`` to one, with logits as its output
        (see :func:`~jaxproxy.spaces.from_linen`).
      x: float[B, ...], its shape is that of the inputs; B is the batch size.
      proxies: as in :func:`~jaxproxy.scoring.make_scorer`.
      seeds: as there.
      images: as there; for models of images.
      labels: as there.
      **use: ``call``, ``output`` and ``loss``, as :func:`~jaxproxy.spaces.from_linen`.

    Raises:
      ValueError: no models or proxies, or no model that can be used at all.
    """
    models = _named(models)
    chosen = [parse_proxy(p) if isinstance(p, str) else p for p in proxies]
    usage = Usage(**use)
    known, unusable = _known(models, x, usage)
    groups = _by_structure(known)
    names = tuple(models)
    scores = {p.name: np.full(len(names), np.nan) for p in chosen}
    valid = {p.name: np.zeros(len(names), bool) for p in chosen}
    refused = {p.name: dict(unusable) for p in chosen}
    doubts: dict[str, dict[str, str]] = {p.name: {} for p in chosen}
    options: dict[str, Any] = {"seeds": seeds, "images": images, "labels": labels}
    size = Fidelity(width=1, cells=1, batch_size=len(x))
    options |= {"fidelity": size, "devices": 1}
    for members in groups:
        found = known[members[0]]
        space = model_space({name: models[name] for name in members}, x, found, usage)
        measured, reasons = _measured(space, found, chosen, options)
        for proxy, reason in reasons.items():
            refused[proxy] |= dict.fromkeys(members, reason)
        where = [names.index(name) for name in members]
        for proxy, result in measured.items():
            scores[proxy][where] = result.scores
            valid[proxy][where] = [not doubt for doubt in result.doubts]
            doubts[proxy] |= _without_none(members, result.doubts)
    notes = {name: _notes(name, found) for name, found in known.items()}
    seen = {p.name: _covered(p, known, refused[p.name]) for p in chosen}
    return Population(names, scores, valid, refused, len(groups), doubts, notes, seen)


def _covered(
    proxy: Proxy, known: Mapping[str, Anatomy], refused: Mapping[str, str]
) -> dict[str, Coverage]:
    """Returns what the scores of a proxy count of the models that have one."""
    scored = {name: found for name, found in known.items() if name not in refused}
    seen = {name: coverage(proxy, found) for name, found in scored.items()}
    return {name: one for name, one in seen.items() if one is not None}


def _without_none(names: Sequence[str], texts: Sequence[str]) -> dict[str, str]:
    """Returns names with their texts, but for those that have none."""
    return {name: text for name, text in zip(names, texts, strict=True) if text}


def _notes(name: str, found: Anatomy) -> tuple[str, ...]:
    """What proxies do not see of a model; logged too."""
    notes = partial_views(found)
    for note in notes:
        _LOGGER.warning("%s: %s", name, note)
    return notes


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


def _known(
    models: Mapping[str, Model], x: Array, usage: Usage
) -> tuple[dict[str, Anatomy], dict[str, str]]:
    """Anatomies of the models that can be used, and why the others cannot.

    Raises:
      ValueError: none can.
    """
    known, unusable = {}, {}
    failure: Exception | None = None
    for name, model in models.items():
        try:
            known[name] = anatomy(name, model, x, usage)
        except MemoryError:
            raise
        except Exception as error:
            failure, unusable[name] = error, reason_of(error)
            _LOGGER.warning("%s is not scored: %s", name, unusable[name])
    if not known:
        texts = [f"{name}: {reason}" for name, reason in unusable.items()]
        raise ValueError("no model can be scored; " + "; ".join(texts)) from failure
    return known, unusable


class _Scores(NamedTuple):
    scores: np.ndarray
    """float64[n], averaged over seeds."""
    doubts: list[str]
    """Why each of the n means nothing; empty if it is valid."""


def _measured(
    space: Space, found: Anatomy, proxies: Sequence[Proxy], options: dict[str, Any]
) -> tuple[dict[str, _Scores], dict[str, str]]:
    """What the proxies that apply give, and why the others do not."""
    size = options["fidelity"].batch_size
    reasons = {p.name: missing(p, found, size) for p in proxies}
    for proxy in _without(proxies, reasons):
        reasons[proxy.name] = _complaint(space, [proxy], options, trace=False)
    if _complaint(space, _without(proxies, reasons), options):
        for proxy in _without(proxies, reasons):
            reasons[proxy.name] = _complaint(space, [proxy], options)
    measured: dict[str, _Scores] = {}
    left = _without(proxies, reasons)
    # What fails only when it is run fails alone.
    if left and _run(space, left, options, found, measured):
        for proxy in left:
            reasons[proxy.name] = _run(space, [proxy], options, found, measured)
    return measured, {name: reason for name, reason in reasons.items() if reason}


def _run(
    space: Space,
    proxies: Sequence[Proxy],
    options: dict[str, Any],
    found: Anatomy,
    into: dict[str, _Scores],
) -> str:
    """Scores the models of a space; returns why that failed, or nothing."""
    codes = np.arange(space.num_archs, dtype=np.int32)[:, None]
    reaches = {proxy.name: reach(proxy, found) for proxy in proxies}
    others = {one.name: one for ones in reaches.values() for one in ones}
    try:
        scorer = make_scorer(
            space, [*proxies, *others.values()], block_size=len(codes), **options
        )
        block = scorer.score(codes)
        counts = scorer.counts(codes)
    except MemoryError:
        raise
    except Exception as error:
        return reason_of(error)
    for proxy in proxies:
        if proxy.name in counts:
            values = counts[proxy.name][:, None]
            valid = np.isfinite(values)
        else:
            values, valid = block.scores[proxy.name], block.valid[proxy.name]
        reached = [block.scores[one.name] for one in reaches[proxy.name]]
        into[proxy.name] = _Scores(values.mean(1), doubts_of(values, valid, reached))
    return ""


def _without(proxies: Sequence[Proxy], reasons: dict[str, str]) -> list[Proxy]:
    return [proxy for proxy in proxies if not reasons[proxy.name]]


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
    except MemoryError:
        raise
    except Exception as error:
        return reason_of(error)
    return ""
