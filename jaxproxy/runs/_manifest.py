"""What defines the numbers of a run, compared with what is asked for (host code)."""

import logging
from pathlib import PurePath
from typing import Any

from jaxproxy.runs._files import StoreError

_LOGGER = logging.getLogger("jaxproxy")
_ENVIRONMENT = "environment"  # the manifest's one key that may differ on resume


def _complete(manifest: dict[str, Any]) -> dict[str, Any]:
    """Returns a manifest as this version would have written it.

    Those of earlier ones do not say what there was no choice of, and took the budget of
    a search for a part of what it is.
    """
    if isinstance(manifest.get("search"), dict):
        search = {k: v for k, v in manifest["search"].items() if k != "budget"}
        manifest = {**manifest, "search": search}
    scorer = manifest.get("scorer", {})
    if not isinstance(scorer.get("fidelity"), dict):
        return manifest
    fidelity = {"precision": "float32", **scorer["fidelity"]}
    flags = {"random_seed_offset": 0, **scorer.get("jax", {})}
    return {**manifest, "scorer": {**scorer, "fidelity": fidelity, "jax": flags}}


class OtherRunError(StoreError):
    """A folder holds a run of another request, or with other settings."""


def check_same(path: PurePath, there: dict[str, Any], here: dict[str, Any]) -> None:
    """Compares two manifests, environments aside.

    Args:
      path: the run folder, for messages.
      there: the manifest of the run.
      here: the manifest of what is asked for.

    Raises:
      OtherRunError: they differ; the message has each key and both values.
    """
    there, here = _leaves(_complete(there)), _leaves(_complete(here))
    refused, notes = [], []
    for key in dict.fromkeys([*there, *here]):
        a, b = (leaves.get(key, "(absent)") for leaves in (there, here))
        if a != b:
            group = notes if key.split(".")[0] == _ENVIRONMENT else refused
            group.append(f"{key} is {a!r} there and {b!r} here")
    if refused:
        raise OtherRunError(
            f"{path} holds a run with other settings: {'; '.join(refused)}; choose "
            "a new folder or the same settings"
        )
    if notes:
        _LOGGER.info("resuming %s: %s", path, "; ".join(notes))


class ForeignError(StoreError):
    """A manifest that can be read, and is none of a run."""


def check_manifest(file: PurePath, manifest: Any) -> dict[str, Any]:
    """Returns a manifest.

    Raises:
      ForeignError: it is none.
    """
    if why := _problem(manifest):
        raise ForeignError(f"{file} is no manifest of jaxproxy: {why}")
    return manifest


def _problem(manifest: Any) -> str:
    """Returns why a value is no manifest of a run, or an empty text.

    What every reader of runs takes for granted is looked at, and nothing else: runs may
    have more, and those of other versions do.
    """
    if not isinstance(manifest, dict):
        return f"it is {_kind(manifest)}, not an object"
    scorer = manifest.get("scorer")
    if not isinstance(scorer, dict):
        return f"its scorer is {_kind(scorer)}, not an object"
    if not isinstance(scorer.get("space"), str):
        return f"the space of its scorer is {_kind(scorer.get('space'))}, not a text"
    for name, kind, what in _LISTS:
        values = scorer.get(name, [])
        needed = name in ("proxies", "seeds")
        if not isinstance(values, list) or (needed and not values):
            return f"the {name} of its scorer are {_kind(values)}, not a list of {what}"
        wrong = [value for value in values if type(value) is not kind]
        if wrong:
            return f"the {name} of its scorer hold {_kind(wrong[0])}, not {what}"
    if not isinstance(scorer.get("fidelity"), dict):
        return f"its fidelity is {_kind(scorer.get('fidelity'))}, not an object"
    return ""


_LISTS = (
    ("proxies", str, "texts"),
    ("seeds", int, "integers"),
    ("meters", str, "texts"),
    ("lower_is_better", str, "texts"),
)


def _kind(value: Any) -> str:
    """Returns what JSON calls a kind of value."""
    for kind, name in (
        (bool, "a flag"),
        (int | float, "a number"),
        (str, "a text"),
        (list, "a list" if value else "an empty list"),
        (dict, "an object"),
    ):
        if isinstance(value, kind):
            return name
    return "missing" if value is None else type(value).__name__


def _leaves(value: Any, key: str = "") -> dict[str, Any]:
    """Nested records as one level with dotted keys; a list of numbers is one value."""
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        value = dict(enumerate(value))
    if not isinstance(value, dict) or not value:
        return {key: value}
    leaves: dict[str, Any] = {}
    for name, item in value.items():
        leaves |= _leaves(item, f"{key}.{name}" if key else str(name))
    return leaves
