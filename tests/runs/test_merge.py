"""One file of all parts: what it holds, and that nothing is deleted for less."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxproxy.runs import MergedRun, Run, StoreError, merge_run, open_run
from jaxproxy.runs import _merge as merging

MANIFEST = {
    "format": 1,
    "scorer": {
        "space": "toy",
        "fidelity": {"width": 4},
        "seeds": [0, 1],
        "proxies": ["a"],
    },
    "num_archs": 20,
}
SPECIAL = [np.nan, -0.0, 0.0, np.inf, -np.inf, 1e-310, 1 / 3]


def rows(index: list[int]) -> pa.Table:
    """Scores of some architectures, such as are told apart by their bits alone."""
    values = [SPECIAL[i % len(SPECIAL)] for i in index]
    return pa.table(
        {
            "index": pa.array(index, pa.int64()),
            "arch": [f"arch {i}" for i in index],
            "a": values,
            "a_valid": [i % 3 > 0 for i in index],
            "a_seeds": [[v, v + i] for v, i in zip(values, index, strict=True)],
        }
    )


def readings(classes: list[int]) -> pa.Table:
    """Readings of some classes, of a fixed size."""
    values = np.arange(2 * len(classes), dtype=np.float32)
    values[::3] = np.nan
    return pa.table(
        {
            "class_arch": [f"arch {i}" for i in classes],
            "m": pa.FixedSizeListArray.from_arrays(pa.array(values), 2),
        },
        metadata={"jaxproxy_meters": '{"m": {"slots": [], "shape": [2]}}'},
    )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """20 architectures, dealt to three parts."""
    run = Run.create(tmp_path / "run", MANIFEST)
    for number in range(3):
        index = [*range(number, 20, 3)]
        run.write_part(number, rows(index), readings(index[:2]))
    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("group", [7, 20, 100])
def test_a_file_has_what_the_parts_have(
    run: Run, tmp_path: Path, group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the request, bit by bit, in groups of any size."""
    monkeypatch.setattr(merging, "ROWS", group)
    out = tmp_path / "out.parquet"
    merged = merge_run(run, str(out))
    assert merged == (out, tmp_path / "out_readings.parquet", 20, 3, 0)
    table = pq.read_table(out)
    assert table["index"].to_pylist() == [*range(20)]
    assert table["arch"].to_pylist() == [f"arch {i}" for i in range(20)]
    found = table["a"].to_numpy().view(np.int64)
    expected = np.array([SPECIAL[i % 7] for i in range(20)]).view(np.int64)
    np.testing.assert_array_equal(found, expected)
    assert table["a_seeds"].to_pylist()[3] == [np.inf, np.inf]
    assert table["a_seeds"].to_pylist()[6] == [1 / 3, 1 / 3 + 6]
    assert pq.ParquetFile(out).num_row_groups == -(-20 // group)
    # the parts are as they were, and there are no other files
    assert run.done() == {0, 1, 2}
    assert names(tmp_path) == ["out.parquet", "out_readings.parquet", "run"]
    frame, parts = pd.read_parquet(out), pd.read_parquet(run.path)
    assert [*frame.columns] == [*parts.columns]
    pd.testing.assert_frame_equal(
        frame, parts.sort_values("index").reset_index(drop=True)
    )


def test_a_file_is_opened_as_the_run(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    merge_run(run, out)
    opened = open_run(out)
    assert isinstance(opened, MergedRun)
    assert opened.manifest == run.manifest
    assert opened.done() == {0}
    assert merging.same_bits(opened.table(), run.table())
    assert merging.same_bits(opened.scores(), opened.part(0))
    assert opened.table(["a", "arch"]).column_names == ["a", "arch"]
    assert merging.same_bits(
        opened.readings().combine_chunks(), run.readings().combine_chunks()
    )
    assert opened.readings().schema.metadata == run.readings().schema.metadata
    with pytest.raises(StoreError, match=r"unknown column 'b' .* \['a', 'a_seeds'"):
        opened.table(["b"])
    with pytest.raises(StoreError, match="unknown column 'b'"):
        [*opened.readings_parts(["b"])]
    with pytest.raises(StoreError, match="no part 1"):
        opened.part(1)
    with pytest.raises(StoreError, match="to which nothing is added"):
        opened.write_part(1, rows([1]))
    with pytest.raises(StoreError, match="fsck is for run folders"):
        opened.fsck()
    (tmp_path / "out_readings.parquet").unlink()
    with pytest.raises(StoreError, match="no readings beside it"):
        opened.readings()


def test_other_files_are_no_runs(tmp_path: Path) -> None:
    table = tmp_path / "table.parquet"
    pq.write_table(pa.table({"a": [1]}), table)
    with pytest.raises(StoreError, match="is a table, and none of a merged run"):
        open_run(table)
    table.write_bytes(b"PAR1 and no more")
    with pytest.raises(StoreError, match="cannot read"):
        open_run(table)


def test_parts_are_deleted_when_asked_for(run: Run, tmp_path: Path) -> None:
    before = run.table()
    merged = merge_run(run, tmp_path / "out.parquet", delete_parts=True)
    assert merged.deleted == 6
    assert names(run.path) == ["_manifest.json", "_readings"]
    assert not names(run.path / "_readings")
    assert merging.same_bits(open_run(merged.out).table(), before)


@pytest.mark.parametrize("column", ["a", "arch", "a_valid", "a_seeds", "index"])
def test_nothing_is_kept_or_deleted_if_what_is_read_back_differs(
    run: Run, tmp_path: Path, column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One value of one row is changed on its way to the disk."""
    write = pq.ParquetWriter.write_table

    def damaging(self: pq.ParquetWriter, table: pa.Table, **options: int) -> None:
        if column in table.column_names:
            place = table.column_names.index(column)
            values = table[column].to_pylist()
            wrong = {"a": -0.0, "arch": "arch 3", "a_valid": False, "index": 21}
            values[2] = wrong.get(column, [0.0, 0.0])
            changed = pa.array(values, table.schema.field(column).type)
            table = table.set_column(place, table.schema.field(column), changed)
        write(self, table, **options)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", damaging)
    assert rows([2])["a"].to_pylist() == [0.0]
    with pytest.raises(StoreError, match="is not what was written to it"):
        merge_run(run, tmp_path / "out.parquet", delete_parts=True)
    assert names(tmp_path) == ["run"]
    assert run.done() == {0, 1, 2}
    assert len(run.readings()) == 6


def test_an_unfinished_run_is_not_merged(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    (run.path / "part-000001.parquet").unlink()
    with pytest.raises(StoreError, match="has 13 of 20 architectures"):
        merge_run(run, out, delete_parts=True)
    run.write_part(1, rows([0, *range(1, 20, 3)]), readings([1, 4]))
    with pytest.raises(StoreError, match="architecture 0 in several parts"):
        merge_run(run, out, delete_parts=True)
    empty = Run.create(tmp_path / "empty", MANIFEST)
    with pytest.raises(StoreError, match="no finished part yet"):
        merge_run(empty, out)
    assert run.done() == {0, 1, 2}
    assert names(tmp_path) == ["empty", "run"]


def test_a_damaged_part_or_other_columns_stop_a_merge(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    index = [*range(1, 20, 3)]
    run.write_part(1, rows(index).drop_columns("a_valid"), readings(index[:2]))
    with pytest.raises(StoreError, match=r"part 1 of .* has other columns"):
        merge_run(run, out)
    part = run.path / "part-000001.parquet"
    part.write_bytes(part.read_bytes()[:-200])
    with pytest.raises(StoreError, match="cannot read"):
        merge_run(run, out)
    assert names(tmp_path) == ["run"]


def test_files_that_are_there_are_never_replaced(run: Run, tmp_path: Path) -> None:
    for name in ("out.parquet", "out_readings.parquet"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(StoreError, match=f"{name} is there already"):
            merge_run(run, tmp_path / "out.parquet", delete_parts=True)
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
    with pytest.raises(StoreError, match=r"must end in .parquet"):
        merge_run(run, tmp_path / "out.csv")
    with pytest.raises(StoreError, match="is no folder"):
        merge_run(run, tmp_path / "none" / "out.parquet")


def test_a_full_disk_leaves_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        merge_run(run, tmp_path / "out.parquet", delete_parts=True)
    assert names(tmp_path) == ["run"]
    assert run.done() == {0, 1, 2}


def test_a_search_does_not_know_how_many_it_scored(tmp_path: Path) -> None:
    """And has gaps where nothing was allowed."""
    manifest = {key: value for key, value in MANIFEST.items() if key != "num_archs"}
    run = Run.create(tmp_path / "run", manifest)
    run.write_part(0, rows([0, 3]))
    run.write_part(2, rows([5]))
    merged = merge_run(run, tmp_path / "out.parquet")
    assert merged == (tmp_path / "out.parquet", None, 3, 2, 0)
    assert pq.read_table(merged.out)["index"].to_pylist() == [0, 3, 5]
