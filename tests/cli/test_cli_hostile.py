"""Requests that cannot be met, files of other kinds, and names that are not letters."""

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from helpers.command_line import ARCHS, CODES, SPACE, command, failed, score_counts
from rich.console import Console

from jaxproxy import startup
from jaxproxy.cli import main
from jaxproxy.cli._errors import one_line
from jaxproxy.cli._report import Report
from jaxproxy.cli._words import request
from jaxproxy.proxies import parse_proxy

SCORE = "score nasbench201 --proxies snip --sample 2"
TOO_LARGE = {
    "width": (f"{SCORE} --width 1000000000", r"width is 1000000000, and at most \d+"),
    "cells": (f"{SCORE} --cells 1000000000", "cells is 1000000000, and at most 1000 w"),
    "batch": (
        f"{SCORE} --batch-size 1000000000",
        "batch_size is .*, and at most \\d+",
    ),
    "resolution": (
        f"{SCORE} --resolution 1000000000",
        "int32 .* resolution is 1000000",
    ),
    "classes": (
        f"{SCORE} --num-classes 1000000000",
        "num_classes is an integer from 1",
    ),
    "option": (
        "score nasbench201(num_classes=1e9) --sample 2",
        "'num_classes' of nasbench201 is a whole number, not 1000000000.0",
    ),
    "seeds": (f"{SCORE} --seeds 1000000000", "seeds is an integer from 1 to 1000000"),
    "seeds of counts": (
        "score nasbench201 --proxies params --seeds 1000000000",
        "seeds",
    ),
    "batches": (
        "score nasbench201 --proxies xi_gsnr(batches=1000000000) --sample 2",
        r"inputs of nasbench201 are \d+ numbers .* batches is 1000000000, and at most",
    ),
    "draws": (
        "score nasbench201 --proxies cv(draws=1000000000) --sample 2",
        "draws is an integer from 1 to 1000000, not 1000000000",
    ),
    "sample": (
        "score mobilenetv2 --proxies params --sample 1000000000000",
        "sample is 1000000000000, which needs at least 512 TB .* would fit",
    ),
    "sample of cells": (
        "score nasbench_nlp --proxies params --sample 1000000000000",
        "sample is 1000000000000, which needs at least",
    ),
    "together": (
        "search nasbench201 --together 1000000000",
        "together is an integer from 1 to 1000000, not 1000000000",
    ),
    "seed": (
        "search nasbench201 --seed 99999999999999999999",
        r"seed must be in \[0, 2\*\*31\), not 99999999999999999999",
    ),
    "seeds of a search": (
        "search nasbench201 --seeds 1000000000",
        "seeds is an integer",
    ),
}


@pytest.mark.parametrize(("text", "message"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_what_cannot_fit_is_refused(tmp_path, capsys, text, message):
    """Before anything is drawn or traced, with the option and what would fit."""
    line = failed(capsys, command(*text.split(), "--out", tmp_path / "run"))
    assert re.search(message, line), line
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> Path:
    """A run of three architectures."""
    folder = tmp_path_factory.mktemp("scored") / "run"
    assert score_counts(folder, "--sample", 3) == 0
    return folder


def _truth(folder: Path, run: Path, column: str = "acc") -> str:
    """A table of the architectures of a run, as ``FILE:COLUMN``."""
    import pandas as pd

    table = pd.read_parquet(run)[["arch"]].assign(**{column: [1.0, 2.0, 4.0]})
    table.to_csv(folder / "truth.csv", index=False)
    return f"{folder / 'truth.csv'}:{column}"


TOO_MANY = {
    "bootstrap": "correlate {run} --truth {truth} --bootstrap 1000000000",
    "runs": "best-of {run} --truth {truth} --n 2 --runs 1000000000",
    "runs of searches": "simulate {toy} --runs 1000000000",
    "budget": "simulate {toy} --budget 1000000000",
    "runs of budgets": "simulate {toy} --runs 1000000 --budget 1000000",
}


@pytest.mark.parametrize("text", TOO_MANY.values(), ids=TOO_MANY)
def test_too_many_repetitions_are_refused(tmp_path, capsys, scored, text):
    full = tmp_path / "full.csv"
    rows = "".join(f"{SPACE.to_str(code)},1\n" for code in SPACE.enumerate())
    full.write_text(f"arch,acc\n{rows}")
    toy = f"nasbench201 --seen {full}:acc --truth {full}:acc"
    text = text.format(run=scored, truth=_truth(tmp_path, scored), toy=toy)
    line = failed(capsys, command(*text.split()))
    assert re.search("from 1 to 1000000|of memory", line)


MANIFESTS = {
    "null": ("null", "it is missing, not an object"),
    "list": ("[]", "it is an empty list, not an object"),
    "number": ("3", "it is a number"),
    "empty": ("{}", "its scorer is missing"),
    "scorer": ('{"scorer": [1]}', "its scorer is a list"),
    "space": ('{"scorer": {"space": ["a"]}}', "the space of its scorer is a list"),
    "proxies": (
        '{"scorer": {"space": "a", "proxies": 3}}',
        "the proxies of its scorer are a number, not a list of texts",
    ),
    "names": (
        '{"scorer": {"space": "a", "proxies": [[]]}}',
        "the proxies of its scorer hold an empty list, not texts",
    ),
    "seeds": (
        '{"scorer": {"space": "a", "proxies": ["a"], "seeds": [0.5]}}',
        "the seeds of its scorer hold a number, not integers",
    ),
    "fidelity": (
        '{"scorer": {"space": "a", "proxies": ["a"], "seeds": [0]}}',
        "its fidelity is missing",
    ),
    "deep": ("[" * 100_000, "cannot read"),
}
READERS = ("correlate", "matrix", "best-of", "ablate", "propose", "fsck")


@pytest.mark.parametrize(("text", "message"), MANIFESTS.values(), ids=MANIFESTS)
def test_a_manifest_of_another_shape(tmp_path, capsys, text, message):
    """The command that scores is among those that refuse it; no file is removed."""
    (tmp_path / "_manifest.json").write_text(text)
    truth = tmp_path / "truth.csv"
    truth.write_text(f"arch,acc\n{ARCHS[0]},1\n")
    for reader in READERS[: 5 if message == "cannot read" else 6]:
        more = () if reader in ("propose", "fsck") else ("--truth", f"{truth}:acc")
        line = failed(capsys, command(reader, tmp_path, *more))
        assert message in line
        assert "is no manifest of jaxproxy" in line or message == "cannot read"
    assert message in failed(capsys, score_counts(tmp_path, "--sample", 3))
    assert (tmp_path / "_manifest.json").read_text() == text


def test_a_part_restores_a_manifest_of_another_shape(tmp_path, capsys):
    assert score_counts(tmp_path, "--sample", 3) == 0
    good = (tmp_path / "_manifest.json").read_text()
    (tmp_path / "_manifest.json").write_text("[]")
    capsys.readouterr()
    assert command("fsck", tmp_path) == 0
    assert "no manifest of jaxproxy, a part has a copy" in capsys.readouterr().out
    assert (tmp_path / "_manifest.json").read_text() == good


def _refuse(monkeypatch, call: str, name: str = "") -> None:
    """The system refuses a call of paths of a name, or of all."""
    original = getattr(Path, call)

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if name and path.name != name:
            return original(path, *arguments, **options)
        raise PermissionError(13, os.strerror(13), str(path))

    monkeypatch.setattr(Path, call, refuse)


@pytest.mark.parametrize("call", ["open", "is_file"])
def test_a_truth_that_may_not_be_read(tmp_path, capsys, scored, monkeypatch, call):
    truth = _truth(tmp_path, scored)
    _refuse(monkeypatch, call, "truth.csv")
    line = failed(capsys, command("correlate", scored, "--truth", truth))
    assert re.search("cannot read .*truth.csv: Permission denied", line)


@pytest.mark.parametrize("call", ["iterdir", "exists"])
def test_a_folder_that_may_not_be_searched(capsys, scored, monkeypatch, call):
    _refuse(monkeypatch, call)
    line = failed(capsys, command("fsck", scored))
    assert "Permission denied" in line


def test_other_failures_of_the_system_are_one_line():
    """But faults of this package keep their traceback."""
    assert one_line(PermissionError(13, "Permission denied", "a\nb")) == (
        "a b: Permission denied"
    )
    assert "out of memory" in str(one_line(MemoryError("Unable to allocate 9 GiB")))
    assert "out of memory" in str(one_line(RuntimeError("RESOURCE_EXHAUSTED: 9 GiB")))
    assert one_line(RuntimeError("a fault")) is None
    assert one_line(RecursionError("a fault")) is None
    assert len(str(one_line(ValueError("x" * 10**6)))) < 5000


def _npz(path: Path, x: np.ndarray) -> Path:
    np.savez(path, x=x)
    return path


@pytest.mark.parametrize("side", [1, 2, 6])
def test_images_of_few_pixels(tmp_path, capsys, side):
    """Images have a resolution of their own, which a space may not take."""
    x = np.random.default_rng(0).random((4, side, side, 3))
    images = _npz(tmp_path / "images.npz", x)
    more = ("--proxies", "snip(inputs=images)", "--images", images)
    code = command("score", "nasbench201", *more, "--out", tmp_path / "run")
    message = f"images of {side} pixels: .* must be a multiple of 4, not {side}"
    assert re.search(message, failed(capsys, code))


@pytest.mark.parametrize("option", ["--images", "--archs"])
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_devices_are_no_files(tmp_path, capsys, option, device):
    if not Path(device).exists():
        pytest.skip(f"there is no {device}")
    code = score_counts(tmp_path / "run", option, device)
    assert f"cannot read {device}: it is no regular file" in failed(capsys, code)


@pytest.mark.parametrize("shape", [(10**9, 32, 32, 3), (2**62, 2, 2, 3)])
def test_an_archive_is_measured_before_it_is_read(tmp_path, capsys, shape):
    """A header of a few bytes may promise any number of images."""
    header = io.BytesIO()
    described = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, described)
    with zipfile.ZipFile(tmp_path / "images.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    code = score_counts(tmp_path / "run", "--images", tmp_path / "images.npz")
    assert re.search("x.npy is .* needs .* of memory, and there", failed(capsys, code))


@pytest.mark.parametrize("value", ["inf", "-inf", "1e999"])
def test_an_infinite_truth_is_found_before_anything_is_scored(
    tmp_path, capsys, scored, value
):
    truth = tmp_path / "truth.csv"
    truth.write_text(f"arch,acc\n{ARCHS[0]},1\n{ARCHS[1]},{value}\n")
    code = score_counts(tmp_path / "run", "--sample", 3, "--truth", f"{truth}:acc")
    line = failed(capsys, code)
    assert f"'{value}' in line 3 of {truth} is not finite" in line
    assert not (tmp_path / "run").exists()
    told = command("propose", scored, "--told", f"{truth}:acc")
    assert "line 3 of" in failed(capsys, told)


def test_a_truth_of_another_space_is_found_before_anything_is_scored(tmp_path, capsys):
    truth = tmp_path / "truth.csv"
    truth.write_text("arch,acc\n01201201,1\n")
    code = score_counts(tmp_path / "run", "--sample", 3, "--truth", f"{truth}:acc")
    line = failed(capsys, code)
    assert "'acc' has none of the architectures of nasbench201" in line
    assert f"line 2 of {truth}: '01201201'" in line
    assert not (tmp_path / "run").exists()
    truth.write_text(f"arch,acc\n{SPACE.to_str(CODES[0])},1\n")
    code = score_counts(tmp_path / "run", "--sample", 3, "--truth", f"{truth}:acc")
    line = failed(capsys, code)
    assert "'acc' has none of the 3 architectures of this request" in line
    assert f"(--truth {truth}:acc)" in line


def test_names_in_figures_are_text(tmp_path, capsys, scored):
    """A dollar begins no formula."""
    pytest.importorskip("matplotlib")
    for column in (r"a$\frac$", "$x^2$", "a_{b"):
        truth = _truth(tmp_path, scored, column)
        figure = tmp_path / "figure.svg"
        assert command("matrix", scored, "--truth", truth, "--plot", figure) == 0
        assert figure.stat().st_size
        figure.unlink()


def test_names_in_all_figures_are_text(tmp_path):
    pytest.importorskip("matplotlib")
    from jaxproxy.cli import _plot as plot
    from jaxproxy.search import Curves
    from jaxproxy.spaces import Graph

    name, figure = r"a$\frac$", tmp_path / "figure.svg"
    record: Any = SimpleNamespace(proxy=name, truth=name, tau=0.5, n=3, intervals={})
    plot.plot_ablation([record], figure)
    plot.plot_matrix([name], [[1.0]], name, figure)
    curve = Curves(np.ones((2, 3)), np.ones((2, 3)))
    plot.plot_curves({(name, name): curve}, figure)
    plot.plot_architecture(Graph((name, name), ((0, 1, name),)), name, figure)


def test_long_names_are_cut_in_a_drawing(tmp_path, capsys):
    """The title of a recipe has its nodes' names, which may be of any length."""
    pytest.importorskip("matplotlib")
    state = {"op": "linear", "input": ["x", "h_prev_0", "n" * 50_000]}
    recipe = {"n" * 50_000: {"op": "linear", "input": ["x"]}, "h_new_0": state}
    out = tmp_path / "figure.svg"
    assert command("draw", "nasbench_nlp", json.dumps(recipe), "--out", out) == 0
    assert "nnn..." not in capsys.readouterr().out
    assert out.stat().st_size < 200_000


class _Gone(io.StringIO):
    """Standard output whose reader has left."""

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def fileno(self) -> int:
        return os.open(os.devnull, os.O_WRONLY)


def test_a_figure_is_written_before_anything_is_printed(tmp_path, scored, monkeypatch):
    """``jaxproxy matrix RUN --plot FILE | head -1``."""
    pytest.importorskip("matplotlib")
    figure = tmp_path / "figure.png"
    monkeypatch.setattr(sys, "stdout", _Gone())
    with pytest.raises(SystemExit):  # Rich's, with 1
        main(["matrix", str(scored), "--plot", str(figure)])
    assert figure.stat().st_size


def test_what_controls_a_terminal_is_escaped(tmp_path, capsys):
    run = tmp_path / "a\x1b[31mb\nc\u202e"
    assert score_counts(run, "--sample", 3) == 0
    printed = capsys.readouterr()
    assert r"a\x1b[31mb\nc\u202e" in printed.out
    truth = _truth(tmp_path, run, "acc\x1b]0;title\x07")
    assert command("correlate", run, "--truth", truth) == 0
    printed = capsys.readouterr()
    assert r"acc\x1b]0;title\x07: 3 architectures" in printed.out
    assert not {"\x1b", "\x07", "\u202e"} & {*printed.out}
    line = failed(capsys, command("matrix", tmp_path / "no\x1b[31m"))
    assert r"no\x1b[31m is not a run" in line


def test_what_an_encoding_lacks_is_escaped(tmp_path):
    """Sizes are written as mean ± deviation, which ASCII does not have."""
    arguments = [sys.executable, "-m", "jaxproxy", "matrix", tmp_path / "\u00e9"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    found = subprocess.run(
        arguments, env=environment, capture_output=True, text=True, timeout=300
    )
    assert found.returncode == 2
    assert r"\xe9 is not a run" in found.stderr


def test_platforms_that_are_not_there(tmp_path):
    """One line that says which there are."""
    arguments = [
        "score",
        "nasbench201",
        "--proxies",
        "params",
        "--sample",
        "2",
        "--out",
    ]
    found = subprocess.run(
        [sys.executable, "-m", "jaxproxy", *arguments, tmp_path / "run"],
        env=os.environ | {"JAX_PLATFORMS": "nonsense"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert found.returncode == 2
    (line,) = found.stderr.splitlines()
    assert "JAX cannot start JAX_PLATFORMS=nonsense on this machine" in line
    assert re.search(r"choose from \[.*'cpu'", line)


def test_only_errors_of_platforms_are_taken_for_such(monkeypatch):
    forgotten: list[int] = []
    monkeypatch.setattr(startup.backend, "clear_backends", lambda: forgotten.append(1))
    with pytest.raises(RuntimeError, match="a fault"), startup.known_platforms():
        raise RuntimeError("a fault")
    assert not forgotten
    missing = RuntimeError("Unable to initialize backend 'tpu': no libtpu.so")
    expected = pytest.raises(ValueError, match=r"choose from \[.*'cpu'")
    with expected, startup.known_platforms():
        raise missing
    assert forgotten


def test_many_variants_are_announced():
    """Compiling them takes minutes, in which nothing else is printed."""

    def told(num: int) -> str:
        scorer = SimpleNamespace(
            space=SPACE, num_devices=1, proxies=[parse_proxy("snip")] * num
        )
        return " ".join(request(cast(Any, scorer), 3, False))

    assert "10000 proxies are compiled as one program" in told(10_000)
    assert "compiled" not in told(10)


NAMES = [f"intrain(layers=relu,dead=live,rows={'x' * 20}{i})" for i in range(6)]


def _shown(report: Report, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, markup=False, highlight=False).print(report)
    return out.getvalue()


def test_a_narrow_terminal_has_a_record_for_each_row():
    """Nothing is cut: names and numbers are whole, each number beside its name."""
    report = Report("best", "", *NAMES, "architecture")
    values = [f"{number}.25" for number in range(6)]
    report.add_row("1", *values, ARCHS[0])
    narrow, wide = _shown(report, 80), _shown(report, 1000)
    lines = [line.rstrip() for line in narrow.split("\n")]
    for name, value in zip(NAMES, values, strict=True):
        assert f"    {name}: {value}" in lines
        assert name in wide
    assert ARCHS[0] in narrow.replace("\n", "")
    assert max(map(len, lines)) <= 80
    assert len([line for line in wide.split("\n") if line.strip()]) == 4


def test_a_record_has_the_numbers_of_a_row():
    report = Report("acc", "proxy", "valid", "cover-\nage %", *["tau\n10 %"] * 9)
    report.add_row(NAMES[0], "3", "100.0", *["0.5\n0.25\n0.75"] * 9)
    narrow = _shown(report, 80)
    assert NAMES[0] in narrow
    assert "valid: 3, coverage %: 100.0, tau 10 %: 0.5 (0.25 to 0.75)" in narrow
    assert narrow.count("0.5 (0.25 to 0.75)") == 9


def test_a_table_that_fits_is_a_table():
    report = Report("scores", "proxy", "lowest", "highest")
    report.add_row("snip", "1", "2")
    assert re.search(r"snip +1 +2", _shown(report, 80))
