"""The command ``jaxproxy simulate``."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import CODES, SPACE, command, failed, score_counts

SIZES = SPACE.num_params(CODES)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all: what is seen is macs, what is reported params, what warms up noise."""
    path = tmp_path_factory.mktemp("table") / "all.csv"
    macs, noise = SPACE.num_macs(CODES), np.random.default_rng(0).random(len(CODES))
    rows = [
        f"{SPACE.to_str(code)},{mac / 1e6},{size / 1e6},{some if some > 0.1 else ''}\n"
        for code, mac, size, some in zip(CODES, macs, SIZES, noise, strict=True)
    ]
    path.write_text("arch,macs,params,noise\n" + "".join(rows))
    return path


def _simulate(table: Path, *options: object) -> int:
    truths = ("--seen", f"{table}:macs", "--truth", f"{table}:params", f"{table}:macs")
    return command("simulate", "nasbench201", *truths, *options)


def test_records(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--budget", 60, "--runs", 20, "--warm-up", f"{table}:noise", "--json")
    assert _simulate(table, *options, "--methods", "random_search", "intrain_nas") == 0
    records = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    keys = {"method", "truth", "evaluations", "mean", "std", "best_seen_mean"}
    assert all(set(record) == keys for record in records)
    found = {(r["method"], r["truth"], r["evaluations"]): r for r in records}
    names = ("random_search", "intrain_nas")
    methods = [*names, *(f"warm-up+{name}" for name in names)]
    marks = (10, 20, 50, 60)
    truths = ("params", "macs")
    assert set(found) == {(m, t, n) for m in methods for t in truths for n in marks}
    for record in records:
        assert record["mean"] <= record["best_seen_mean"] <= SPACE.num_macs(CODES).max()
        if record["truth"] == "macs":  # what is seen is what is reported
            assert record["mean"] == record["best_seen_mean"]
    last = {method: found[method, "macs", 60]["mean"] for method in methods}
    assert last["intrain_nas"] > last["random_search"] + 10
    # Noise does not help a random search, by more than six standard errors.
    error = found["random_search", "macs", 60]["std"] / np.sqrt(20)
    assert abs(last["warm-up+random_search"] - last["random_search"]) < 6 * error


def test_table_and_figure(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = tmp_path / "curves.svg"
    options = ("--budget", 12, "--runs", 3, "--plot", figure)
    assert _simulate(table, *options, "--methods", "local_search") == 0
    printed = capsys.readouterr().out
    assert "local_search" in printed and "after 12" in printed
    assert "<svg" in figure.read_text()


def test_rerank_fits_the_columns_of_a_run(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archs = tmp_path / "archs.txt"
    archs.write_text("".join(f"{SPACE.to_str(code)}\n" for code in CODES[::-1]))
    run = tmp_path / "run"
    assert score_counts(run, "--archs", archs) == 0
    capsys.readouterr()
    options = ("--methods", "rerank(first=5,most=14)", "--budget", 14, "--runs", 4)
    means = []
    for features in ((), ("--features", run)):
        assert _simulate(table, *options, *features, "--json") == 0
        records = json.loads(capsys.readouterr().out)
        means.append([r["mean"] for r in records if r["truth"] == "params"][-1])
    # Parameters say nearly all about what is seen, so that the largest is soon found.
    most = SIZES.max() / 1e6
    assert np.isclose(means[1], most) and means[0] < means[1]
    few = tmp_path / "few"
    assert score_counts(few, "--sample", 50) == 0
    capsys.readouterr()
    line = failed(capsys, _simulate(table, *options, "--features", few))
    assert "of the 15625 architectures of nasbench201, such as" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--methods", "hill"), "unknown method 'hill'; choose from ['az_nas_evol"),
        (("--methods", "local_search(k=3)"), "unknown option 'k=3' of local_search"),
        (("--runs", "0"), "runs=0"),
        (("--budget", "0"), "budget=0"),
    ],
)
def test_bad_commands_are_one_line(
    options: tuple[str, str],
    message: str,
    table: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert message in failed(capsys, _simulate(table, *options))


def test_what_a_table_lacks_is_named(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = ("--seen", f"{table}:macs", "--truth")
    line = failed(capsys, command("simulate", "nasbench201", *seen, f"{table}:noise"))
    assert "noise lacks" in line and "of the 15625 architectures of nasbench201" in line
    line = failed(capsys, command("simulate", "mobilenetv2", *seen, f"{table}:macs"))
    assert "mobilenetv2 is too large" in line
