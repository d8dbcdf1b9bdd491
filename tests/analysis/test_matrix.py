"""Agreement between proxies, and what they tell beyond counts."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from helpers.command_line import CODES, SPACE, command, failed

from jaxproxy.analysis import (
    ENSEMBLES,
    Ensemble,
    Truth,
    kendall,
    matrix,
    partial_spearman,
    rank_sum,
    spearman,
)
from jaxproxy.proxies import PROXIES, Proxy
from jaxproxy.runs import Run


def by_formula(a: np.ndarray, b: np.ndarray, z: np.ndarray) -> float:
    r_ab, r_az, r_bz = spearman(a, b), spearman(a, z), spearman(b, z)
    return (r_ab - r_az * r_bz) / math.sqrt((1 - r_az**2) * (1 - r_bz**2))


@pytest.mark.parametrize("seed", range(3))
def test_one_control_is_the_formula_of_three_correlations(seed):
    """With ties as well."""
    rng = np.random.default_rng(seed)
    z = rng.integers(0, 9, 300).astype(float)
    a, b = (z + rng.normal(scale=3, size=300).round() for _ in range(2))
    found = partial_spearman(a, b, z[:, None])
    assert found == pytest.approx(by_formula(a, b, z), rel=1e-9)
    assert partial_spearman(np.exp(a), b, z[:, None] ** 3) == pytest.approx(found)
    assert partial_spearman(a, -b, z[:, None]) == pytest.approx(-found)


def test_two_controls_are_the_formula_applied_twice():
    rng = np.random.default_rng(0)
    z, w = rng.normal(size=(2, 500))
    a, b = z + w + rng.normal(size=500), z - w + rng.normal(size=500)
    r_ab, r_aw, r_bw = (by_formula(*pair, z) for pair in ((a, b), (a, w), (b, w)))
    expected = (r_ab - r_aw * r_bw) / math.sqrt((1 - r_aw**2) * (1 - r_bw**2))
    given = np.column_stack([z, w])
    assert partial_spearman(a, b, given) == pytest.approx(expected)
    twice = np.column_stack([z, w, 2 * w])  # collinear controls do no harm
    assert partial_spearman(a, b, twice) == pytest.approx(expected)


def test_a_proxy_that_only_counts_has_nothing_left():
    rng = np.random.default_rng(1)
    count = rng.normal(size=20000)
    score, accuracy = (count + rng.normal(size=20000) for _ in range(2))
    assert spearman(score, accuracy) > 0.4
    assert abs(partial_spearman(score, accuracy, count[:, None])) < 0.03


def test_undefined():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 50))
    assert math.isnan(partial_spearman(a**3, b, a[:, None]))
    assert math.isnan(partial_spearman(np.ones(50), b, a[:, None]))
    assert math.isnan(partial_spearman(a[:0], b[:0], a[:0, None]))


@pytest.fixture
def proxies(monkeypatch):
    """One lower is better, one undefined for some, and an ensemble of both."""

    def falling() -> Proxy:
        return Proxy(
            "falling", count=lambda s, c: -1.0 * c.sum(1), higher_is_better=False
        )

    def partly() -> Proxy:
        def count(space, codes):
            weighted = codes @ np.arange(1.0, codes.shape[1] + 1)
            return np.where(codes[:, 0] == 0, np.nan, weighted)

        return Proxy("partly", count=count)

    monkeypatch.setitem(PROXIES, "falling", falling)
    monkeypatch.setitem(PROXIES, "partly", partly)
    both = Ensemble("both", ("falling", "partly"), rank_sum, "none")
    monkeypatch.setitem(ENSEMBLES, "both", both)


@pytest.fixture
def run(proxies, tmp_path) -> Run:
    names = ("--proxies", "falling", "partly", "params", "--sample", 80)
    assert command("score", "nasbench201", *names, "--out", tmp_path / "run") == 0
    return Run.open(tmp_path / "run")


@pytest.fixture
def truth(tmp_path) -> str:
    accuracy = np.random.default_rng(0).normal(size=len(CODES)) + CODES.sum(1)
    frame = pd.DataFrame({"arch": map(SPACE.to_str, CODES), "acc": accuracy})
    frame[::2].to_csv(tmp_path / "truth.csv", index=False)
    return f"{tmp_path}/truth.csv:acc"


def test_every_pair_on_what_is_valid_in_both(run):
    found = matrix(run, measure="kendall")
    assert found.names == ["falling", "partly", "params", "both"]
    assert found.ranked_among == {"both": 80}
    table = run.table().to_pandas()
    falling, partly = -table["falling"], table["partly"]
    both = partly.notna()
    assert 0 < both.sum() < 80
    assert found.num_valid[0][1] == found.num_valid[1][0] == both.sum()
    expected = kendall(falling[both], partly[both])
    assert found.values[0][1] == pytest.approx(expected, rel=1e-12)
    expected = kendall(falling, table["params"])
    assert found.values[0][2] == pytest.approx(expected, rel=1e-12)
    np.testing.assert_array_equal(found.values, np.transpose(found.values))
    np.testing.assert_allclose(np.diag(found.values), 1)
    assert found.partial == []


def test_counts_are_computed_if_the_run_lacks_them(run):
    archs = run.table(["arch"])["arch"].to_pylist()
    truth = Truth("t", {arch: float(place) for place, arch in enumerate(archs)})
    found = matrix(run, [truth], given=["macs", "params"])
    assert found.names == ["falling", "partly", "params", "both", "macs", "t"]
    codes = np.stack([SPACE.from_str(arch) for arch in archs])
    macs = np.array([SPACE.num_macs(code) for code in codes], float)
    params = run.table(["params"])["params"].to_numpy()
    assert found.values[4][2] == pytest.approx(spearman(macs, params))
    records = {record.proxy: record for record in found.partial}
    score, accuracy = codes.sum(1), np.arange(80.0)
    assert records["falling"].rho == pytest.approx(spearman(score, accuracy))
    given = np.column_stack([macs, params])
    expected = partial_spearman(score, accuracy, given)
    assert records["falling"].partial_rho == pytest.approx(expected)
    assert records["partly"].n == found.num_valid[1][1] < 80
    assert math.isnan(records["params"].partial_rho)


def test_command(run, truth, tmp_path, capsys):
    options = ("matrix", run.path, "--truth", truth, "--given", "params")
    figure = tmp_path / "matrix.png"
    capsys.readouterr()
    assert command(*options, "--plot", figure) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "spearman between columns" in printed
    assert "both is ranked among 80 architectures." in printed
    assert "acc: beyond params proxy archs rho rho given params" in printed
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert command(*options, "--json") == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found["names"][-1] == "acc"
    assert found["given"] == ["params"]
    assert found["partial"][0]["n"] == found["num_valid"][0][-1] < 80
    assert found["partial"][2]["partial_rho"] is None  # params given params
    assert command("matrix", run.path, "--measure", "kendall") == 0
    assert "kendall between columns" in capsys.readouterr().out


def test_mistakes(run, truth, capsys):
    capsys.readouterr()
    message = failed(capsys, command("matrix", run.path, "--given", "params"))
    assert "--given needs a --truth" in message
    with pytest.raises(ValueError, match=r"unknown measure 'x'; choose .*'kendall'"):
        matrix(run, measure="x")
    with pytest.raises(ValueError, match="cannot hold 'falling' fixed; choose from"):
        matrix(run, given=["falling"])
    with pytest.raises(ValueError, match="truth 't' has none of the 80"):
        matrix(run, [Truth("t", {})])


def test_a_space_that_is_not_known_counts_nothing(run):
    run.manifest["scorer"]["space"] = "other"
    run.manifest["scorer"]["proxies"].remove("params")
    with pytest.raises(ValueError, match="of space 'other'; known are"):
        matrix(run, given=["params"])
