"""Variants of a proxy from the readings of one run, as table, JSON and figure."""

import json
import sys
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from helpers.command_line import CODES, SPACE, command, failed, score_counts

from jaxproxy.analysis import Truth, ablate, correlate, kendall, rescore
from jaxproxy.meters import ACTIVATIONS, Layers, covariance, variance
from jaxproxy.proxies import Proxy
from jaxproxy.runs import Run

TINY = ["--width", "4", "--cells", "1", "--batch-size", "4", "--resolution", "8"]


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    options = ("--proxies", "intrain", *TINY, "--sample", 40, "--out", out)
    assert command("score", "nasbench201", *options) == 0
    return out


@pytest.fixture(scope="module")
def truth(tmp_path_factory) -> str:
    accuracy = np.array([SPACE.num_params(code) for code in CODES[:15000]]) ** 0.3
    accuracy += np.random.default_rng(0).normal(size=len(accuracy))
    frame = pd.DataFrame({"arch": map(SPACE.to_str, CODES[:15000]), "acc": accuracy})
    frame["twice"] = -2 * accuracy
    path = tmp_path_factory.mktemp("truth") / "truth.csv"
    frame.to_csv(path, index=False)
    return str(path)


def read(path: str, column: str) -> Truth:
    frame = pd.read_csv(path)
    return Truth(column, dict(zip(frame["arch"], frame[column], strict=True)))


def test_every_variant_that_the_meters_allow(scored, truth):
    run, accuracy = Run.open(scored), read(truth, "acc")
    found = ablate(run, "intrain", [accuracy, read(truth, "twice")])
    assert len(found.records) == 2 * 2 * 4 * 4  # dead, coupling, depth; two truths
    assert found.num_left_out == 3456 - 32
    assert found.left_out["covariance(relu)"] == 128
    assert found.left_out["gradient(all)"] == 864
    assert {found.options[r.proxy]["params"] for r in found.records} == {"weights"}
    taus = [r.tau for r in found.records if r.truth == "acc"]
    assert taus == sorted(taus, reverse=True)
    record = next(r for r in found.records if r.proxy == "intrain(coupling=o)")
    table = rescore(run, ["intrain(coupling=o)"]).to_pandas()
    values = table["arch"].map(accuracy.accuracy).to_numpy()
    known = ~np.isnan(values)
    scores = table["intrain(coupling=o)"].to_numpy()[known]
    expected = correlate(scores, np.ones(len(scores), bool), values[known])
    assert record.rho == expected.rho
    assert record.top10_top10 == expected.top10_top10
    assert record.num_unknown == 40 - known.sum()


def test_written_options_stay_and_sets_differ(scored, truth):
    run, truths = Run.open(scored), [read(truth, "acc")]
    found = ablate(run, "intrain(dead=live)", truths, subset="reachable")
    assert len(found.records) == 16
    assert all(found.options[r.proxy]["dead"] == "live" for r in found.records)
    archs = run.table(["arch"])["arch"].to_pylist()
    members = [SPACE.reachable(SPACE.from_str(arch)) for arch in archs]
    record = found.records[0]
    assert record.set == "reachable"
    assert 0 < record.n + record.num_unknown == sum(members) < 40


def test_a_proxy_of_ones_own(scored, truth):
    """A factory outside the table is ablated from readings others have taken."""

    def energy(
        *, layers: Layers = "conv", over: Literal["sum", "max"] = "sum"
    ) -> Proxy:
        meter = covariance(layers)
        return Proxy(
            "energy",
            meters=(meter,),
            score=lambda readings: getattr(readings[meter][:, 0], over)(),
        )

    run, truths = Run.open(scored), [read(truth, "acc")]
    found = ablate(run, energy, truths)
    assert {r.proxy for r in found.records} == {"energy", "energy(over=max)"}
    assert found.num_left_out == 2 * (len(ACTIVATIONS) - 1)
    own = rescore(run, [energy()]).to_pandas()["energy"].to_numpy()
    archs = run.table(["arch"])["arch"].to_pylist()
    accuracy = np.array([truths[0].accuracy.get(arch, np.nan) for arch in archs])
    known = ~np.isnan(accuracy)
    record = next(r for r in found.records if r.proxy == "energy")
    assert record.tau == kendall(own[known], accuracy[known])

    def stranger(*, layers: Layers = "bn", over: Literal["sum"] = "sum") -> Proxy:
        meter = variance(layers)
        return Proxy("stranger", meters=(meter,), score=lambda r: r[meter].sum())

    with pytest.raises(ValueError, match="no readings for any variant of 'stranger'"):
        ablate(run, stranger, truths)


def test_command(scored, truth, tmp_path, capsys):
    """JSON has the records of the table, and the figure is there."""
    options = ("ablate", scored, "--truth", f"{truth}:acc", f"{truth}:twice")
    figure = tmp_path / "ablation.svg"
    assert command(*options, "--bootstrap", 3, "--plot", figure) == 0
    printed = capsys.readouterr().out
    assert "intrain(dead=live,coupling=gamma,depth=sqrt)" in printed
    assert "3424 more variants need meters" in printed
    assert "covariance(cell,rows=raw): 128 variants" in printed
    drawn = figure.read_text()
    assert drawn.startswith("<?xml")
    assert "matplotlib" in drawn
    assert command(*options, "--json", "--bootstrap", 3) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert len(found["records"]) == 64
    assert found["num_left_out"] == 3424
    low, high = found["records"][0]["intervals"]["tau"]
    assert low <= high
    assert command(*options, "--plot", tmp_path / "ablation.png") == 0
    assert (tmp_path / "ablation.png").read_bytes().startswith(b"\x89PNG")


def test_mistakes(scored, truth, tmp_path, capsys, monkeypatch):
    def ablated(*options: object) -> str:
        truths = ("--truth", f"{truth}:acc")
        return failed(capsys, command("ablate", scored, *truths, *options))

    assert "cannot plot to 'x.pdf'" in ablated("--plot", "x.pdf")
    assert "no such folder" in ablated("--plot", tmp_path / "absent" / "x.png")
    assert "'params' has no option" in ablated("--proxy", "params")
    message = ablated("--proxy", "intrain(layers=bn)")
    assert "no readings for any variant" in message
    assert "covariance(bn)" in message
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "jaxproxy.cli._plot", raising=False)
    monkeypatch.delattr("jaxproxy.cli._plot", raising=False)
    message = ablated("--plot", tmp_path / "x.png")
    assert "pip install 'jaxproxy[plot]'" in message
    with pytest.raises(ValueError, match=r"unknown set 'x'; choose from \('all'"):
        ablate(Run.open(scored), "intrain", [], subset="x")


def test_a_run_without_readings(truth, tmp_path, capsys):
    assert score_counts(tmp_path / "run", "--sample", 3) == 0
    capsys.readouterr()
    options = ("ablate", tmp_path / "run", "--truth", f"{truth}:acc")
    assert "no readings" in failed(capsys, command(*options))
