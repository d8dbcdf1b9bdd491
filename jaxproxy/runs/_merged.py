"""A run that was merged into one file is read as the run was (host code)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxproxy.runs._files import StoreError
from jaxproxy.runs._manifest import check_manifest
from jaxproxy.runs._merge import readings_file
from jaxproxy.runs._store import Run

if TYPE_CHECKING:  # pyarrow takes long to import; a command that needs no run must not
    import pyarrow as pa


class MergedRun(Run):
    """A file that :func:`merge_run` wrote: a finished run of one part."""

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What defines the numbers of this run, as it was created."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            metadata = pq.read_schema(self.path).metadata or {}
        except (pa.ArrowException, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise StoreError(f"cannot read {self.path} ({reason})") from error
        text = metadata.get(b"jaxproxy_manifest")
        if text is None:
            raise StoreError(f"{self.path} is a table, and none of a merged run")
        try:
            return check_manifest(self.path, json.loads(text))
        except (json.JSONDecodeError, RecursionError) as error:
            raise StoreError(f"cannot read the manifest in {self.path}") from error

    def done(self) -> set[int]:
        """Returns the number of the only part."""
        return {0}

    def write_part(
        self, number: int, rows: pa.Table, readings: pa.Table | None = None
    ) -> None:
        """Raises StoreError, for nothing is missing."""
        raise StoreError(f"{self.path} is a merged run, to which nothing is added")

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Returns the scores, in the order of the request."""
        return _read(Path(self.path), columns)

    def part(self, number: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Returns the scores, which are all in part 0."""
        if number:
            raise StoreError(f"{self.path} has no part {number}, for it is merged")
        return self.table(columns)

    def readings_parts(
        self, columns: Sequence[str] | None = None
    ) -> Iterator[pa.Table]:
        """Yields the readings, a row group at a time."""
        import pyarrow.parquet as pq

        file = readings_file(Path(self.path))
        if not file.exists():
            raise StoreError(f"{self.path} has no readings beside it: no {file.name}")
        _check_columns(file, pq.read_schema(file).names, columns)
        with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            for group in range(parquet.num_row_groups):
                yield parquet.read_row_group(group, columns=columns and [*columns])

    def fsck(self, delete: bool = True) -> list[str]:
        """Raises StoreError, for a merged run is no folder."""
        raise StoreError(f"{self.path} is a merged run; fsck is for run folders")


def open_run(path: str | os.PathLike[str]) -> Run:
    """Returns the run in a folder, or in the file that it was merged into.

    Its ``scores()`` and ``readings()`` are Arrow tables.

    Raises:
      StoreError: it is no run, or its manifest cannot be read.
    """
    if not Path(path).is_file():
        return Run.open(path)
    run = MergedRun(path)
    _ = run.manifest
    return run


def _read(file: Path, columns: Sequence[str] | None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            _check_columns(file, parquet.schema_arrow.names, columns)
            table = parquet.read(columns=columns and [*columns])
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise StoreError(f"cannot read {file} ({reason})") from error
    return table if columns is None else table.select([*columns])


def _check_columns(file: Path, names: list[str], columns: Sequence[str] | None) -> None:
    for column in columns or ():
        if column not in names:
            raise StoreError(
                f"unknown column {column!r} of {file}; choose from {sorted(names)}"
            )
