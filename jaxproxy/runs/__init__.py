"""A folder of Parquet parts that survives anything; nothing here imports JAX."""

from jaxproxy.runs._files import StoreError, one_line_errors, write_file
from jaxproxy.runs._store import Run, open_run
from jaxproxy.runs._tables import (
    StoredReadings,
    read_readings,
    readings_table,
    rows_table,
)

__all__ = [
    "Run",
    "StoreError",
    "StoredReadings",
    "one_line_errors",
    "open_run",
    "read_readings",
    "readings_table",
    "rows_table",
    "write_file",
]
