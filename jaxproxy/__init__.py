"""jaxproxy: rank neural architectures without training them."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxproxy import meters, ops, proxies, spaces
    from jaxproxy.analysis import correlate, load_truth, rescore
    from jaxproxy.measure import Meter, Setup
    from jaxproxy.proxies import PROXIES, Proxy
    from jaxproxy.runs import Run, merge_run, open_run
    from jaxproxy.scoring import (
        Scorer,
        make_scorer,
        population,
        prune_live,
        score,
        search_live,
        sweep,
    )
    from jaxproxy.spaces import SPACES, Space, from_linen, from_nnx, inspect
    from jaxproxy.startup import set_up_jax
    from jaxproxy.types import PRESETS, Batch, Fidelity

__version__ = "0.1.0"

__all__ = [
    "PRESETS",
    "PROXIES",
    "SPACES",
    "Batch",
    "Fidelity",
    "Meter",
    "Proxy",
    "Run",
    "Scorer",
    "Setup",
    "Space",
    "correlate",
    "from_linen",
    "from_nnx",
    "inspect",
    "load_truth",
    "make_scorer",
    "merge_run",
    "meters",
    "open_run",
    "ops",
    "population",
    "proxies",
    "prune_live",
    "rescore",
    "score",
    "search_live",
    "set_up_jax",
    "spaces",
    "sweep",
]

_PACKAGES = ("meters", "ops", "proxies", "spaces")
_HOMES = {
    "analysis": ("correlate", "load_truth", "rescore"),
    "measure": ("Meter", "Setup"),
    "proxies": ("PROXIES", "Proxy"),
    "runs": ("Run", "merge_run", "open_run"),
    "scoring": (
        *("Scorer", "make_scorer", "population"),
        *("prune_live", "score", "search_live", "sweep"),
    ),
    "spaces": ("SPACES", "Space", "from_linen", "from_nnx", "inspect"),
    "startup": ("set_up_jax",),
    "types": ("PRESETS", "Batch", "Fidelity"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


# Where the names of modules that README and notebooks once showed have gone.
_MOVED = {
    "ablation": "analysis",
    "bank": "analysis",
    "draws": "measure",
    "ensembles": "analysis",
    "flow": "measure",
    "matrix": "analysis",
    "network": "measure",
    "passes": "measure",
    "plan": "scoring",
    "rank": "analysis",
    "report": "analysis",
    "setups": "measure",
    "store": "runs",
    "truth": "analysis",
}


def _alias(old: str, new: str) -> ModuleType:
    """Returns a module that looks its names up in a package when they are used."""
    module = ModuleType(f"{__name__}.{old}")
    package = f"{__name__}.{new}"
    module.__getattr__ = lambda name: getattr(import_module(package), name)
    return module


# Not attributes of this module: ``jaxproxy.score`` is a function, and stays one where
# somebody writes ``from jaxproxy.score import make_scorer``.
_FUNCTIONS = {"population": "scoring", "score": "scoring", "sweep": "scoring"}
for _old, _new in (_MOVED | _FUNCTIONS).items():
    sys.modules[f"{__name__}.{_old}"] = _alias(_old, _new)


def __getattr__(name: str) -> Any:
    """Imports a name when it is used: ``jaxproxy --help`` must not wait for JAX."""
    if name in _MOVED:
        return sys.modules[f"{__name__}.{name}"]
    if name in _PACKAGES:
        return import_module(f"{__name__}.{name}")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
