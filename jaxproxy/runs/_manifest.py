"""What defines the numbers of a run, compared with what is asked for (host code)."""

import logging
from pathlib import Path
from typing import Any

from jaxproxy.runs._files import StoreError

_LOGGER = logging.getLogger("jaxproxy")
_ENVIRONMENT = "environment"  # the manifest's one key that may differ on resume


def complete(manifest: dict[str, Any]) -> dict[str, Any]:
    """Returns a manifest with what those of earlier versions do not say."""
    scorer = manifest.get("scorer", {})
    if not isinstance(scorer.get("fidelity"), dict):
        return manifest
    fidelity = {"precision": "float32", **scorer["fidelity"]}
    return {**manifest, "scorer": {**scorer, "fidelity": fidelity}}


def check_same(path: Path, there: dict[str, Any], here: dict[str, Any]) -> None:
    """Raises StoreError unless two manifests agree, environments aside.

    Args:
      path: the run folder, for messages.
      there: the manifest of the run.
      here: the manifest of what is asked for.
    """
    there, here = _leaves(there), _leaves(here)
    refused, notes = [], []
    for key in dict.fromkeys([*there, *here]):
        a, b = (leaves.get(key, "(absent)") for leaves in (there, here))
        if a != b:
            group = notes if key.split(".")[0] == _ENVIRONMENT else refused
            group.append(f"{key} is {a!r} there and {b!r} here")
    if refused:
        raise StoreError(
            f"{path} holds a run with other settings: {'; '.join(refused)}; choose "
            "a new folder or the same settings"
        )
    if notes:
        _LOGGER.info("resuming %s: %s", path, "; ".join(notes))


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
