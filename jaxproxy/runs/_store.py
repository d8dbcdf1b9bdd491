"""Run folders: score tables on a disk that survive any interruption (host code).

A run folder holds a manifest (what defines the numbers) and numbered parts::

    RUN/_manifest.json
    RUN/part-000000.parquet             one row per requested architecture
    RUN/_readings/part-000000.parquet   one row per scored class and seed
    RUN/_workers/0-of-4.json            what a worker last said of itself

Dataset readers skip names that begin with ``_`` or ``.``, so
``pandas.read_parquet(RUN)`` and ``pyarrow.dataset.dataset(RUN)`` read the scores. A
part is written under a temporary name and renamed, its readings first: that the
scores part exists *is* the checkpoint. Every part carries a copy of the manifest.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from jaxproxy.runs._files import (
    StoreError,
    is_temporary,
    one_line_errors,
    write_file,
)
from jaxproxy.runs._local import Files, LocalFiles
from jaxproxy.runs._manifest import ForeignError, check_manifest, check_same
from jaxproxy.runs._parquet import (
    Columns,
    DamagedError,
    num_rows,
    read_parquet,
    to_parquet,
    unreadable,
)
from jaxproxy.runs._remote import RemoteFiles, is_url

if TYPE_CHECKING:  # pyarrow takes long to import; a command that needs no run must not
    import pyarrow as pa


_MANIFEST = "_manifest.json"
_READINGS = "_readings"
WORKERS = "_workers"
_PART = re.compile(r"part-(\d{6,})\.parquet")


class Run:
    """A run folder. ``Run(path)`` touches no disk; use :meth:`create` or :meth:`open`.

    Several processes, on several machines, may write parts of one run.

    Attributes:
      files: where it is kept.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Names the folder; the way to :meth:`fsck` one that does not open."""
        self.files: Files = RemoteFiles(path) if is_url(path) else LocalFiles(path)

    @property
    def path(self) -> PurePath:
        """The folder, or the URL of a bucket's."""
        return self.files.path

    @classmethod
    def create(cls, path: str | os.PathLike[str], manifest: dict[str, Any]) -> Run:
        """Creates the run, or opens it to resume if its manifest is equal.

        Args:
          path: a folder that is new, empty, or a run.
          manifest: JSON-able, with a ``scorer`` as :meth:`Scorer.describe` has it.
            Differences under the key ``environment`` are logged.

        Raises:
          OtherRunError: a run with another manifest; the message names each key that
            differs and both values, and nothing was written.
          StoreError: the folder holds something else, or cannot be written; or the
            manifest describes no scorer.
        """
        run, manifest = cls(path), json.loads(json.dumps(manifest))  # tuples to lists
        check_manifest(run.path / _MANIFEST, manifest)
        if isinstance(run.files, LocalFiles):
            run.files.make()
        names = set(run.files.names())
        if names <= {_READINGS, WORKERS}:
            # whoever is first; the others compare, as those who resume do
            data = json.dumps(manifest, indent=2).encode()
            run.files.put_if_absent(_MANIFEST, data)
        elif _MANIFEST not in names and not run.files.exists(_MANIFEST):  # an old list
            raise StoreError(
                f"{run.path} is not empty and not a run (it has {min(names)!r} but no "
                f"{_MANIFEST}); choose a new folder"
            )
        check_same(run.path, run.manifest, manifest)
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Run:
        """Opens an existing run.

        Raises:
          StoreError: the folder is no run, or its manifest cannot be read.
        """
        run = cls(path)
        _ = run.manifest
        return run

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What defines the numbers of this run, as it was created."""
        file = self.path / _MANIFEST
        try:
            with self.files.read(_MANIFEST) as stream:
                return check_manifest(file, json.loads(stream.read().decode("utf-8")))
        except StoreError:
            raise
        except FileNotFoundError:
            raise StoreError(f"{self.path} is not a run: no {_MANIFEST}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise unreadable(file, error) from error

    def done(self) -> set[int]:
        """Numbers of the finished parts."""
        matches = [_PART.fullmatch(name) for name in self.files.names()]
        return {int(match[1]) for match in matches if match}

    def has_part(self, number: int) -> bool:
        """Whether a part is finished."""
        return self.files.exists(f"part-{number:06d}.parquet")

    def num_rows(self, number: int) -> int:
        """How many architectures a finished part has."""
        return num_rows(self.files, f"part-{number:06d}.parquet")

    def write_part(
        self, number: int, rows: pa.Table, readings: pa.Table | None = None
    ) -> None:
        """Writes a part so that it is there completely or not at all.

        Args:
          number: from 0.
          rows: the scores, with an int64 column ``index``.
          readings: what was measured, if anything was.

        Raises:
          StoreError: disk full, no permission, ...; all other parts stay intact.
        """
        name = f"part-{number:06d}.parquet"
        if readings is not None:
            data = to_parquet(readings, self.manifest, False)
            self.files.put(f"{_READINGS}/{name}", data)
        # last, because this file says that the part is finished
        data = to_parquet(rows, self.manifest, readings is not None)
        self.files.put(name, data)

    def table(self, columns: Columns = None) -> pa.Table:
        """The scores of all finished parts, sorted by ``index``.

        Args:
          columns: the columns wanted, all by default.

        Raises:
          StoreError: nothing is finished, a part is unreadable, or no such column.
        """
        import pyarrow as pa

        wanted = None if columns is None else list(dict.fromkeys([*columns, "index"]))
        table = pa.concat_tables(self._parts("", wanted)).sort_by("index")
        return table if columns is None else table.select(list(columns))

    def part(self, number: int, columns: Columns = None) -> pa.Table:
        """The scores of one finished part, in its order.

        Args:
          number: from 0.
          columns: the columns wanted, all by default.

        Raises:
          StoreError: it is not finished or unreadable, or no such column.
        """
        return read_parquet(self.files, f"part-{number:06d}.parquet", columns)

    def scores(self) -> pa.Table:
        """All columns of :meth:`table`."""
        return self.table()

    def readings(self) -> pa.Table:
        """The readings of all finished parts, in the order of the parts.

        Raises:
          StoreError: nothing is finished, no readings, or a part is damaged or missing.
        """
        import pyarrow as pa

        return pa.concat_tables(self.readings_parts())

    def readings_parts(self, columns: Columns = None) -> Iterator[pa.Table]:
        """As :meth:`readings`, a part at a time; all columns or those wanted."""
        if self.done() and _READINGS not in self.files.names():
            raise StoreError(f"{self.path} keeps no readings: no proxy took any")
        yield from self._parts(f"{_READINGS}/", columns)

    def _parts(self, folder: str, columns: Columns) -> Iterator[pa.Table]:
        names = [f"part-{number:06d}.parquet" for number in sorted(self.done())]
        if not names:
            raise StoreError(f"{self.path} has no finished part yet; resume the run")
        for name in names:
            yield read_parquet(self.files, folder + name, columns)

    def fsck(self, delete: bool = True) -> list[str]:
        """Finds and removes what an accident left, so that the run can be resumed.

        That is: damaged parts, scores without their readings and the reverse, leftover
        temporary files, and a damaged manifest (restored from a part). Not to be called
        while a process is writing to the run.

        Args:
          delete: False only reports.

        Returns:
          One line ``file: problem`` for each file found.

        Raises:
          StoreError: the folder is no run, or a file cannot be accessed or removed.
        """
        if not isinstance(self.files, LocalFiles):
            raise StoreError(
                f"{self.path} is no folder of this machine, and fsck needs one; a "
                "store of whole objects leaves nothing behind"
            )
        path = self.files.path
        scores, problems = _examine(path)
        readings, unreadable = _examine(path / _READINGS)
        problems |= unreadable | _examine(path / WORKERS)[1]
        for name in scores:
            if scores[name].get(b"jaxproxy_readings") == b"1" and name not in readings:
                problems[path / name] = "scores without their readings"
        for name in readings.keys() - scores.keys():
            problems[path / _READINGS / name] = "readings without their scores"
        copy = next(iter(scores.values()), {}).get(b"jaxproxy_manifest")
        manifest = path / _MANIFEST
        try:
            _ = self.manifest
        except DamagedError:
            problems[manifest] = "unreadable" + (", a part has a copy" if copy else "")
        except ForeignError:
            if not copy:  # not to be removed: whose it is nobody knows
                raise
            problems[manifest] = "no manifest of jaxproxy, a part has a copy"
        for file in problems if delete else ():
            with one_line_errors("remove", file):
                file.unlink(missing_ok=True)
        if delete and copy and manifest in problems:
            write_file(manifest, copy)
        return [f"{f.relative_to(path)}: {why}" for f, why in problems.items()]


def _examine(folder: Path) -> tuple[dict[str, dict[bytes, bytes]], dict[Path, str]]:
    """Reads all; returns the metadata of the good parts, and what is wrong."""
    good: dict[str, dict[bytes, bytes]] = {}
    problems: dict[Path, str] = {}
    with one_line_errors("list", folder):
        files = sorted(folder.iterdir()) if folder.exists() else ()
    for file in files:
        if is_temporary(file.name):
            problems[file] = "leftover temporary file"
        elif _PART.fullmatch(file.name):
            try:
                table = read_parquet(LocalFiles(folder), file.name)
                good[file.name] = table.schema.metadata or {}
            except DamagedError:
                problems[file] = "unreadable"
    return good, problems
