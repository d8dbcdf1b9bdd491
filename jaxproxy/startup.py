"""How JAX is set up before its first use."""

import os
import platform
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import jax
from jax.extend import backend

__all__ = ["known_platforms", "numerics", "set_up_jax"]

# Devices for each core that CPU devices may be asked for. Each has threads of its own:
# thousands take minutes to start, and a million abort the process.
_DEVICES_PER_CORE = 8
_NO_UNROLLING = "--xla_backend_extra_options=xla_cpu_disable_loop_unrolling=true"


def set_up_jax(devices: int | None = None) -> None:
    """Makes processor cores devices, and keeps compiled programs between processes.

    Call it before anything of JAX is used; the command line does so. Settings from the
    environment or made earlier stay as they are. Loops of programs for the CPU are not
    unrolled: both compiling and scoring are faster without.

    Args:
      devices: how many CPU devices, at most eight for each core; as many as this
        process has cores by default.

    Raises:
      ValueError: ``devices``, or the environment's, below 1 or above that.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    cores = affinity or os.cpu_count() or 1
    if devices is not None and devices < 1:
        raise ValueError(f"devices must be at least 1, not {devices}")
    for name, count in (
        ("devices", devices or 0),
        ("JAX_NUM_CPU_DEVICES", jax.config.values["jax_num_cpu_devices"]),
    ):
        if count > _DEVICES_PER_CORE * cores:
            raise ValueError(
                f"{name} is {count}; at most {_DEVICES_PER_CORE} for each of the "
                f"{cores} cores, {_DEVICES_PER_CORE * cores}, would start"
            )
    # Eigendecompositions are small and each device makes its own: threads of OpenBLAS,
    # which is loaded later, would only wait for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_backend_extra_options" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_NO_UNROLLING}".lstrip()
    if cores == 1:  # XLA: a single thread sums in another order
        os.environ.setdefault("NPROC", "2")
    if devices or jax.config.values["jax_num_cpu_devices"] < 0:
        with suppress(RuntimeError):  # JAX is in use, with the devices that it has
            jax.config.update("jax_num_cpu_devices", devices or cores)
    if not jax.config.values["jax_compilation_cache_dir"]:
        home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
        cache = Path(home, "jaxproxy", f"{jax.lib.__version__}-{_processor()}")
        jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@contextmanager
def numerics(precision: str) -> Iterator[None]:
    """The context of all that makes scores, so that they mean one thing.

    A user's setting of how ranks are promoted is not for what is scored: broadcasting
    changes no number, and layers of libraries rely on it.

    Args:
      precision: of products and convolutions, as ``jax.default_matmul_precision``
        takes it.
    """
    with (
        jax.default_matmul_precision(precision),
        jax.numpy_rank_promotion("allow"),
    ):
        yield


@contextmanager
def known_platforms() -> Iterator[None]:
    """Turns JAX's error about a platform that is not there into one line.

    Raises:
      ValueError: ``JAX_PLATFORMS`` asks for what this machine has not; the message
        names what it has.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("Unable to initialize backend"):
            raise
        asked = jax.config.values["jax_platforms"]
        try:  # nothing was started: JAX finds what there is, and forgets it again
            jax.config.update("jax_platforms", None)
            there = sorted(backend.backends())
        finally:
            jax.config.update("jax_platforms", asked)
            backend.clear_backends()
        raise ValueError(
            f"JAX cannot start JAX_PLATFORMS={asked} on this machine; choose from "
            f"{there}"
        ) from error


def _processor() -> str:
    """Names the kind of processor: what is compiled on one may not run on another."""
    text = platform.processor()
    with suppress(OSError, StopIteration), open("/proc/cpuinfo") as lines:
        text = next(s for s in lines if s.startswith(("flags", "Features")))
    return f"{platform.machine()}-{zlib.crc32(text.encode()):08x}"
