"""Run folders survive accidents, and say in one line what is wrong."""

import errno
import json
import logging
import os
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from jaxproxy.runs import Run, StoreError
from jaxproxy.runs import _files as files

MANIFEST = {
    "format": 1,
    "scorer": {
        "space": "toy",
        "fidelity": {"width": 4},
        "seeds": (0, 1),
        "proxies": ["a", "b"],
        "passes": [{"name": "a"}, {"name": "b", "x": 1.5}],
    },
    "environment": {"host": "here", "versions": {"jax": "0.10.2"}},
}


def rows(*index: int) -> pa.Table:
    """Scores of some architectures."""
    return pa.table({"index": list(index), "a": [i / 7 for i in index]})


def readings(*index: int) -> pa.Table:
    """Readings of some classes."""
    return pa.table({"class_arch": [f"arch{i}" for i in index]})


@pytest.fixture
def run(tmp_path) -> Run:
    """A run of two parts."""
    run = Run.create(tmp_path / "run", MANIFEST)
    run.write_part(0, rows(3, 1), readings(1))
    run.write_part(1, rows(0, 2), readings(2))
    return run


def truncate(file: Path) -> None:
    """Removes the last third of a file."""
    data = file.read_bytes()
    file.write_bytes(data[: 2 * len(data) // 3])


def test_parts_become_sorted_tables(run):
    """Rows in the order of the request, columns as asked."""
    assert run.done() == {0, 1}
    assert run.table() == rows(0, 1, 2, 3)
    assert run.table(columns=["a"]) == rows(0, 1, 2, 3).select(["a"])
    assert run.readings() == readings(1, 2)
    assert Run.open(str(run.path)).table() == run.table()
    with pytest.raises(StoreError, match=r"'b'; choose from \['a', 'index'\]"):
        run.table(["b"])


def test_dataset_readers_see_the_scores_only(run):
    """Neither the manifest, nor the readings, nor temporary files."""
    (run.path / f".part-000002.parquet.{'0' * 32}.tmp").write_bytes(b"PAR1")
    for table in (
        ds.dataset(run.path).to_table(),
        pa.Table.from_pandas(pd.read_parquet(run.path)),
    ):
        assert table.sort_by("index").to_pydict() == rows(0, 1, 2, 3).to_pydict()


def test_writing_a_part_again_replaces_it(run):
    """As two processes that score the same part do."""
    run.write_part(1, rows(0, 2), readings(2))
    assert run.table() == rows(0, 1, 2, 3)
    assert run.fsck() == []


def test_a_run_without_results(tmp_path):
    """There is no table yet, whose columns nobody knows."""
    run = Run.create(tmp_path / "new" / "run", MANIFEST)
    assert run.done() == set()
    with pytest.raises(StoreError, match="no finished part yet"):
        run.table()
    run.write_part(0, rows(0))
    with pytest.raises(StoreError, match="keeps no readings"):
        run.readings()
    assert run.fsck() == []


def test_equal_manifest_resumes(run, caplog):
    """Tuples are lists; another environment is noted."""
    caplog.set_level(logging.INFO, "jaxproxy")
    assert Run.create(run.path, MANIFEST).done() == {0, 1}
    assert not caplog.messages
    elsewhere = {"host": "here", "versions": {"jax": "0.12.0"}}
    other = Run.create(run.path, MANIFEST | {"environment": elsewhere})
    assert "environment.versions.jax is '0.10.2' there and '0.12.0' here" in caplog.text
    assert other.manifest == json.loads(json.dumps(MANIFEST))


def test_different_manifest_is_refused(run):
    """With each key that differs, and both values."""
    passes = [{"name": "a"}, {"name": "b", "x": 2.5}]
    scorer = MANIFEST["scorer"] | {"seeds": (0, 2), "passes": passes}
    other = MANIFEST | {"scorer": scorer, "new": True}
    with pytest.raises(ValueError, match="other settings") as caught:
        Run.create(run.path, other)
    message = str(caught.value)
    assert "scorer.seeds is [0, 1] there and [0, 2] here" in message
    assert "scorer.passes.1.x is 1.5 there and 2.5 here" in message
    assert "new is '(absent)' there and True here" in message
    assert "format" not in message
    assert "\n" not in message


def test_foreign_folders_are_refused(tmp_path):
    """Nothing is written beside files of the user."""
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(StoreError, match=r"'thesis\.tex'"):
        Run.create(tmp_path, MANIFEST)
    assert os.listdir(tmp_path) == ["thesis.tex"]
    for use in (Run.open, lambda path: Run(path).fsck()):
        with pytest.raises(StoreError, match="is not a run"):
            use(tmp_path)
    with pytest.raises(StoreError, match=r"thesis\.tex: File exists"):
        Run.create(tmp_path / "thesis.tex", MANIFEST)


def test_killed_while_creating(tmp_path):
    """A leftover temporary file does not make a folder foreign."""
    (tmp_path / f"._manifest.json.{'a' * 32}.tmp").write_text("{")
    run = Run.create(tmp_path, MANIFEST)
    assert run.fsck() == [f"._manifest.json.{'a' * 32}.tmp: leftover temporary file"]
    assert os.listdir(tmp_path) == ["_manifest.json"]


def test_fsck_removes_torn_parts_with_their_readings(run):
    """Whatever is left is consistent."""
    truncate(run.path / "part-000000.parquet")
    with pytest.raises(StoreError, match=r"cannot read .*part-000000.parquet .*fsck"):
        run.table()
    found = [
        "part-000000.parquet: unreadable",
        "_readings/part-000000.parquet: readings without their scores",
    ]
    assert run.fsck(delete=False) == found
    assert run.done() == {0, 1}
    assert run.fsck() == found
    assert run.fsck() == []
    assert run.done() == {1}
    assert run.table() == rows(0, 2)
    assert run.readings() == readings(2)


@pytest.mark.parametrize("accident", [truncate, Path.unlink])
def test_fsck_removes_scores_without_readings(run, accident):
    """The part has to be scored again to get them."""
    accident(run.path / "_readings" / "part-000001.parquet")
    with pytest.raises(StoreError, match=r"_readings.part-000001.parquet .*fsck"):
        run.readings()
    assert "part-000001.parquet: scores without their readings" in run.fsck()
    assert run.fsck() == []
    assert run.done() == {0}
    assert run.readings() == readings(1)


def test_a_flipped_bit_is_noticed(run):
    """Pages have checksums."""
    file = run.path / "part-000000.parquet"
    data = bytearray(file.read_bytes())
    data[data.index(rows(3)["a"].chunk(0).buffers()[1].to_pybytes()[:8])] ^= 1
    file.write_bytes(data)
    with pytest.raises(StoreError, match="fsck"):
        run.table()
    assert len(run.fsck()) == 2


def test_failing_system_is_no_damage(run):
    """A part that cannot be opened is not deleted: it may be fine."""
    file = run.path / "part-000001.parquet"
    file.rename(run.path / "kept")
    file.symlink_to(file)  # fails to open even for root
    with pytest.raises(StoreError, match="Too many levels of symbolic links"):
        run.fsck()
    file.unlink()
    (run.path / "kept").rename(file)
    assert run.table() == rows(0, 1, 2, 3)
    assert run.readings() == readings(1, 2)


def test_fsck_restores_the_manifest_from_a_part(run):
    """Every part has a copy, which also says what a lone file is."""
    truncate(run.path / "_manifest.json")
    with pytest.raises(StoreError, match=r"cannot read .*_manifest.json .*fsck"):
        Run.open(run.path)
    damaged = Run(run.path)
    assert damaged.fsck() == ["_manifest.json: unreadable, a part has a copy"]
    assert Run.open(run.path).manifest == json.loads(json.dumps(MANIFEST))
    assert Run.create(run.path, MANIFEST).done() == {0, 1}


def test_fsck_clears_a_manifest_that_nothing_restores(tmp_path):
    """Then the run starts again."""
    Run.create(tmp_path, MANIFEST)
    (tmp_path / "_manifest.json").write_text("")
    assert Run(tmp_path).fsck() == ["_manifest.json: unreadable"]
    assert Run.create(tmp_path, MANIFEST).done() == set()


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
@pytest.mark.parametrize("writes", [0, 1])
def test_failed_write_changes_nothing(run, monkeypatch, call, code, writes):
    """Neither a full disk nor missing permission, at the readings or at the scores."""
    real, calls = getattr(os, call), []

    def fail(*arguments):
        calls.append(arguments)
        if len(calls) > writes:
            raise OSError(code, os.strerror(code))
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, call, fail)
        with pytest.raises(StoreError, match=os.strerror(code)) as caught:
            run.write_part(2, rows(4), readings(4))
    assert "\n" not in str(caught.value)
    assert not list(run.path.rglob("*.tmp"))
    assert run.table() == rows(0, 1, 2, 3)
    assert run.readings() == readings(1, 2)
    run.write_part(2, rows(4), readings(4))
    assert run.fsck() == []
    assert run.table() == rows(0, 1, 2, 3, 4)
