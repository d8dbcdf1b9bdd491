"""Mistakes and accidents: one line on standard error and exit code 2."""

import os
import re
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from helpers.command_line import ARCHS, SPACE, command, failed, score_counts

from jaxproxy.cli._words import request
from jaxproxy.proxies import parse_proxy
from jaxproxy.runs import _files as files

BAD_ARCHS = {
    "malformed": ("|nor_conv_3x3~0|", "line 1 of .*has 1 nodes, not 3"),
    "operation": (ARCHS[0].replace("~0", "x~0", 1), "unknown operation .*choose from"),
    "nodes": (ARCHS[0] + "+|none~0|", "has 4 nodes, not 3"),
    "second line": (f"{ARCHS[0]}\n\nnonsense", "line 3 of .*'nonsense'"),
    "empty": ("\n  \n", "has no architectures"),
}


@pytest.mark.parametrize(("text", "message"), BAD_ARCHS.values(), ids=BAD_ARCHS)
def test_wrong_archs(tmp_path, capsys, text, message):
    listing = tmp_path / "archs.txt"
    listing.write_text(text)
    line = failed(capsys, score_counts(tmp_path / "run", "--archs", listing))
    assert re.search(message, line)
    assert not (tmp_path / "run").exists()


def _images(**changes: object) -> dict[str, np.ndarray]:
    x = np.random.default_rng(0).random((4, 8, 8, 3)).astype(np.float32)
    x[2, 0, 0, 0] = changes.get("pixel", 0.5)
    return {"x": x}


BAD_IMAGES = {
    "nan": (
        _images(pixel=np.nan),
        r"image 2 of .* has NaN or infinity \(1 such of 4\)",
    ),
    "infinite": (_images(pixel=np.inf), "image 2 of .* has NaN or infinity"),
    "no x": ({"images": np.zeros((2, 8, 8, 3))}, r"no array 'x', only \['images'\]"),
    "type": ({"x": np.zeros((2, 8, 8, 3), np.int64)}, "uint8 or float, not int64"),
    "shape": ({"x": np.zeros((2, 3, 8, 8))}, r"must be \[N, R, R, 3\], not \[2, 3"),
    "channels first": (
        {"x": np.zeros((2, 3, 8, 8))},
        r"channels come last here: give x.transpose\(0, 2, 3, 1\)",
    ),
    "grey": ({"x": np.zeros((2, 8, 8))}, "repeat grey images to three channels"),
    "labels": (
        {**_images(), "y": np.arange(3)},
        r"y in .* must be integers \[4\], \[4, 1\] or one-hot .* not int64\[3\]",
    ),
    "soft labels": (
        {**_images(), "y": np.array([[1, 0], [0, 1], [0.5, 0.5], [1, 0]])},
        r"y in .* one-hot \[4, classes\]; row 2 is \[0.5, 0.5\]",
    ),
    "one-hot of other classes": (
        {**_images(), "y": np.eye(4, dtype=int)},
        r"one-hot labels must be \[4, 10\], not \[4, 4\]",
    ),
    "constant": ({"x": np.ones((2, 8, 8, 3))}, "channel 0 .* has one value only"),
    "pickle": ({"x": np.array([{}])}, "cannot read .*allow_pickle"),
}


@pytest.mark.parametrize(("arrays", "message"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_wrong_images(tmp_path, capsys, arrays, message):
    path = tmp_path / "images.npz"
    np.savez(path, **arrays)
    options = ("--proxies", "epsinas", "--images", path, "--out", tmp_path / "run")
    assert re.search(message, failed(capsys, command("score", "nasbench201", *options)))
    assert not (tmp_path / "run").exists()


MISTAKES = {
    "space": (
        "score nasbench202",
        r"unknown space 'nasbench202'; choose .*nasbench201",
    ),
    "proxy": ("score nasbench201 --proxies nope", "unknown proxy 'nope'; choose from"),
    "variant": (
        "score nasbench201 --proxies intrain(layers=nope)",
        "'nope'.*choose from .*'conv'",
    ),
    "option": (
        "score nasbench201 --proxies intrain(nope=1)",
        "unknown option 'nope=1' of intrain; choose from .*'layers'",
    ),
    "no proxy": ("score nasbench201 --proxies", "at least one proxy"),
    "twice": ("score nasbench201 --proxies params params", "each once"),
    "fidelity": ("score nasbench201 --resolution 10", "resolution .* of 4, not 10"),
    "lanes": ("score nasbench201 --lanes 0", "lanes must be an int from 1 on .* 0"),
    "precision": (
        "score nasbench201 --precision bfloat16",
        "no products of precision 'bfloat16'; choose from .'float32'.",
    ),
    "seeds": ("score nasbench201 --seeds 0", "seeds"),
    "classes": (
        "score nasbench201 --num-classes 0",
        "num_classes is an integer from 1",
    ),
    "devices": ("score nasbench201 --devices 5", "devices=5, but .* has 4"),
    "threads": (
        "score nasbench201 --devices 99999",
        r"devices is 99999; at most 8 for each of the \d+ cores, \d+, would start",
    ),
    "threads of a search": ("search nasbench201 --devices 2147483648", "at most 8 for"),
    "no devices": ("score nasbench201 --devices 0", "at least 1, not 0"),
    "too many": (
        "score nasbench201 --sample 20000",
        "cannot sample 20000 of the 15625",
    ),
    "both": ("score nasbench201 --all --sample 3", "only one of --sample, --all"),
    "flags": ("score nasbench201 --deduplicate --no-deduplicate", "not both"),
    "no archs": (
        "score nasbench201 --archs absent",
        "cannot read absent: No such file",
    ),
    "no images": ("score nasbench201 --images absent", "cannot read absent: No such"),
    "not npz": ("score nasbench201 --images pyproject.toml", "not an npz file"),
    "truth": (
        "score nasbench201 --truth absent.csv:acc",
        "there is no file 'absent.csv'",
    ),
    "no truth": ("correlate absent --truth", "give at least one truth"),
    "no run": ("correlate absent --truth analog", "absent is not a run"),
    "no truth to ablate": ("ablate absent --truth", "give at least one truth"),
    "no run to ablate": ("ablate absent --truth analog", "absent is not a run"),
    "no matrix": ("matrix absent", "absent is not a run"),
    "no folder": ("fsck absent", "absent"),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(tmp_path, capsys, text, message, pytestconfig, monkeypatch):
    """One line that names the value and the choices, and no folder left behind."""
    monkeypatch.chdir(pytestconfig.rootpath)
    out = ("--out", tmp_path / "run") if text.startswith(("score", "search")) else ()
    assert re.search(message, failed(capsys, command(*text.split(), *out)))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["", "score", "score nasbench201", "list --nope", "x"])
def test_usage(text, capsys):
    with pytest.raises(SystemExit) as stop:
        command(*text.split())
    assert stop.value.code == 2
    assert "jaxproxy" in capsys.readouterr().err


def test_other_settings_in_the_same_folder(tmp_path, capsys):
    assert score_counts(tmp_path, "--sample", 3) == 0
    capsys.readouterr()
    line = failed(capsys, score_counts(tmp_path, "--sample", 3, "--width", 8))
    assert "scorer.fidelity.width is 4 there and 8 here" in line
    assert "archs_sha256" in failed(capsys, score_counts(tmp_path, "--sample", 4))


def test_a_folder_of_something_else(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("")
    line = failed(capsys, score_counts(tmp_path, "--sample", 3))
    assert "not empty and not a run" in line


def test_unreadable_part_and_fsck(tmp_path, capsys):
    assert score_counts(tmp_path, "--sample", 3) == 0
    part = tmp_path / "part-000000.parquet"
    part.write_bytes(part.read_bytes()[:-50])
    capsys.readouterr()
    line = failed(capsys, command("correlate", tmp_path, "--truth", "analog"))
    assert "cannot read" in line
    assert "part-000000.parquet" in line
    assert "part-000000" in failed(capsys, score_counts(tmp_path, "--sample", 3))
    assert command("fsck", tmp_path, "--dry-run") == 1
    assert "part-000000.parquet: unreadable" in capsys.readouterr().out
    assert command("fsck", tmp_path) == 0
    assert "scores them again" in capsys.readouterr().out
    assert command("fsck", tmp_path, "--dry-run") == 0
    assert "nothing wrong" in capsys.readouterr().out
    assert score_counts(tmp_path, "--sample", 3) == 0
    assert len(pd.read_parquet(tmp_path)) == 3


def test_full_disk(tmp_path, capsys, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(files.os, "fsync", full)
    line = failed(capsys, score_counts(tmp_path / "run", "--sample", 3))
    assert "No space left on device" in line


def test_truth_of_other_architectures(tmp_path, capsys):
    assert score_counts(tmp_path / "run", "--sample", 3) == 0
    (tmp_path / "other.csv").write_text("arch,acc\nsomething,50\n")
    capsys.readouterr()
    truth = f"{tmp_path / 'other.csv'}:acc"
    line = failed(capsys, command("correlate", tmp_path / "run", "--truth", truth))
    assert "'acc' has none of the architectures of nasbench201: line 2 of" in line


def test_images_that_nobody_looks_at_are_mentioned():
    """Proxies take them by their meters or by programs of their own."""

    def told(name: str, with_images: bool = True) -> str:
        scorer = SimpleNamespace(
            space=SPACE, num_devices=1, proxies=[parse_proxy(name)]
        )
        return " ".join(request(cast(Any, scorer), 3, with_images))

    assert "no proxy uses the images" in told("snip")
    assert "no proxy uses the images" not in told("snip(inputs=images)")
    assert "no proxy uses the images" not in told("epsinas")
    assert "64 grey images, dark to light, for epsinas" in told("epsinas", False)
