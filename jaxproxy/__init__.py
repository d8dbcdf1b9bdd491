"""jaxproxy: rank neural architectures without training them."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxproxy import meters, proxies, spaces
    from jaxproxy.bank import open_run, rescore
    from jaxproxy.models import from_linen, from_nnx
    from jaxproxy.population import population
    from jaxproxy.proxies import PROXIES, Proxy
    from jaxproxy.score import Scorer, make_scorer, score
    from jaxproxy.spaces import SPACES, Space
    from jaxproxy.startup import set_up_jax
    from jaxproxy.types import PRESETS, Batch, Fidelity

__version__ = "0.1.0"

__all__ = [
    "PRESETS",
    "PROXIES",
    "SPACES",
    "Batch",
    "Fidelity",
    "Proxy",
    "Scorer",
    "Space",
    "from_linen",
    "from_nnx",
    "make_scorer",
    "meters",
    "open_run",
    "population",
    "proxies",
    "rescore",
    "score",
    "set_up_jax",
    "spaces",
]

_HOMES = {
    "bank": ("open_run", "rescore"),
    "models": ("from_linen", "from_nnx"),
    "population": ("population",),
    "proxies": ("PROXIES", "Proxy"),
    "score": ("Scorer", "make_scorer", "score"),
    "spaces": ("SPACES", "Space"),
    "startup": ("set_up_jax",),
    "types": ("PRESETS", "Batch", "Fidelity"),
}


class _LazyPackage(ModuleType):
    """Imports a name when it is used: ``jaxproxy --help`` must not wait for JAX."""

    def __getattr__(self, name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = next((home for home, names in _HOMES.items() if name in names), None)
        if home is None:
            return import_module(f"{__name__}.{name}")
        return getattr(import_module(f"{__name__}.{home}"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        # Python puts every imported submodule here; this one has its function's name.
        if name in ("score", "population") and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *__all__]


sys.modules[__name__].__class__ = _LazyPackage
