"""The plan of the house: seven floors, and what may be seen from where.

Imports under ``TYPE_CHECKING`` count like all others. A nested folder, such as
``spaces/_nasbench201``, is a package of its own inside the package around it: one unit,
seen through its ``__init__``.
"""

import ast
import graphlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import jaxproxy

ROOT = Path(jaxproxy.__file__).parent

# A package imports packages of earlier lines only, and none of its own line.
FLOORS = """
types options limits startup files ops
measure
spaces meters runs
proxies search
scoring analysis
cli testing integrations __init__
__main__
"""
FLOOR = {
    name: floor
    for floor, line in enumerate(FLOORS.strip().split("\n"))
    for name in line.split()
}
FILES = sorted(ROOT.rglob("*.py"))
# What runs on devices must not touch disks or terminals.
DEVICE = (
    *("ops", "measure", "meters", "spaces", "proxies"),
    *("scoring._program", "scoring._devices", "scoring._scorer", "scoring._score"),
)
HOST_ONLY = {"pyarrow", "rich", "tyro", "matplotlib", "jaxproxy.runs", "jaxproxy.cli"}

MOST_LINES, LONGEST_FUNCTION, MOST_ARGUMENTS, LONGEST_CHAIN = 300, 60, 8, 6
# Longer, for a reason that the file itself gives.
LONGER: set[str] = set()

pytestmark = pytest.mark.smoke


def _dotted(path: Path) -> str:
    """``measure._tap`` of a file, ``measure`` of its ``__init__``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__") or "__init__"


MODULES = {_dotted(path) for path in FILES}


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def _imports(path: Path) -> tuple[set[str], set[str]]:
    """Modules of this package, dotted and without its name, and other packages."""
    inside, outside = set(), set()
    for node in ast.walk(_tree(path)):
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
            inside.add(rest if rest in MODULES else rest.rpartition(".")[0])
    return inside, outside


def _package(module: str) -> str:
    return module.partition(".")[0]


def test_every_package_has_its_floor():
    assert {_package(module) for module in MODULES} <= FLOOR.keys()
    assert len(FLOORS.strip().split("\n")) == 7


@pytest.mark.parametrize("path", FILES, ids=_dotted)
def test_imports_point_down_and_through_faces(path: Path) -> None:
    own = _dotted(path)
    inside, _ = _imports(path)
    for other in inside - {"__init__"}:
        if _package(other) == _package(own):
            continue
        assert FLOOR[_package(other)] < FLOOR[_package(own)], f"{own} imports {other}"
        assert "." not in other, f"{own} imports {other}, past the package's face"


def _units(folder: Path) -> dict[str, list[Path]]:
    """Files of a folder and its nested packages, each with the files it is made of."""
    units = {}
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and (entry / "__init__.py").exists():
            units[entry.name] = sorted(entry.rglob("*.py"))
        elif entry.suffix == ".py" and entry.stem != "__init__":
            units[entry.stem] = [entry]
    return units


FOLDERS = sorted({path.parent for path in FILES} - {ROOT})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: str(f.relative_to(ROOT)))
def test_chains_inside_a_package_are_short(folder: Path) -> None:
    units, prefix = _units(folder), ".".join(folder.relative_to(ROOT).parts) + "."
    graph: dict[str, set[str]] = {}
    for name, paths in units.items():
        seen: set[str] = set()
        for path in paths:
            for other in _imports(path)[0]:
                if not other.startswith(prefix):
                    continue
                unit, _, rest = other.removeprefix(prefix).partition(".")
                if unit == name:
                    continue
                assert not rest, f"{path} imports {other}, past the folder's face"
                seen.add(unit)
        graph[name] = seen
    length: dict[str, int] = {}
    for name in graphlib.TopologicalSorter(graph).static_order():  # raises on circles
        length[name] = 1 + max((length[other] for other in graph[name]), default=0)
    assert max(length.values(), default=0) <= LONGEST_CHAIN, length


def test_no_circle_of_files() -> None:
    graph = {
        _dotted(path): _imports(path)[0] - {_dotted(path), "__init__"} for path in FILES
    }
    del graph["__init__"]
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize(
    "path", [p for p in FILES if _dotted(p).startswith(DEVICE)], ids=_dotted
)
def test_device_code_touches_no_disk(path: Path) -> None:
    inside, outside = _imports(path)
    packages = {f"jaxproxy.{_package(module)}" for module in inside}
    assert not HOST_ONLY & (packages | outside)


def test_runs_do_not_need_jax() -> None:
    for path in (ROOT / "runs").glob("*.py"):
        inside, outside = _imports(path)
        assert {_package(module) for module in inside} <= {"runs"}
        assert not outside & {"jax", "flax", "optax"}


@pytest.mark.parametrize("path", FILES, ids=_dotted)
def test_files_and_functions_are_short(path: Path) -> None:
    lines = path.read_text("utf-8").count("\n")
    assert lines <= MOST_LINES or _dotted(path) in LONGER
    for node in _functions(_tree(path)):
        length = (node.end_lineno or 0) - node.lineno + 1  # docstring and all
        assert length <= LONGEST_FUNCTION, f"{node.name}: {length} lines"
        arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
        names = [a.arg for a in arguments if a.arg not in ("self", "cls")]
        assert len(names) <= MOST_ARGUMENTS, f"{node.name}: {names}"


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", FILES, ids=_dotted)
def test_faces_list_their_names_and_private_files_do_not(path: Path) -> None:
    assigned = {
        target.id
        for node in _tree(path).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    if path.name == "__init__.py":
        assert "__all__" in assigned
    elif path.stem.startswith("_"):
        assert "__all__" not in assigned
