"""`jaxproxy merge`, and commands that read what it wrote."""

import json
from pathlib import Path

import pytest
from helpers.command_line import ARCHS, command, failed, score_counts

from jaxproxy import open_run


def test_a_merged_run_is_read_as_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, file, truth = (tmp_path / name for name in ("run", "o.parquet", "t.csv"))
    assert score_counts(out, "--sample", 30) == 0
    archs = open_run(out).table(["arch"])["arch"].to_pylist()
    lines = [f"{arch},{90 + i % 7}" for i, arch in enumerate(archs)]
    truth.write_text("\n".join(["arch,acc", *lines]))
    capsys.readouterr()
    assert command("correlate", out, "--truth", f"{truth}:acc", "--json") == 0
    expected = json.loads(capsys.readouterr().out)
    assert command("merge", out, file, "--delete-parts") == 0
    printed = capsys.readouterr().out
    assert "30 architectures of 1 parts are in" in printed
    assert "1 files of parts are deleted" in printed
    assert command("correlate", file, "--truth", f"{truth}:acc", "--json") == 0
    assert json.loads(capsys.readouterr().out) == expected
    assert not open_run(out).done()


def test_mistakes_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "archs").write_text("\n".join(ARCHS))
    assert score_counts(tmp_path / "run", "--archs", tmp_path / "archs") == 0
    capsys.readouterr()
    code = command("merge", tmp_path / "run", tmp_path / "out.csv")
    assert "must end in .parquet" in failed(capsys, code)
    code = command("merge", tmp_path / "none", tmp_path / "out.parquet")
    assert "is not a run" in failed(capsys, code)
