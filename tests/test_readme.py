"""What README shows is run as it stands there."""

import re
from pathlib import Path

import pandas as pd
import tyro

from jaxproxy.cli._score import Score

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


def test_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 5
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
