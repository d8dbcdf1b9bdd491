"""Truths of losses, of several runs, and in the spellings of other benchmarks."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_line import ARCHS, CODES, SPACE, command, failed, score_counts
from scipy import stats

from jaxproxy.analysis import correlate, load_truth, propose
from jaxproxy.analysis._simulation import simulations
from jaxproxy.runs import Run

NUM = 40


@pytest.fixture(scope="module")
def losses(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, np.ndarray]:
    """A run of counted architectures, their losses, and those as an array."""
    folder = tmp_path_factory.mktemp("losses")
    rng = np.random.default_rng(0)
    codes = CODES[:NUM]
    params = SPACE.num_params(codes)
    loss = 6 - np.log10(params) / 3 + rng.normal(0, 0.05, NUM)
    archs = [SPACE.to_str(code) for code in codes]
    (folder / "archs.txt").write_text("\n".join(archs))
    rows = [f"{a},{x!r},{-x!r}\n" for a, x in zip(archs, loss.tolist(), strict=True)]
    (folder / "t.csv").write_text("arch,loss,minus\n" + "".join(rows))
    assert score_counts(folder / "run", "--archs", folder / "archs.txt") == 0
    return folder / "run", folder / "t.csv", loss


def _json(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[Any]:
    capsys.readouterr()
    assert command(*arguments, "--json") == 0
    return json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


def test_lower_is_better(
    losses: tuple[Path, Path, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    run, table, loss = losses
    params = SPACE.num_params(CODES[:NUM])
    options = ("--truth", f"{table}:loss", f"{table}:minus", "--lower", "loss")
    found, turned = _json(capsys, "correlate", run, *options)
    assert (found["lower"], turned["lower"]) == (True, False)
    assert found["tau"] == pytest.approx(stats.kendalltau(params, -loss).statistic)
    assert found["rho"] == pytest.approx(stats.spearmanr(params, -loss).statistic)
    best = set(np.argsort(loss)[:4])
    widest = set(np.flatnonzero(params == params.max()))
    assert len(widest) == 5  # of which any four are the predicted best four
    assert found["top10_top10"] == pytest.approx(len(best & widest) * 4 / 5 / 4)
    top = sorted(best)
    tau = stats.kendalltau(params[top], -loss[top]).statistic
    assert found["tau_top10"] == pytest.approx(tau)
    for measure in (
        "tau",
        "rho",
        "tau_top10",
        "rho_top10",
        "top10_top10",
        "top64_top5",
    ):
        assert found[measure] == pytest.approx(turned[measure])
    assert found["ndcg1000"] is None
    (alone,) = _json(capsys, "correlate", run, "--truth", f"{table}:loss", "--lower")
    assert alone == found


def test_lower_in_tables_for_people(
    losses: tuple[Path, Path, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    run, table, loss = losses
    options = ("--truth", f"{table}:loss", "--lower", "--n", NUM)
    assert command("best-of", run, *options) == 0
    assert f"{loss.min():.4f} ± 0.0000" in capsys.readouterr().out
    assert command("correlate", run, "--truth", f"{table}:loss", "--lower") == 0
    assert "loss, lower is better: 40 architectures" in capsys.readouterr().out
    line = failed(
        capsys, command("correlate", run, "--truth", f"{table}:loss", "--lower", "x")
    )
    assert "--lower 'x' is none of the truths ['loss']" in line


def test_best_of_losses(
    losses: tuple[Path, Path, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    """All of the run is one sample: the widest network, and the lowest loss."""
    run, table, loss = losses
    params = SPACE.num_params(CODES[:NUM])
    options = ("--truth", f"{table}:loss", "--lower", "--n", NUM)
    counted, ceiling = _json(capsys, "best-of", run, *options)
    assert counted["mean"] == pytest.approx(loss[params == params.max()].mean())
    assert ceiling["mean"] == pytest.approx(loss.min())
    (half, best) = _json(capsys, "best-of", run, *options[:3], "--n", 2)
    # The lower of two: the k-th lowest of 40 is it with 40 - k of 780 pairs.
    shares = np.arange(NUM)[::-1] / math.comb(NUM, 2)
    assert best["mean"] == pytest.approx(shares @ np.sort(loss))
    assert best["mean"] < half["mean"] < loss.mean()


def test_lower_by_hand() -> None:
    found = correlate([1, 2, 3, 4], [True] * 4, [4.0, 3.0, 2.0, 1.0], lower=True)
    assert (found.tau, found.rho, found.top10_top10) == (1, 1, 1)
    assert math.isnan(found.ndcg1000)
    found = correlate(
        [1, 2, 3, 4], [True] * 4, [4.0, 3.0, 2.0, 1.0], lower=True,
        higher_is_better=False, num_bootstrap=5,
    )  # fmt: skip
    assert (found.tau, found.top64_top5) == (-1, 1)
    assert found.intervals["tau"] == (-1, -1)
    # Gains of negative losses would be numbers, of nothing.
    assert math.isnan(correlate([1, 2], [True] * 2, [-1.0, -2.0], lower=True).ndcg1000)


def test_matrix_and_ablation_turn_losses(
    losses: tuple[Path, Path, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    run, table, loss = losses
    rho = stats.spearmanr(SPACE.num_params(CODES[:NUM]), -loss).statistic
    options = ("--truth", f"{table}:loss", "--lower")
    found: Any = _json(capsys, "matrix", run, *options)
    assert found["values"][0][1] == pytest.approx(rho)


def test_searches_minimise_losses() -> None:
    params = SPACE.num_params(CODES).astype(float)
    archs = [SPACE.to_str(code) for code in CODES]
    table = load_truth_of(dict(zip(archs, params.tolist(), strict=True)))
    ((_, _, found),) = simulations(
        SPACE, ["regularized_evolution"], table, [table], budget=60, runs=8
    )
    assert (np.diff(found.oracle) <= 0).all()
    assert found.honest[:, -1].mean() < np.median(params)
    np.testing.assert_allclose(found.honest, found.oracle)


def load_truth_of(accuracy: dict[str, float]):
    from jaxproxy.analysis import Truth

    return Truth("params", accuracy, lower=True)


def test_proposals_for_losses(losses: tuple[Path, Path, np.ndarray]) -> None:
    """Those for a loss are those for its negative."""
    run, table, _ = losses
    told, minus = (
        load_truth(f"{table}:{name}", space=SPACE, lower=name == "loss")
        for name in ("loss", "minus")
    )
    some = dict(list(told.accuracy.items())[:15])
    asked = propose(Run.open(run), told._replace(accuracy=some), 2)
    other = {arch: minus.accuracy[arch] for arch in some}
    assert asked == propose(Run.open(run), other, 2)
    assert asked != propose(Run.open(run), some, 2)


REPEATS = "arch,run,acc\n{0},1,90\n{0},2,91\n{1},1,80\n{0},3,95\n{1},2,nan\n{2},1,70\n"


def test_repeated_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(REPEATS.format(*ARCHS))
    with pytest.raises(
        ValueError, match=r"line 3 .* repeats .* of line 2 .*\(--repeats mean\)"
    ):
        load_truth(f"{path}:acc")
    found = load_truth(f"{path}:acc", repeats="mean")
    assert found.accuracy == {ARCHS[0]: 92.0, ARCHS[1]: 80.0, ARCHS[2]: 70.0}
    # 90, 91 and 95 deviate by -2, -1 and 3: sqrt(14 / 2).
    assert found.notes == (
        "means of 1 to 3 rows for each of 3 architectures; the standard deviation "
        "between rows of one is 2.65 (pooled)",
    )
    with pytest.raises(ValueError, match="unknown repeats 'median'"):
        load_truth(f"{path}:acc", repeats="median")  # pyrefly: ignore


def test_two_spellings_are_one_architecture(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    same = "|avg_pool_3x3~0|+|skip_connect~0|none~1|+"
    same += "|nor_conv_1x1~0|avg_pool_3x3~1|nor_conv_1x1~2|"
    path.write_text(f'arch,acc\n"(4, 0, 3, 1, 4, 3)",84\n{same},85\n')
    assert len(load_truth(f"{path}:acc").accuracy) == 2
    with pytest.raises(ValueError, match=r"line 3 of .* repeats the architecture"):
        load_truth(f"{path}:acc", space=SPACE)
    found = load_truth(f"{path}:acc", space=SPACE, repeats="mean")
    assert found.accuracy == {same: 84.5}


def test_rows_of_another_space(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"arch,acc\n{ARCHS[0]},90\nother,80\n")
    found = load_truth(f"{path}:acc", space=SPACE)
    assert found.accuracy == {ARCHS[0]: 90.0}
    (note,) = found.notes
    assert "1 rows of" in note and "line 3 of" in note and "'other' has" in note


def test_official_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "archs.txt").write_text("\n".join(ARCHS))
    (tmp_path / "t.csv").write_text("index,acc\n15,90\n4711,91\n777,93\n12345,92\n")
    out, truth = tmp_path / "run", f"{tmp_path / 't.csv'}:acc"
    with pytest.raises(ValueError, match="names architectures by index only"):
        load_truth(truth)
    assert load_truth(truth, space=SPACE).accuracy == dict(
        zip(ARCHS, (90.0, 91.0, 93.0, 92.0), strict=True)
    )
    assert score_counts(out, "--archs", tmp_path / "archs.txt", "--truth", truth) == 0
    assert score_counts(out, "--archs", tmp_path / "t.csv") == 2  # of other strings
    (tmp_path / "t.csv").write_text("index,acc\n15,90\n15625,91\n")
    assert "15625" in load_truth(truth, space=SPACE).notes[1]


def test_spellings_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run keeps what it was given, and truths find it."""
    (tmp_path / "a.txt").write_text(
        "(4, 0, 3, 1, 4, 3)\n(0, 2, 1, 3, 4, 0)\n", "utf-16"
    )
    assert score_counts(tmp_path / "run", "--archs", tmp_path / "a.txt") == 0
    suite = {
        "(4, 0, 3, 1, 4, 3)": {"val_accuracy": 84.1, "zen": {"score": 1.0}},
        "(0, 2, 1, 3, 4, 0)": {"val_accuracy": 91.0, "zen": {"score": 2.0}},
    }
    (tmp_path / "zc.json").write_text(json.dumps({"cifar10": suite, "svhn": suite}))
    options = ("--truth", f"{tmp_path}/zc.json:cifar10:val_accuracy")
    (found,) = _json(capsys, "correlate", tmp_path / "run", *options)
    assert (found["n"], found["truth"]) == (2, "cifar10:val_accuracy")
    params = SPACE.num_params(np.stack([SPACE.from_str(arch) for arch in suite]))
    assert found["tau"] == np.sign(params[1] - params[0])
    line = failed(
        capsys,
        command("correlate", tmp_path / "run", "--truth", f"{tmp_path}/zc.json:zen"),
    )
    assert "2 keys: choose from 'cifar10', 'svhn', as FILE.json:cifar10:zen" in line


def test_columns_of_one_name_are_told_apart(
    losses: tuple[Path, Path, np.ndarray],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, table, _ = losses
    (tmp_path / "t.csv").write_text(table.read_text())
    specs = f"{table}:loss", f"{tmp_path}/t.csv:loss"
    found = _json(capsys, "correlate", run, "--truth", *specs)
    assert [record["truth"] for record in found] == [*specs]
