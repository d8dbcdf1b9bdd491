"""One Parquet file of all parts of a run, in the order of the request (host code).

A part has architectures of all places of the request, so parts are dealt into buckets
of consecutive places, files beside the result, each of which is sorted in memory and
becomes a row group. Memory is that of a bucket, whatever the number of architectures.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxproxy.runs._files import StoreError, one_line_errors
from jaxproxy.runs._remote import is_url
from jaxproxy.runs._store import Run

if TYPE_CHECKING:  # pyarrow takes long to import; a command that needs no run must not
    import pyarrow as pa

ROWS = 2**17
"""Architectures of a row group: some 100 MB in memory."""
_READINGS = "_readings"


class Merged(NamedTuple):
    """What a merge wrote.

    Attributes:
      out: the file of the scores.
      readings: the file of the readings; None where no proxy took any.
      num_archs: rows of ``out``.
      num_parts: that were read.
      deleted: files of parts that are gone.
    """

    out: Path
    readings: Path | None
    num_archs: int
    num_parts: int
    deleted: int


def readings_file(out: Path) -> Path:
    """Returns where the readings of a merged run are: ``run_readings.parquet``."""
    return out.with_name(f"{out.stem}{_READINGS}{out.suffix}")


def merge_run(
    run: Run, out: str | os.PathLike[str], *, delete_parts: bool = False
) -> Merged:
    """Writes the scores of a finished run into one file, and its readings into another.

    Both are written under other names, read back and compared with the parts, which
    are read again for that, bit by bit; then they get their names.

    Args:
      run: finished, and not being written to.
      out: a new file, ``.parquet``; readings go to ``..._readings.parquet`` beside it.
      delete_parts: remove the parts once all this is done. The manifest stays, and the
        command that made the run would score it again.

    Raises:
      StoreError: the run is not finished or damaged, a file is there already or cannot
        be written, or what is read back differs; no part is deleted then.
    """
    if delete_parts and is_url(run.path):
        raise StoreError(f"{run.path} is no folder of this machine: delete parts there")
    out, numbers = Path(out), sorted(run.done())
    index = _index(run, numbers)
    first = run.part(numbers[0]).schema
    has_readings = (first.metadata or {}).get(b"jaxproxy_readings") == b"1"
    readings = readings_file(out) if has_readings else None
    for file in (out, *filter(None, [readings])):
        _check_new(file)
    with ExitStack() as stack:
        if readings:
            _write(stack.enter_context(_renamed(readings)), run.readings_parts)
        temporary = stack.enter_context(_renamed(out))
        _write(temporary, lambda: _sorted_groups(run, numbers, index, out.parent))
        if sorted(run.done()) != numbers:
            raise StoreError(f"{run.path} was written to during the merge; try again")
    deleted = _delete(run, numbers, has_readings) if delete_parts else 0
    return Merged(out, readings, len(index), len(numbers), deleted)


def _index(run: Run, numbers: list[int]) -> np.ndarray:
    """Returns the places of all architectures in the request, int64[N], ascending.

    Raises:
      StoreError: some are missing, or are there twice.
    """
    if not numbers:
        raise StoreError(f"{run.path} has no finished part yet; resume the run")
    parts = [run.part(number, ["index"])["index"].to_numpy() for number in numbers]
    index = np.sort(np.concatenate(parts))
    if twice := index[1:][index[1:] == index[:-1]][:1].tolist():
        raise StoreError(f"{run.path} has architecture {twice[0]} in several parts")
    total = run.manifest.get("num_archs", len(index))  # searches do not know theirs
    if len(index) != total:
        raise StoreError(
            f"{run.path} has {len(index)} of {total} architectures; the command that "
            "began it finishes it"
        )
    return index


def _check_new(file: Path) -> None:
    if file.suffix != ".parquet":
        raise StoreError(f"{file} must end in .parquet")
    if file.exists():
        raise StoreError(f"{file} is there already; choose a new file")
    if not file.parent.is_dir():
        raise StoreError(f"{file} cannot be written: {file.parent} is no folder")


@contextmanager
def _renamed(file: Path) -> Iterator[Path]:
    """Gives a temporary name, which becomes ``file`` when nothing was raised."""
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        with one_line_errors("write", file):
            with open(temporary, "rb") as stream:
                os.fsync(stream.fileno())
            os.link(temporary, file)  # unlike a renaming, it never replaces a file
    finally:
        with suppress(OSError):
            temporary.unlink()


def _write(file: Path, groups: Callable[[], Iterable[pa.Table]]) -> None:
    """Writes tables as row groups, and compares the file with them, made again.

    Raises:
      StoreError: the file cannot be written, or differs.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with ExitStack() as stack:
            writer = None
            for group in groups():
                if writer is None:
                    writer = stack.enter_context(
                        pq.ParquetWriter(file, group.schema, write_page_checksum=True)
                    )
                writer.write_table(group, row_group_size=max(1, len(group)))
        with pq.ParquetFile(file, page_checksum_verification=True) as merged:
            count = 0
            for count, group in enumerate(groups(), 1):
                if count > merged.num_row_groups or not same_bits(
                    group, merged.read_row_group(count - 1)
                ):
                    raise StoreError(f"{file} is not what was written to it")
            if count != merged.num_row_groups:
                raise StoreError(f"{file} has more than was written to it")
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise StoreError(f"cannot write {file} ({reason}); the run is kept") from error


def _sorted_groups(
    run: Run, numbers: list[int], index: np.ndarray, folder: Path
) -> Iterator[pa.Table]:
    """Yields the rows of all parts, sorted, ``ROWS`` at a time."""
    import pyarrow as pa

    ends = np.arange(ROWS, len(index), ROWS)
    bounds = [*index[ends].tolist()]  # the first place of each bucket but the first
    schema = run.part(numbers[0]).schema
    with tempfile.TemporaryDirectory(prefix=".merge-", dir=folder) as place:
        files = [Path(place) / f"{bucket}.arrow" for bucket in range(len(bounds) + 1)]
        with ExitStack() as stack:
            opened = (pa.ipc.new_file(file, schema) for file in files)
            writers: list[pa.RecordBatchFileWriter] = [
                *map(stack.enter_context, opened)
            ]
            for number in numbers:
                part = run.part(number)
                if not part.schema.equals(schema):
                    raise StoreError(f"part {number} of {run.path} has other columns")
                bucket = np.searchsorted(bounds, part["index"].to_numpy(), "right")
                for one in np.unique(bucket).tolist():
                    writers[one].write_table(part.filter(pa.array(bucket == one)))
        for file in files:
            with pa.OSFile(str(file)) as source:
                table = pa.ipc.open_file(source).read_all()
            yield table.sort_by("index").combine_chunks()


def same_bits(a: pa.Table, b: pa.Table) -> bool:
    """Returns whether two tables hold the same; NaN is NaN, and -0 is not 0."""
    return a.schema.equals(b.schema) and all(
        _same_column(one.combine_chunks(), other.combine_chunks())
        for one, other in zip(a.columns, b.columns, strict=True)
    )


def _same_column(a: pa.Array, b: pa.Array) -> bool:
    """Compares floats as integers, for NaN does not equal itself."""
    import pyarrow as pa

    if len(a) != len(b) or not a.is_valid().equals(b.is_valid()):
        return False
    if pa.types.is_list(a.type) or pa.types.is_fixed_size_list(a.type):
        lengths = a.value_lengths().equals(b.value_lengths())
        return lengths and _same_column(a.flatten(), b.flatten())
    if pa.types.is_floating(a.type):
        integers = {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[a.type.bit_width]
        return a.view(integers).equals(b.view(integers))
    return a.equals(b)


def _delete(run: Run, numbers: list[int], has_readings: bool) -> int:
    """Removes the files of parts; scores first, for they say that a part is there."""
    path = Path(run.path)
    folders = [path, *([path / _READINGS] if has_readings else [])]
    for folder in folders:
        for number in numbers:
            file = folder / f"part-{number:06d}.parquet"
            with one_line_errors("remove", file):
                file.unlink()
    return len(folders) * len(numbers)
