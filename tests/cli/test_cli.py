"""The command line: what it prints, and what it leaves behind."""

import contextlib
import io
import json
import os
import signal
import sys

import numpy as np
import pandas as pd
import pytest
from helpers.command_line import ARCHS, CODES, SPACE, command, score_counts

from jaxproxy.analysis import correlate
from jaxproxy.cli import main
from jaxproxy.proxies import PROXIES, Proxy
from jaxproxy.scoring import Scorer, score
from jaxproxy.scoring import _sweep as sweep
from jaxproxy.types import PRESETS, Fidelity

pytestmark = pytest.mark.usefixtures("optimised")

TINY = ["--width", "4", "--cells", "1", "--batch-size", "4", "--resolution", "8"]
FIDELITY = Fidelity(4, 1, 4, 8)


@pytest.fixture(scope="module")
def truth(tmp_path_factory) -> str:
    """Accuracies of all architectures, which grow with parameters but for noise."""
    accuracy = np.array([SPACE.num_params(code) for code in CODES]) ** 0.3
    accuracy += np.random.default_rng(0).normal(size=len(accuracy))
    frame = pd.DataFrame({"arch": map(SPACE.to_str, CODES), "acc": accuracy})
    path = tmp_path_factory.mktemp("truth") / "truth.csv"
    frame.to_csv(path, index=False)
    return f"{path}:acc"


@pytest.fixture(scope="module")
def scored(tmp_path_factory, truth):
    """A run with all kinds of proxies, its command, and what that printed."""
    out = tmp_path_factory.mktemp("run") / "out"
    proxies = ("capacity(depth=sqrt)", "intrain", "epsinas", "params")
    arguments = [
        *("score", "nasbench201", "--proxies", *proxies, *TINY, "--sample", "30"),
        *("--seeds", "2", "--truth", truth, "--out", str(out)),
    ]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(arguments) == 0
    return out, arguments, printed.getvalue()


@pytest.mark.smoke
def test_score_leaves_a_table(scored):
    out, _, _ = scored
    table = pd.read_parquet(out)
    rng = np.random.default_rng(0)
    archs = [SPACE.to_str(code) for code in SPACE.sample(rng, 30)]
    assert table["arch"].tolist() == archs
    names = ["capacity(depth=sqrt)", "intrain", "epsinas"]
    expected = score(SPACE, archs, names, fidelity=FIDELITY, seeds=2)
    for name in names:
        np.testing.assert_allclose(table[name], expected[name], rtol=1e-5)
    assert table["epsinas_valid"].sum() < 30
    assert (table["intrain_se"] > 0).all()


@pytest.mark.smoke
def test_score_prints_what_it_did(scored):
    """Fidelity, speed, invalid scores, spread over seeds, the best, correlations."""
    _, _, printed = scored
    assert "no --images: 64 grey images, dark to light, for epsinas" in printed
    assert "width 4, cells 1, batch size 4, resolution 8; 2 seeds" in printed
    assert "30 architectures scored; 30 in " in printed
    assert "mean standard error (2 seeds)" in printed
    assert "best by capacity(depth=sqrt)" in printed
    assert sum(line.strip().startswith("10 ") for line in printed.splitlines()) == 1
    assert printed.count("|+|") == 20  # ten whole architectures
    assert "acc: 30 architectures" in printed
    for header in ("tau", "rho", "top10", "top64", "nDCG", "cover-", "ties"):
        assert header in printed


def test_same_command_finds_the_run_finished(scored, capsys, monkeypatch):
    out, arguments, _ = scored
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    monkeypatch.setattr(sweep, "score_part", None)  # would raise
    assert main(arguments) == 0
    assert "30 architectures scored, 30 of them before; 0 in" in capsys.readouterr().out
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before


@pytest.mark.smoke
def test_correlate_as_json(scored, truth, capsys):
    """The records are those of rank.correlate, and the output is strict JSON."""
    out, _, _ = scored
    options = ("--truth", truth, "--json", "--bootstrap", "3")
    assert command("correlate", out, *options) == 0
    records = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert [record["proxy"] for record in records] == [
        *("capacity(depth=sqrt)", "intrain", "epsinas", "params")
    ]
    table = pd.read_parquet(out)
    path, column = truth.split(":")
    accuracy = pd.read_csv(path).set_index("arch")[column][table["arch"]]
    for record in records:
        name = record["proxy"]
        expected = correlate(
            table[name], table[f"{name}_valid"], accuracy, num_bootstrap=3
        )
        assert record["set"] == "all"
        assert record["truth"] == "acc"
        assert record["num_unknown"] == 0
        for key in ("n", "num_valid", "coverage", "tau", "rho", "ndcg1000"):
            assert record[key] == getattr(expected, key)
        assert record["intervals"]["tau"] == list(expected.intervals["tau"])
    assert records[2]["num_valid"] < records[2]["n"] == 30


def test_correlate_prints_intervals_and_what_is_unknown(tmp_path, capsys):
    """Architectures without an accuracy are counted; undefined numbers stay so."""
    path = tmp_path / "few.csv"
    path.write_text(f"arch,acc\n{ARCHS[0]},50\n{ARCHS[1]},60\n{ARCHS[2]},60\n")
    listing = tmp_path / "archs.txt"
    listing.write_text("\n".join(ARCHS))
    truth = ("--truth", f"{path}:acc")
    assert score_counts(tmp_path / "run", "--archs", listing) == 0
    assert command("correlate", tmp_path / "run", *truth, "--bootstrap", 5) == 0
    printed = capsys.readouterr().out
    assert "acc: 3 architectures (1 more have no accuracy)" in printed
    assert "Below a number: its 95 % interval." in " ".join(printed.split())
    assert command("correlate", tmp_path / "run", *truth, "--json") == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["num_unknown"] == 1
    assert record["tau_top10"] is None  # all of them are tied


@pytest.mark.smoke
def test_whole_space_with_and_without_unreachable_operations(tmp_path, truth, capsys):
    """Several truths at once; the unofficial package reads like any other."""
    truths = ("--truth", truth, "analog")
    assert score_counts(tmp_path, "--all", *truths) == 0
    printed = capsys.readouterr().out
    assert "acc: 15625 architectures\n" in "\n".join(
        line.rstrip() + "\n" for line in printed.splitlines()
    )
    assert "acc: 9445 architectures without unreachable operations" in printed
    assert command("correlate", tmp_path, *truths, "--json") == 0
    records = json.loads(capsys.readouterr().out)
    found = [(r["truth"], r["set"], r["n"], r["coverage"]) for r in records]
    assert found == [
        ("acc", "all", 15625, 1.0),
        ("acc", "reachable", 9445, 1.0),
        ("analog", "all", 15625, 1.0),
        ("analog", "reachable", 9445, 1.0),
    ]
    assert records[2]["tau"] == pytest.approx(0.577, abs=0.02)  # as with official ones


def test_lower_may_be_better(tmp_path, truth, capsys, monkeypatch):
    """The sign is the proxy's, in the correlation and among the best."""

    def light() -> Proxy:
        count = PROXIES["params"]().count
        return Proxy("light", count=lambda s, c: -count(s, c), higher_is_better=False)

    monkeypatch.setitem(PROXIES, "light", light)
    listing = tmp_path / "archs.txt"
    listing.write_text("\n".join(ARCHS))
    options = ("--proxies", "light", "params", "--archs", listing, "--truth", truth)
    out = tmp_path / "run"
    assert command("score", "nasbench201", *options, "--out", out) == 0
    largest = max(ARCHS, key=lambda arch: SPACE.num_params(SPACE.from_str(arch)))
    archs = [s for s in capsys.readouterr().out.splitlines() if "|+|" in s]
    assert largest in archs[0]
    assert command("correlate", out, "--truth", truth, "--json") == 0
    light_record, params_record = json.loads(capsys.readouterr().out)
    assert light_record["tau"] == params_record["tau"] > 0


def test_archs_from_a_file_and_from_standard_input(tmp_path, monkeypatch):
    """Blank lines do not count; repetitions are rows of their own."""
    listing = tmp_path / "archs.txt"
    text = f"\n  {ARCHS[0]}  \n\n{ARCHS[1]}\r\n{ARCHS[0]}\n"
    listing.write_bytes(text.encode())
    assert score_counts(tmp_path / "file", "--archs", listing) == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    assert score_counts(tmp_path / "stdin", "--archs", "-") == 0
    for name in ("file", "stdin"):
        table = pd.read_parquet(tmp_path / name)
        assert table["arch"].tolist() == [ARCHS[0], ARCHS[1], ARCHS[0]]


def test_images_are_standardised(tmp_path, capsys):
    """Bytes and floats of the same images give the scores of mean 0, deviation 1."""
    x = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    y = np.arange(6)
    np.savez(tmp_path / "bytes.npz", x=x, y=y)
    np.savez_compressed(tmp_path / "floats.npz", x=x.astype(np.float32) / 7 - 3)
    z = x / 255
    z = (z - z.mean((0, 1, 2))) / z.std((0, 1, 2))
    expected = score(
        SPACE, ARCHS, ["epsinas"], fidelity=FIDELITY, images=z.astype(np.float32)
    )
    listing = tmp_path / "archs.txt"
    listing.write_text("\n".join(ARCHS))
    options = ("--proxies", "epsinas", "--archs", listing, *TINY, "--devices", 2)
    for name in ("bytes", "floats"):
        images = ("--images", tmp_path / f"{name}.npz", "--out", tmp_path / name)
        assert command("score", "nasbench201", *options, *images) == 0
        table = pd.read_parquet(tmp_path / name)
        np.testing.assert_allclose(table["epsinas"], expected["epsinas"], rtol=1e-4)
    printed = capsys.readouterr().out
    assert "grey" not in printed
    assert "on 2 devices" in printed


def test_images_that_nothing_uses_are_mentioned(tmp_path, capsys):
    path = tmp_path / "images.npz"
    np.savez(path, x=np.random.default_rng(0).random((2, 8, 8, 3)))
    assert score_counts(tmp_path / "run", "--sample", 2, "--images", path) == 0
    assert "no proxy uses" in capsys.readouterr().out


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_a_fidelity_and_nothing_else(tmp_path, preset, capsys):
    assert score_counts(tmp_path, "--sample", 2, "--preset", preset, "--cells", 3) == 0
    manifest = json.loads((tmp_path / "_manifest.json").read_text())
    expected = {**PRESETS[preset].__dict__, "cells": 3}
    assert manifest["scorer"]["fidelity"] == expected
    assert manifest["scorer"]["proxies"] == ["params"]
    assert manifest["scorer"]["seeds"] == [0]
    assert f"batch size {expected['batch_size']}, reso" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("proxies", "flags", "expected"),
    [
        (["params", "macs"], [], True),
        (["params"], ["--no-deduplicate"], False),
        (["params"], ["--deduplicate"], True),
    ],
)
def test_deduplicate(tmp_path, proxies, flags, expected):
    options = ("--proxies", *proxies, *flags, "--sample", 3, "--num-classes", 100)
    assert command("score", "nasbench201", *options, "--out", tmp_path) == 0
    manifest = json.loads((tmp_path / "_manifest.json").read_text())
    assert manifest["deduplicate"] is expected
    assert manifest["scorer"]["num_classes"] == 100


def test_only_invariant_proxies_are_deduplicated_unasked():
    invariant = [name for name, make in PROXIES.items() if make().invariant]
    assert invariant == ["epsinas"]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_resumes(tmp_path, monkeypatch, signum, capsys, request):
    """It exits as the shell expects, keeps finished parts, and says how to go on."""
    options = ("--sample", 2500, "--no-deduplicate", "--seed", 3)
    real, calls = Scorer.score_block, []
    # A shell lets its background jobs ignore SIGINT, and a sweep respects that.
    before = signal.signal(signum, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signum, before))

    def stop_in_the_second_part(scorer, codes):
        calls.append(len(codes))
        if sum(calls) > 1000:
            os.kill(os.getpid(), signum)
        return real(scorer, codes)

    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "score_block", stop_in_the_second_part)
        assert score_counts(tmp_path, *options) == 128 + signum
    assert len(pd.read_parquet(tmp_path)) == 1000
    capsys.readouterr()
    assert score_counts(tmp_path, *options) == 0
    assert "2500 architectures scored, 1000 of them before" in capsys.readouterr().out
    table = pd.read_parquet(tmp_path)
    assert sorted(table["index"]) == list(range(2500))


def test_a_second_interrupt_is_no_traceback(tmp_path, monkeypatch, capsys):
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Scorer, "score_block", interrupted)
    assert score_counts(tmp_path, "--sample", 3) == 130


def test_list(capsys):
    assert command("list") == 0
    printed = capsys.readouterr().out
    for name, make in PROXIES.items():
        assert name in printed
        assert make().reference in printed
    assert "epsinas(mode=paper,weights=None)" in printed
    assert "nasbench201(num_classes=10,resolution=32): 15625 architectures" in printed
    assert "paper: width 16, cells 5, batch size 64, resolution 64" in printed
