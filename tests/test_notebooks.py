"""The notebooks run, on small samples, and what they store is small and clean."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
SAMPLE = 60


def cells(path: Path) -> list[dict]:
    found = json.loads(path.read_text("utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == "code"]


def run(path: Path) -> None:
    namespace: dict = {"__name__": "__main__"}
    for number, cell in enumerate(cells(path)):
        source = "".join(cell["source"])
        exec(compile(source, f"{path.stem}, code cell {number}", "exec"), namespace)


def test_there_are_some():
    names = [path.stem for path in NOTEBOOKS]
    assert names == [
        "add_a_meter",
        "add_a_proxy",
        "add_a_space",
        "choose_readings",
        "find_an_architecture",
        "your_models",
    ]


@pytest.mark.skipif(
    not find_spec("analognasbench"), reason="analog-nasbench is not installed"
)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_code_runs(path, tmp_path, monkeypatch, capsys):
    if path.stem == "find_an_architecture":
        for library in ("optuna", "pymoo"):
            pytest.importorskip(library, reason=f"{library} is not installed")
    monkeypatch.setenv("JAXPROXY_NOTEBOOK_SAMPLE", str(SAMPLE))
    monkeypatch.delenv("JAXPROXY_TABLE", raising=False)
    monkeypatch.chdir(tmp_path)
    run(path)
    printed = capsys.readouterr().out
    assert ("tau" in printed) == (path.stem != "add_a_space")
    assert "not installed" not in printed
    assert not list(tmp_path.iterdir())


def test_without_accuracies(monkeypatch, capsys):
    """The cell says what is missing, and the others run."""
    monkeypatch.setenv("JAXPROXY_NOTEBOOK_SAMPLE", "10")
    monkeypatch.setattr("jaxproxy.analysis._truth._ANALOG_MODULE", "no_such_package")
    (path,) = (path for path in NOTEBOOKS if path.stem == "add_a_proxy")
    run(path)
    printed = capsys.readouterr().out
    assert "pip install analog-nasbench" in printed
    assert "no accuracies to compare with" in printed


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stored(path):
    """Every cell was run, in order, without an error or a path of some machine."""
    code = cells(path)
    assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)]
    outputs = [output for cell in code for output in cell["outputs"]]
    kinds = {output["output_type"] for output in outputs}
    assert "stream" in kinds
    assert kinds <= {"stream", "execute_result"}
    assert not any(place in json.dumps(outputs) for place in ("/tmp", "/home", "/work"))
    assert path.stat().st_size < 40_000
