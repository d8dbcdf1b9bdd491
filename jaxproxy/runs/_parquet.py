"""Parts as Parquet files: written with their manifest, read, examined (host code)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from jaxproxy.runs._files import StoreError, is_temporary, one_line_errors

if TYPE_CHECKING:  # pyarrow takes long to import; a command that needs no run must not
    import pyarrow as pa

Columns: TypeAlias = Sequence[str] | None

PART = re.compile(r"part-(\d{6,})\.parquet")


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


def read(file: Path, columns: Columns = None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open(file, "rb") as stream:
            parquet = pq.ParquetFile(stream, page_checksum_verification=True)
            names = parquet.schema_arrow.names
            table = parquet.read(columns=None if columns is None else list(columns))
    except (pa.ArrowException, OSError) as error:
        raise unreadable(file, error) from error
    for column in columns or ():
        if column not in names:
            raise StoreError(f"unknown column {column!r}; choose from {sorted(names)}")
    return table


def unreadable(file: Path, error: Exception) -> StoreError:
    # with an errno it is the system that fails (no permission, a lost mount), which
    # must not count as damage: the file may be fine
    kind = StoreError if getattr(error, "errno", None) else DamagedError
    reason = str(error).partition("\n")[0]
    return kind(f"cannot read {file} ({reason}); Run.fsck() removes damaged files")


def examine(folder: Path) -> tuple[dict[str, dict[bytes, bytes]], dict[Path, str]]:
    """Reads all; returns the metadata of the good parts, and what is wrong."""
    good: dict[str, dict[bytes, bytes]] = {}
    problems: dict[Path, str] = {}
    with one_line_errors("list", folder):
        files = sorted(folder.iterdir()) if folder.exists() else ()
    for file in files:
        if is_temporary(file.name):
            problems[file] = "leftover temporary file"
        elif PART.fullmatch(file.name):
            try:
                good[file.name] = read(file).schema.metadata or {}
            except DamagedError:
                problems[file] = "unreadable"
    return good, problems
