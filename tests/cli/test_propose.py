"""What to train next: ``jaxproxy propose`` and its function."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import SPACE, command, failed, score_counts

from jaxproxy import Run
from jaxproxy.analysis import archs_of, propose, score_columns


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("propose") / "run"
    assert score_counts(folder, "--sample", 150) == 0
    return Run.open(folder)


def _accuracy(run: Run) -> dict[str, float]:
    """The small are good: the opposite of what the column says."""
    values = score_columns(run)[0].values
    archs = archs_of(run)
    return {arch: 100 - value for arch, value in zip(archs, values, strict=True)}


def test_with_few_accuracies_the_columns_decide(run: Run) -> None:
    archs, values = archs_of(run), score_columns(run)[0].oriented
    order = [archs[i] for i in np.argsort(-values, kind="stable")]
    assert propose(run, {}, 5) == order[:5]
    assert propose(run, {order[1]: 3.0, "elsewhere": 9.0}, 3) == [
        *order[:1],
        *order[2:4],
    ]


def test_a_fit_learns_that_small_is_good(run: Run) -> None:
    accuracy = _accuracy(run)
    archs = archs_of(run)
    told = {arch: accuracy[arch] for arch in archs[:12]}
    asked = propose(run, told, 6)
    assert len(set(asked)) == 6
    assert not set(asked) & set(told)
    mean = np.mean(list(accuracy.values()))
    assert np.mean([accuracy[arch] for arch in asked]) > mean
    assert accuracy[asked[0]] >= np.quantile(list(accuracy.values()), 0.9)
    backwards = dict(reversed(told.items()))
    assert propose(run, backwards, 6) == asked


def test_a_failed_training_is_told(run: Run) -> None:
    accuracy = _accuracy(run)
    told = {arch: accuracy[arch] for arch in archs_of(run)[:12]}
    best = max(told, key=lambda arch: told[arch])
    asked = propose(run, told | {best: float("nan")}, 1)
    assert best not in asked


def test_everything_may_have_been_trained(run: Run) -> None:
    accuracy = _accuracy(run)
    *rest, last = archs_of(run)
    assert propose(run, {arch: accuracy[arch] for arch in rest}, 4) == [last]
    assert propose(run, accuracy, 4) == []


def test_the_command_reads_a_file_that_grows(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert command("propose", run.path, "--n", 3) == 0
    first = capsys.readouterr().out.split()
    assert first == propose(run, {}, 3)
    accuracy, path = _accuracy(run), tmp_path / "told.csv"
    told = {arch: accuracy[arch] for arch in archs_of(run)[:12]}
    lines = [f"{arch},{value}\n" for arch, value in told.items()]
    path.write_text("arch,acc\n" + "".join(lines))
    assert command("propose", run.path, "--told", f"{path}:acc", "--json") == 0
    records = json.loads(capsys.readouterr().out)
    assert [record["arch"] for record in records] == propose(run, told, 8)
    assert SPACE.from_str(records[0]["arch"]).shape == (6,)


def test_failures_of_a_file_are_not_proposed_again(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    path, best = tmp_path / "told.csv", propose(run, {}, 2)
    path.write_text(f"arch,acc\n{best[0]},nan\n{best[1]},\n")
    assert command("propose", run.path, "--told", f"{path}:acc", "--n", 1) == 0
    assert capsys.readouterr().out.split() == [best[1]]


def test_mistakes_are_one_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    code = command("propose", run.path, "--n", 0)
    assert "n is at least 1, not 0" in failed(capsys, code)
    code = command("propose", run.path, "--told", "nothing.csv:acc")
    assert "there is no file 'nothing.csv'" in failed(capsys, code)
