"""The oracle command on a cut-down copy of the shared oracle."""

import json
import shutil
from pathlib import Path

import pytest

from jaxproxy.testing.__main__ import main
from jaxproxy.testing._oracle import TOLERANCE, compare


@pytest.fixture
def folder(shared_data: Path, tmp_path: Path) -> Path:
    source = shared_data.parent / "oracle"
    if not source.is_dir():
        pytest.skip("the folder shared/oracle with PyTorch's values is not there")
    shutil.copy(source / "oracle.npz", tmp_path)
    data = json.loads((source / "oracle.json").read_text())
    data["archs"] = data["archs"][:2]
    data["archs"][1]["f64"]["loss"] *= 1.01
    (tmp_path / "oracle.json").write_text(json.dumps(data))
    return tmp_path


def test_finds_the_one_value_that_differs(folder):
    worst = compare(folder)
    assert worst.pop("loss") == pytest.approx(0.01 / 1.01, rel=1e-3)
    assert max(worst.values()) <= TOLERANCE
    assert {"gamma", "o", "L", "I", "logits", "params", "epsinas[paper]"} <= set(worst)


def test_says_what_is_missing(tmp_path, capsys):
    assert main(["oracle", str(tmp_path)]) == 2
    assert "has no oracle.json" in capsys.readouterr().err


def test_says_which_file_is_malformed(tmp_path, capsys):
    (tmp_path / "oracle.json").write_text("{}")
    assert main(["oracle", str(tmp_path)]) == 2
    assert "oracle.json is not an oracle" in capsys.readouterr().err


def test_usage(capsys):
    assert main(["oracles"]) == 2
    assert "usage" in capsys.readouterr().err
