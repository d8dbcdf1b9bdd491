"""JAX as all tests have it, and paths that several tests need."""

from pathlib import Path

import jax
import pytest

_ROOT = Path(__file__).resolve().parents[1]

jax.config.update("jax_num_cpu_devices", 4)
jax.devices()  # so that no command line under test changes their number
jax.config.update("jax_numpy_dtype_promotion", "strict")
# Compiling dominates the time of the suite, and a second run finds it done.
jax.config.update("jax_compilation_cache_dir", str(_ROOT / ".pytest_cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the public tables, kept beside the repository and not in it."""
    folder = _ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder shared/data with public tables is not there")
    return folder


# Files that share compiled scorers, which a process keeps; all others stand alone.
_SHARING = ("test_contract.py", "test_degenerate.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps what shares compiled programs on one process."""
    for item in items:
        name = item.path.name
        group = "scorers" if name in _SHARING else name
        item.add_marker(pytest.mark.xdist_group(group))
