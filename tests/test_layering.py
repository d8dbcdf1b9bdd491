"""Imports point down one list of modules, so that every file can be read alone."""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import jaxproxy

ROOT = Path(jaxproxy.__file__).parent

# A module imports what stands in lines above its own, and nothing of its own line.
LAYERS = """
types deal options
ops setups draws
meters
taps
slots
flow marks flax_layers
network
readings measurement
collect
jacobian
passes batches
proxies
spaces
models search
reader
scorer
score
population
files
store
tables
progress
sweep
truth rank inputs bank ensembles
columns variants
report
ablation matrix plot plan
startup
oracle_cases
oracle
testing
commands
cli
__main__
"""
LEVEL = {
    module: level
    for level, line in enumerate(LAYERS.split("\n"))
    for module in line.split()
}
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")
# What runs on devices must not touch disks or terminals.
HOST_ONLY = {"pyarrow", "rich", "tyro", "files", "store", "tables", "sweep"}

pytestmark = pytest.mark.smoke


def _dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def _runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from (other, *_runtime_nodes(other))
            continue
        yield child
        yield from _runtime_nodes(child)


def _is_module(dotted: str) -> bool:
    path = ROOT.joinpath(*dotted.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def _imports(path: Path) -> tuple[set[str], set[str]]:
    """Modules of this package, dotted and without its name, and other top packages."""
    inside, outside = set(), set()
    for node in _runtime_nodes(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package != "jaxproxy":
                outside.add(package)
                continue
            # the last part may be a function, class or constant
            inside.add(rest if _is_module(rest) else rest.rpartition(".")[0])
    return inside, outside


def test_every_module_has_its_place():
    modules = {_dotted(path).partition(".")[0] for path in FILES}
    assert modules <= LEVEL.keys(), "add the module to LAYERS, as low as it can be"


@pytest.mark.parametrize("path", FILES, ids=_dotted)
def test_imports_point_down(path):
    own = _dotted(path).partition(".")[0]
    inside, _ = _imports(path)
    assert "" not in inside, "import from the module itself, not from the package"
    others = {name.partition(".")[0] for name in inside} - {own}
    up = {other for other in others if LEVEL[other] >= LEVEL[own]}
    assert not up, f"{own} must not import {up}"


def test_no_cycles():
    """Not even between the files of one package, whose __init__ imports them all."""
    graph = {
        _dotted(path): {name for name in _imports(path)[0] if name != _dotted(path)}
        for path in FILES
    }
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if LEVEL[_dotted(p).partition(".")[0]] <= LEVEL["score"]],
    ids=_dotted,
)
def test_device_code_touches_no_disk(path):
    inside, outside = _imports(path)
    assert not HOST_ONLY & ({name.partition(".")[0] for name in inside} | outside)
