"""The command ``jaxproxy best-of``."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import CODES, SPACE, command, failed, score_counts

from jaxproxy.runs import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run of 1,200 counted architectures, and their accuracies: wide is bad."""
    folder = tmp_path_factory.mktemp("best")
    assert score_counts(folder / "run", "--sample", 1200) == 0
    params = SPACE.num_params(CODES)
    rows = [
        f"{SPACE.to_str(code)},{100 - num / 2e4}\n"
        for code, num in zip(CODES, params, strict=True)
    ]
    path = folder / "truth.csv"
    path.write_text("arch,acc\n" + "".join(rows))
    return folder / "run", f"{path}:acc"


def test_records_have_the_ceiling_and_params(
    run: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    out, truth = run
    assert command("best-of", out, "--truth", truth, "--json") == 0
    records = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    keys = {"proxy", "truth", "n", "mean", "std", "within"}
    assert all(set(record) == keys for record in records)
    found = {(record["proxy"], record["n"]): record["mean"] for record in records}
    assert set(found) == {(p, n) for p in ("params", "ceiling") for n in (100, 1000)}
    for n in (100, 1000):
        assert found["params", n] < 60 < 90 < found["ceiling", n]
    options = ("--truth", truth, "--n", 100, "--runs", 300, "--json")
    assert command("best-of", out, *options) == 0
    drawn = json.loads(capsys.readouterr().out)
    assert [record["n"] for record in drawn] == [100, 100]
    assert np.isclose(drawn[1]["mean"], found["ceiling", 100], atol=0.3)
    assert drawn[1]["mean"] != found["ceiling", 100]


def test_tables_for_people(
    run: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    out, truth = run
    assert command("best-of", out, "--truth", truth) == 0
    printed = capsys.readouterr().out
    assert "best of 1000" in printed
    assert "ceiling: the best of the sample" in printed
    assert command("correlate", out, "--truth", truth) == 0
    assert "best of" in capsys.readouterr().out


def test_a_sample_larger_than_the_run_is_refused(
    run: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    out, truth = run
    line = failed(capsys, command("best-of", out, "--truth", truth, "--n", 5000))
    assert "best of 5000: acc has the accuracies of 1200 of" in line
    assert "give at least one truth" in failed(
        capsys, command("best-of", out, "--truth")
    )


def test_within_budgets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By hand: the truth grows with the number of parameters, among those allowed."""
    run, truth = tmp_path / "run", tmp_path / "truth.csv"
    assert score_counts(run, "--sample", 60) == 0
    table = Run.open(run).table(["arch", "params"]).to_pandas()
    lines = [f"{row.arch},{row.params}" for row in table.itertuples()]
    truth.write_text("arch,acc\n" + "\n".join(lines) + "\n")
    capsys.readouterr()
    options = ("--truth", f"{truth}:acc", "--json", "--n", 5)
    assert command("best-of", run, *options, "--within", 50, 90) == 0
    records = json.loads(capsys.readouterr().out)
    params = table["params"].to_numpy()
    for share in (1.0, 0.5, 0.9):
        inside = np.sort(params[params <= share * params.max()])
        # The k-th smallest is the largest of 5 in C(k - 1, 4) of C(N, 5) samples.
        ways = [math.comb(k, 4) for k in range(len(inside))]
        expected = np.dot(ways, inside) / math.comb(len(inside), 5)
        found = [r for r in records if r["within"] == share and r["proxy"] == "params"]
        assert [r["mean"] for r in found] == pytest.approx([expected])
    assert command("best-of", run, *options[:2], "--within", 50) == 0
    assert "acc, budget 50%" in capsys.readouterr().out
    for wrong in (0, 100, -1):
        assert command("best-of", run, *options, "--within", wrong) == 2
        assert "budgets are shares" in capsys.readouterr().err
