"""What defines a run, and where and with what it was made (host code)."""

import os
import platform
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from jaxproxy.scoring._scorer import Scorer


def make_manifest(
    scorer: Scorer, request: dict[str, Any], **environment: Any
) -> dict[str, Any]:
    """Returns all that defines a run, and where it was made.

    Args:
      scorer: what is computed.
      request: what identifies what it is computed of.
      **environment: what is recorded, but free to change when the run goes on.
    """
    return {
        "format": 1,
        "scorer": scorer.describe(),
        **request,
        "environment": {**_environment(scorer), **environment},
    }


def _environment(scorer: Scorer) -> dict[str, Any]:
    """Where and with what a run was made; recorded, but free to change on resume."""
    versions = {}
    for package in ("jaxproxy", "jax", "jaxlib", "flax", "numpy", "pyarrow"):
        with suppress(metadata.PackageNotFoundError):  # jaxproxy in a bare checkout
            versions[package] = metadata.version(package)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": platform.node(),
        "devices": scorer.num_devices,
        "lanes": scorer.lanes,
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "python": platform.python_version(),
        "versions": versions,
    }
