"""What README and the page for contributors show is run as it stands there."""

import re
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
import tyro

from jaxproxy.cli._score import Score

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
SEARCH = (ROOT / "docs" / "search.md").read_text("utf-8")
INTEGRATIONS = (ROOT / "docs" / "integrations.md").read_text("utf-8")
MODELS = (ROOT / "docs" / "models.md").read_text("utf-8")
FILES = (ROOT / "docs" / "files.md").read_text("utf-8")
ADDING = (ROOT / "docs" / "adding.md").read_text("utf-8")


def _blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


def test_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = _blocks(README)
    assert len(blocks) == 4
    exec("\n".join(blocks), {})
    table = pd.read_parquet(tmp_path / "runs" / "python")
    assert table["capacity_valid"].all()
    assert len(table) == 50


def test_commands():
    """Every command line in it is one that the program understands."""
    commands = re.findall(r"jaxproxy score (nasbench201 [^`]*)", README)
    assert len(commands) == 2
    for command in commands:
        assert tyro.cli(Score, args=command.split()).space == "nasbench201"


def test_readme_is_short_and_its_links_lead_somewhere():
    assert len(README.splitlines()) <= 160
    links = re.findall(r"\]\(([\w/.]+)\)", README)
    assert {"docs/results.md", "docs/adding.md", "docs/proxies.md"} <= set(links)
    for link in links:
        assert (ROOT / link).exists(), link


def test_adding_a_proxy_a_meter_and_a_space():
    exec("\n".join(_blocks(ADDING)), {})


def test_files_that_are_read(capsys):
    exec("\n".join(_blocks(FILES)), {})
    printed = capsys.readouterr().out
    # 0 is (4, 3, 3, 0, 0, 0), of two runs: 0.48 and 0.5.
    assert "nor_conv_1x1~0|skip_connect~1|skip_connect~2|': 0.49}" in printed
    assert "deviation between rows of one is 0.0141" in printed


def test_models_of_your_own(capsys):
    exec("\n".join(_blocks(MODELS)), {})
    printed = capsys.readouterr().out
    assert "output of one input: 12x5" in printed
    # Dense layers of 16 x 32 and 32 x 5, with biases, and the table of tokens.
    assert f"'params': array([{100 * 16 + 33 * 16 + 16 + 33 * 5:.0f}.])" in printed


def test_searching():
    exec("\n".join(_blocks(SEARCH)), {})


@pytest.mark.skipif(
    not (find_spec("optuna") and find_spec("pymoo")),
    reason="optuna or pymoo is not installed",
)
def test_searching_with_other_libraries(capsys):
    exec("\n".join(_blocks(INTEGRATIONS)), {})
    assert "are on the front" in capsys.readouterr().out


def test_recipes_that_are_not_run_are_python():
    recipes = re.findall(r"```py\n(.*?)```", INTEGRATIONS, re.DOTALL)
    assert len(recipes) == 4
    for recipe in recipes:
        compile(recipe, "recipe", "exec")


@pytest.mark.parametrize(
    ("start", "most"), [("@proxy\n", 15), ("@meter\n", 25), ("OPS =", 25)]
)
def test_additions_are_short(start: str, most: int):
    """From the first line to the end of the last ``return``, blank lines left out."""
    (block,) = (b for b in _blocks(ADDING) if start in b)
    code = block[block.index(start) :].partition("\n\n\ncheck_")[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= most
