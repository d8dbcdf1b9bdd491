"""Tables as Parquet files, which say where they come from (host code)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeAlias

from jaxproxy.runs._files import StoreError
from jaxproxy.runs._local import Files

if TYPE_CHECKING:  # pyarrow takes long to import; a command that needs no run must not
    import pyarrow as pa


Columns: TypeAlias = Sequence[str] | None


class DamagedError(StoreError):
    """The content of a file is damaged."""


def to_parquet(table: pa.Table, manifest: dict[str, Any], readings: bool) -> bytes:
    """The table as a Parquet file, with where it comes from in its metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    metadata = {
        "jaxproxy_manifest": json.dumps(manifest, indent=2),
        "jaxproxy_readings": str(int(readings)),
    }
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **metadata})
    # in memory first, so that every error of the disk is Python's OSError with errno
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_page_checksum=True)
    return sink.getvalue().to_pybytes()


def read_parquet(files: Files, name: str, columns: Columns = None) -> pa.Table:
    """Returns the table of a file, all columns or those wanted.

    Raises:
      DamagedError: its content is damaged.
      StoreError: the system cannot read it, or no such column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with files.read(name) as stream:
            parquet = pq.ParquetFile(stream, page_checksum_verification=True)
            names = parquet.schema_arrow.names
            table = parquet.read(columns=None if columns is None else list(columns))
    except (pa.ArrowException, OSError) as error:
        raise unreadable(files.path / name, error) from error
    for column in columns or ():
        if column not in names:
            raise StoreError(f"unknown column {column!r}; choose from {sorted(names)}")
    return table


def num_rows(files: Files, name: str) -> int:
    """Returns how many rows the table of a file has; reads no more than its end.

    Raises:
      StoreError: as :func:`read_parquet`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with files.read(name) as stream:
            return pq.read_metadata(stream).num_rows
    except (pa.ArrowException, OSError) as error:
        raise unreadable(files.path / name, error) from error


def unreadable(file: PurePath, error: Exception) -> StoreError:
    """Returns the error of a file that cannot be read."""
    # with an errno it is the system that fails (no permission, a lost mount), which
    # must not count as damage: the file may be fine
    kind = StoreError if getattr(error, "errno", None) else DamagedError
    reason = str(error).partition("\n")[0]
    return kind(f"cannot read {file} ({reason}); Run.fsck() removes damaged files")
