"""A folder of Parquet parts that survives anything; nothing here imports JAX."""

from jaxproxy.runs._files import StoreError, one_line_errors, write_file
from jaxproxy.runs._merge import Merged, merge_run
from jaxproxy.runs._merged import MergedRun, open_run
from jaxproxy.runs._store import Run
from jaxproxy.runs._tables import (
    StoredReadings,
    read_readings,
    readings_table,
    rows_table,
)

__all__ = [
    "Merged",
    "MergedRun",
    "Run",
    "StoreError",
    "StoredReadings",
    "merge_run",
    "one_line_errors",
    "open_run",
    "read_readings",
    "readings_table",
    "rows_table",
    "write_file",
]
