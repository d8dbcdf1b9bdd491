"""What users see: faces name all they have, and examples need nothing else."""

import ast
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import jaxproxy
from jaxproxy import meters, proxies, spaces

pytestmark = pytest.mark.smoke

ROOT = Path(__file__).parents[1]
FACES = (
    *("analysis", "integrations", "meters", "proxies", "scoring", "search", "spaces"),
    "testing",
)
PACKAGES = (*FACES, "cli", "files", "measure", "ops", "runs")
SHOWN = (
    ROOT / "README.md",
    *(
        ROOT / "docs" / f"{name}.md"
        for name in (
            *("accelerators", "adding", "files", "integrations", "many_machines"),
            *("models", "results", "search"),
        )
    ),
    *sorted((ROOT / "notebooks").glob("*.ipynb")),
    *sorted((ROOT / "benchmarks").rglob("*.py")),
)


def _code(path: Path) -> str:
    """Returns the Python of a page, notebook or script."""
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        return "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    if path.suffix == ".ipynb":
        cells = (c for c in json.loads(text)["cells"] if c["cell_type"] == "code")
        return "\n".join("".join(cell["source"]) for cell in cells)
    return text


def _imported(code: str) -> Iterator[tuple[str, str]]:
    """Yields (module, name) of what comes from the package; attributes too."""
    aliases = {"jaxproxy": "jaxproxy"}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "jaxproxy":
                    yield alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").partition(".")[0] != "jaxproxy":
                continue
            for alias in node.names:
                yield str(node.module), alias.name
                if node.module == "jaxproxy" and alias.name in FACES:
                    aliases[alias.asname or alias.name] = f"jaxproxy.{alias.name}"
    for node in ast.walk(ast.parse(code)):
        whose = node.value if isinstance(node, ast.Attribute) else None
        if isinstance(whose, ast.Name) and whose.id in aliases:
            yield aliases[whose.id], node.attr


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: path.name)
def test_examples_import_from_faces_alone(path: Path) -> None:
    for module, name in _imported(_code(path)):
        assert module in ("jaxproxy", *(f"jaxproxy.{face}" for face in FACES))
        if name and not name.startswith("__"):
            assert name in importlib.import_module(module).__all__, f"{module}.{name}"


def test_examples_are_found() -> None:
    """Else the test above would pass for want of anything to read."""
    found = {pair for path in SHOWN for pair in _imported(_code(path))}
    assert ("jaxproxy", "make_scorer") in found
    assert ("jaxproxy.meters", "covariance") in found
    assert len(SHOWN) > 20


@pytest.mark.parametrize("name", ["jaxproxy", *(f"jaxproxy.{p}" for p in PACKAGES)])
def test_a_face_has_what_it_names(name: str) -> None:
    face = importlib.import_module(name)
    assert len(set(face.__all__)) == len(face.__all__)
    for public in face.__all__:
        assert not public.startswith("_")
        assert getattr(face, public) is not None


def _factories(package: str, decorator: str) -> set[str]:
    """Returns the public functions of a package's files under a decorator."""
    found = set()
    for path in (ROOT / "jaxproxy" / package).glob("_*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and any(
                isinstance(d, ast.Name) and d.id == decorator
                for d in node.decorator_list
            ):
                found.add(node.name)
    return found


def test_no_factory_is_forgotten() -> None:
    """A file that is not imported in the face would be in no table."""
    assert _factories("proxies", "proxy") == proxies.PROXIES.keys()
    assert _factories("meters", "meter") == meters.METERS.keys()
    folder = ROOT / "jaxproxy" / "spaces"
    made = {
        node.name
        for path in [*folder.glob("_*.py"), *folder.glob("_*/__init__.py")]
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name[0] != "_"
        if isinstance(node.returns, ast.Name) and node.returns.id == "Space"
    }
    of_models = {"from_linen", "from_nnx", "model_space"}
    assert made - of_models - {"parse_space"} == spaces.SPACES.keys()


@pytest.mark.parametrize(
    ("old", "name"),
    [
        ("jaxproxy.sweep", "sweep"),
        ("jaxproxy.score", "make_scorer"),
        ("jaxproxy.population", "population"),
        ("jaxproxy.ablation", "ablate"),
        ("jaxproxy.bank", "stored_readings"),
        ("jaxproxy.ensembles", "log_rank_sum"),
        ("jaxproxy.rank", "kendall"),
        ("jaxproxy.report", "correlations"),
        ("jaxproxy.truth", "load_truth"),
        ("jaxproxy.plan", "cost_class"),
        ("jaxproxy.passes", "make_passes"),
        ("jaxproxy.setups", "Setup"),
        ("jaxproxy.flow", "switch"),
        ("jaxproxy.network", "Network"),
        ("jaxproxy.store", "Run"),
    ],
)
def test_paths_that_were_shown_before_still_work(old: str, name: str) -> None:
    namespace: dict[str, object] = {}
    exec(f"from {old} import {name}", namespace)
    assert namespace[name] is not None
    assert callable(jaxproxy.score)
    assert callable(jaxproxy.sweep)
