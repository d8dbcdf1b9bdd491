"""New processes: what is imported, and how JAX is set up."""

import os
import subprocess
import sys

import pytest


def _python(code: str, **environment: str) -> str:
    """Standard output of a new process."""
    unset = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=unset | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout


@pytest.mark.parametrize("arguments", [["--help"], ["score", "--help"]])
def test_help_does_not_wait_for_jax(arguments):
    printed = _python(
        "import sys; from jaxproxy.cli import main\n"
        f"try: main({arguments})\n"
        "finally: print(sorted({'jax', 'flax', 'pyarrow', 'scipy'} & {*sys.modules}))"
    )
    assert "usage: jaxproxy" in printed
    assert printed.endswith("[]\n")


def test_python_m(tmp_path):
    arguments = [sys.executable, "-m", "jaxproxy", "fsck", tmp_path / "absent"]
    found = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert found.returncode == 2
    assert found.stderr.startswith("jaxproxy: error: ")


@pytest.mark.parametrize("argument", ["list", "--help"])
def test_a_reader_may_leave(argument):
    """``jaxproxy ... | head`` shows no traceback."""
    arguments = [sys.executable, "-m", "jaxproxy", argument]
    reader, writer = os.pipe()
    os.close(reader)
    found = subprocess.run(
        arguments, stdout=writer, stderr=subprocess.PIPE, timeout=120
    )
    os.close(writer)
    assert found.returncode == 1
    assert found.stderr == b""


SET_UP = """
from jaxproxy.startup import set_up_jax
set_up_jax({devices})
import jax
print(jax.local_device_count(), jax.config.jax_compilation_cache_dir)
"""


def test_jax_gets_the_cores_and_a_cache(tmp_path):
    """The environment has the last word on both."""
    cores = len(os.sched_getaffinity(0))
    count, cache = _python(
        SET_UP.format(devices=""), XDG_CACHE_HOME=str(tmp_path)
    ).split()
    assert int(count) == cores
    assert cache.startswith(str(tmp_path / "jaxproxy"))
    count, cache = _python(
        SET_UP.format(devices=""),
        JAX_NUM_CPU_DEVICES="5",
        JAX_COMPILATION_CACHE_DIR=str(tmp_path / "mine"),
    ).split()
    assert (int(count), cache) == (5, str(tmp_path / "mine"))
    assert _python(SET_UP.format(devices=3)).startswith("3 ")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", "--xla_backend_extra_options=xla_cpu_disable_loop_unrolling=true"),
        (
            "--xla_cpu_enable_fast_math=false",
            "--xla_cpu_enable_fast_math=false "
            "--xla_backend_extra_options=xla_cpu_disable_loop_unrolling=true",
        ),
        ("--xla_backend_extra_options=xla_x=1", "--xla_backend_extra_options=xla_x=1"),
    ],
)
def test_loops_are_not_unrolled(tmp_path, given, kept):
    """But where XLA has other options from the user."""
    code = SET_UP.format(devices=1) + "import os; print(os.environ['XLA_FLAGS'])"
    printed = _python(code, XLA_FLAGS=given, XDG_CACHE_HOME=str(tmp_path))
    assert printed.splitlines()[-1] == kept


def test_package_is_lazy_and_complete():
    """The function ``jaxproxy.score`` stays one when the module is imported."""
    printed = _python(
        "import sys, jaxproxy; print('jax' in sys.modules)\n"
        "from jaxproxy.score import make_scorer\n"
        "print(jaxproxy.score.__name__, jaxproxy.make_scorer is make_scorer)\n"
        "print(all(hasattr(jaxproxy, name) for name in jaxproxy.__all__))\n"
        "print(hasattr(jaxproxy, 'nope'), {*jaxproxy.__all__} <= {*dir(jaxproxy)})"
    )
    assert printed.split() == ["False", "score", "True", "True", "False", "True"]
