"""JAX as all tests have it, and paths that several tests need."""

import gc
import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Compiling dominates the time of the suite. Programs are compiled without optimisation,
# here and in other processes, but where a test asks for the fixture ``optimised``.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
if version("jaxlib").startswith("0.10."):  # others may not know the flag, and abort
    flags = os.environ.get("XLA_FLAGS", "").split()
    os.environ["XLA_FLAGS"] = " ".join([*flags, "--xla_cpu_use_fusion_emitters=false"])

import jax
import pytest
from helpers.long import is_long
from xdist.scheduler import LoadFileScheduling

# Tracing makes many objects that live on; looking through them again and again took a
# fifth of its time.
gc.set_threshold(200_000, 50, 50)

_ROOT = Path(__file__).resolve().parents[1]

jax.config.update("jax_num_cpu_devices", 4)
jax.devices()  # so that no command line under test changes their number
jax.config.update("jax_numpy_dtype_promotion", "strict")
# Compiling dominates the time of the suite, and a second run finds it done.
jax.config.update("jax_compilation_cache_dir", str(_ROOT / ".pytest_cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture(scope="module")
def optimised() -> Iterator[None]:
    """Programs are compiled as users compile them."""
    name = "jax_disable_most_optimizations"
    jax.config.update(name, False)
    yield
    jax.config.update(name, True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the public tables, kept beside the repository and not in it."""
    folder = _ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder shared/data with public tables is not there")
    return folder


# Files that share compiled scorers, which a process keeps; all others stand alone.
_SHARING = ("test_contract.py", "test_degenerate.py")


class _ByFile(LoadFileScheduling):
    """One process for each file, or for several that share."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "scorers" if Path(file).name in _SHARING else file


# Not --dist loadgroup: with pytest 9.2 it groups nothing, and says so nowhere.
@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _ByFile:
    """Keeps what shares compiled programs on one process."""
    return _ByFile(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Processes of xdist, which are given all paths, learn whether any was named."""
    if not hasattr(config, "workerinput"):
        named = config.args_source == pytest.Config.ArgsSource.ARGS
        os.environ["JAXPROXY_LONG_TESTS"] = str(int(named))


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leaves long tests out where no path was named."""
    if os.environ["JAXPROXY_LONG_TESTS"] == "1":
        return
    left_out = [item for item in items if is_long(item.nodeid)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not is_long(item.nodeid)]
