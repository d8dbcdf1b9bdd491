"""Lists of architectures as users have them, and options of tables."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import ARCHS, SPACE, command, failed, score_counts

from jaxproxy.cli._files import read_archs
from jaxproxy.runs import Run
from jaxproxy.spaces import parse_space

CODES = np.stack([SPACE.from_str(arch) for arch in ARCHS])
LISTS = {
    "lines": "\n".join(ARCHS),
    "windows": "\r\n".join(ARCHS) + "\r\n\r\n",
    "quotes": "\n".join(f'"{arch}"' for arch in ARCHS),
    "table": "acc;Architecture\n" + "".join(f"{i};{a}\n" for i, a in enumerate(ARCHS)),
    "column": "arch\n" + "\n".join(ARCHS),
    "numbers": "15\n4711\n777\n12345\n",
    "index": "index,acc\n15,1\n4711,2\n777,3\n12345,4\n",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("text", LISTS.values(), ids=LISTS)
def test_lists(
    tmp_path: Path, text: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = text.encode(encoding)
    (tmp_path / "archs.txt").write_bytes(data)
    _, codes = read_archs(tmp_path / "archs.txt", SPACE)
    np.testing.assert_array_equal(codes, CODES)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    _, codes = read_archs(Path("-"), SPACE)
    np.testing.assert_array_equal(codes, CODES)


def test_a_yaml_file_is_one_architecture(tmp_path: Path) -> None:
    space = parse_space("autoformer")
    heads, ratios = [3] * 12, [4.0] * 12
    (tmp_path / "T.yaml").write_text(
        f"RETRAIN:\n  NUM_HEADS: {heads}\n  MLP_RATIO: {ratios}\n  DEPTH: 12\n"
        "  EMBED_DIM: 192\n"
    )
    strings, codes = read_archs(tmp_path / "T.yaml", space)
    assert strings == [space.to_str(code) for code in codes]
    assert strings[0].startswith("embed:192|depth:12|heads:3-3-")


def test_mean_of_runs_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "archs.txt").write_text("\n".join(ARCHS))
    rows = "".join(
        f"{arch},{90 + i + run}\n" for i, arch in enumerate(ARCHS) for run in (0, 2)
    )
    (tmp_path / "t.csv").write_text("arch,acc\n" + rows)
    options = "--truth", f"{tmp_path}/t.csv:acc"
    run = tmp_path / "run"
    line = failed(
        capsys, score_counts(run, "--archs", tmp_path / "archs.txt", *options)
    )
    assert "line 3 of" in line and "(--repeats mean)" in line
    assert not run.exists()  # which is known before anything is scored
    options = (*options, "--repeats", "mean")
    assert score_counts(run, "--archs", tmp_path / "archs.txt", *options) == 0
    assert "the standard deviation between rows of one is 1.41 (pooled)" in caplog.text
    assert command("best-of", run, *options, "--n", 4) == 0
    assert "94.00" in capsys.readouterr().out  # 93 and 95, the best of four
    assert len(Run.open(run).table(["arch"])) == 4


def test_fractions_are_mentioned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "archs.txt").write_text("\n".join(ARCHS))
    rows = "".join(f"{arch},0.{90 + i}\n" for i, arch in enumerate(ARCHS))
    (tmp_path / "t.csv").write_text("arch,acc\n" + rows)
    truth = "--truth", f"{tmp_path}/t.csv:acc"
    assert (
        score_counts(tmp_path / "run", "--archs", tmp_path / "archs.txt", *truth) == 0
    )
    assert "is at most 1; the gains of nDCG are of percents" in caplog.text
    caplog.clear()
    assert command("correlate", tmp_path / "run", *truth, "--lower") == 0
    assert "percents" not in caplog.text
