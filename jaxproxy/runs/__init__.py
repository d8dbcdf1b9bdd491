"""A folder of Parquet parts that survives anything; nothing here imports JAX."""

from jaxproxy.runs._files import StoreError, one_line_errors, write_file
from jaxproxy.runs._local import Files, LocalFiles
from jaxproxy.runs._manifest import OtherRunError
from jaxproxy.runs._merge import Merged, merge_run
from jaxproxy.runs._merged import MergedRun, open_run
from jaxproxy.runs._remote import RemoteFiles, is_url
from jaxproxy.runs._store import Run
from jaxproxy.runs._tables import (
    StoredReadings,
    read_readings,
    readings_table,
    rows_table,
)
from jaxproxy.runs._workers import Report, Reporter, Status, is_alive, num_parts, status

__all__ = [
    "Files",
    "LocalFiles",
    "Merged",
    "MergedRun",
    "OtherRunError",
    "RemoteFiles",
    "Report",
    "Reporter",
    "Run",
    "Status",
    "StoreError",
    "StoredReadings",
    "is_alive",
    "is_url",
    "merge_run",
    "num_parts",
    "one_line_errors",
    "open_run",
    "read_readings",
    "readings_table",
    "rows_table",
    "status",
    "write_file",
]
