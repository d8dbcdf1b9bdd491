"""``jaxproxy search`` for a front, with what it weighs from a table."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import CODES, SPACE, command, failed

from jaxproxy import open_run
from jaxproxy.analysis import front

OPTIONS = ("--proxy", "params", "--budget", 120, "--together", 20)
NSGA2 = ("--method", "nsga2(pool=20,weigh_cost=True)")


@pytest.fixture(scope="module")
def latency(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cost that counting gets wrong: 1x1 convolutions are slow, 3x3 are quick."""
    path = tmp_path_factory.mktemp("latency") / "ms.csv"
    costs = 1 + 9 * (CODES == 2).sum(1) + (CODES == 3).sum(1)
    rows = [
        f"{SPACE.to_str(code)},{cost}\n"
        for code, cost in zip(CODES, costs, strict=True)
        if (code != 1).any()  # of skips alone nothing was measured
    ]
    path.write_text("arch,ms\n" + "".join(rows))
    return path


def _dominated(point: np.ndarray, points: np.ndarray) -> bool:
    """Whether one of (score, cost) has at least the score and at most the cost."""
    better = (points[:, 0] >= point[0]) & (points[:, 1] <= point[1])
    return bool((better & (points != point).any(1)).any())


def test_the_front_of_a_table(
    latency: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    arguments = (*OPTIONS, *NSGA2, "--cost", f"{latency}:ms", "--out", out)
    assert command("search", "nasbench201", *arguments, "--json") == 0
    (record,) = json.loads(capsys.readouterr().out)
    codes = np.stack([SPACE.from_str(one["arch"]) for one in record["front"]])
    points = np.array([[one["params"], one["cost"]] for one in record["front"]])
    # What is printed is so, nothing scored beats it, and what does not is in it.
    costs = 1 + 9 * (codes == 2).sum(1) + (codes == 3).sum(1)
    np.testing.assert_array_equal(points, np.stack([SPACE.num_params(codes), costs], 1))
    table = open_run(out).table(["arch", "params"])
    scored = np.stack([SPACE.from_str(arch) for arch in table["arch"].to_pylist()])
    ms = 1.0 + 9 * (scored == 2).sum(1) + (scored == 3).sum(1)
    told = np.stack([SPACE.num_params(scored), ms], 1)
    assert not any(_dominated(point, told) for point in points)
    left = {tuple(point) for point in told if not _dominated(point, told)}
    left -= {tuple(told[row]) for row in np.flatnonzero((scored == 1).all(1))}
    assert left == set(map(tuple, points.tolist()))
    assert record["arch"] == record["front"][0]["arch"]
    # 1x1 convolutions cost most and hold little: they are hardly ever on the front.
    assert (codes == 2).sum() <= 2 < (codes == 3).sum()
    # The same command prints the same, from what is stored, for people too.
    assert command("search", "nasbench201", *arguments) == 0
    assert f"front of {len(points)}" in capsys.readouterr().out


def test_multiply_adds_without_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ("--out", tmp_path / "run", "--json")
    assert command("search", "nasbench201", *OPTIONS, *NSGA2, *out) == 0
    (record,) = json.loads(capsys.readouterr().out)
    for one in record["front"]:
        assert one["cost"] == SPACE.num_macs(SPACE.from_str(one["arch"]))
    two = ("--proxy", "params", "macs", "--budget", 30)
    out = ("--out", tmp_path / "two", "--json", "--method", "nsga2(pool=20)")
    assert command("search", "nasbench201", *two, *out) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["front"]
    assert all(set(one) == {"arch", "params", "macs"} for one in record["front"])


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("intrain_nas", "--cost is for a search that weighs it"),
        ("nsga2(objectives=1)", "--cost is for a search that weighs it"),
    ],
)
def test_a_cost_that_nothing_weighs(
    method: str,
    message: str,
    latency: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = (*OPTIONS, "--method", method, "--cost", f"{latency}:ms")
    code = command("search", "nasbench201", *arguments, "--out", tmp_path / "run")
    assert message in failed(capsys, code)
    assert not (tmp_path / "run").exists()


def test_fronts_of_columns(tmp_path: Path) -> None:
    archs = tmp_path / "archs.txt"
    archs.write_text("".join(f"{SPACE.to_str(code)}\n" for code in CODES[:200]))
    options = ("--archs", archs, "--proxies", "params", "macs")
    out = tmp_path / "run"
    assert command("score", "nasbench201", *options, "--out", out) == 0
    run = open_run(out)
    costs = {SPACE.to_str(code): float(n) for n, code in enumerate(CODES[:200])}
    found = front(run, ["params"], costs)
    # By hand: in order of cost, each has more parameters than all before.
    sizes = SPACE.num_params(CODES[:200])
    most = np.maximum.accumulate(np.concatenate([[-1], sizes[:-1]]))
    rows = np.flatnonzero(sizes > most)[::-1]
    assert [one.cost for one in found] == rows.tolist()
    assert [one.scores["params"] for one in found] == sizes[rows].tolist()
    assert [one.cost for one in front(run, ["macs"])] == [None]
    with pytest.raises(ValueError, match=r"unknown columns \['naswot'\]; choose from"):
        front(run, ["params", "naswot"])
    with pytest.raises(ValueError, match="unknown columns"):
        front(run, [])
