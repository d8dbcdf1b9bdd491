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
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxproxy.runs._files import (
    StoreError,
    create_file,
    is_temporary,
    one_line_errors,
    write_file,
)
from jaxproxy.runs._manifest import ForeignError, check_manifest, check_same
from jaxproxy.runs._parquet import (
    PART,
    Columns,
    DamagedError,
    examine,
    read,
    to_parquet,
    unreadable,
)

if TYPE_CHECKING:  # pyarrow takes long to import; a command that needs no run must not
    import pyarrow as pa


_MANIFEST = "_manifest.json"
_READINGS = "_readings"
WORKERS = "_workers"


class Run:
    """A run folder. ``Run(path)`` touches no disk; use :meth:`create` or :meth:`open`.

    Several processes may write different parts of one run.

    Attributes:
      path: the folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Names the folder; the way to :meth:`fsck` one that does not open."""
        self.path = Path(path)

    @classmethod
    def create(cls, path: str | os.PathLike[str], manifest: dict[str, Any]) -> Run:
        """Creates the run, or opens it to resume if its manifest is equal.

        Args:
          path: a folder that is new, empty, or a run.
          manifest: JSON-able, with a ``scorer`` as :meth:`Scorer.describe` has it.
            Differences under the key ``environment`` are logged.

        Raises:
          StoreError: the folder holds something else, or a run with another manifest
            (the message names each key that differs and both values), or cannot be
            written; or the manifest describes no scorer.
        """
        run, manifest = cls(path), json.loads(json.dumps(manifest))  # tuples to lists
        check_manifest(run.path / _MANIFEST, manifest)
        with one_line_errors("create", run.path):
            run.path.mkdir(parents=True, exist_ok=True)
            names = {n for n in os.listdir(run.path) if not is_temporary(n)}
        if names <= {_READINGS, WORKERS}:
            # Of several that begin at once, the first decides; the others compare.
            create_file(run.path / _MANIFEST, json.dumps(manifest, indent=2).encode())
        elif _MANIFEST not in names:
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
            return check_manifest(file, json.loads(file.read_text("utf-8")))
        except ForeignError:
            raise
        except FileNotFoundError:
            raise StoreError(f"{self.path} is not a run: no {_MANIFEST}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise unreadable(file, error) from error

    def done(self) -> set[int]:
        """Numbers of the finished parts."""
        with one_line_errors("list", self.path):
            matches = [PART.fullmatch(name) for name in os.listdir(self.path)]
        return {int(match[1]) for match in matches if match}

    def has_part(self, number: int) -> bool:
        """Whether a part is finished."""
        return (self.path / f"part-{number:06d}.parquet").exists()

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
            folder = self.path / _READINGS
            with one_line_errors("create", folder):
                folder.mkdir(exist_ok=True)
            write_file(folder / name, to_parquet(readings, self.manifest, False))
        # last, because this file says that the part is finished
        data = to_parquet(rows, self.manifest, readings is not None)
        write_file(self.path / name, data)

    def table(self, columns: Columns = None) -> pa.Table:
        """The scores of all finished parts, sorted by ``index``.

        Args:
          columns: the columns wanted, all by default.

        Raises:
          StoreError: nothing is finished, a part is unreadable, or no such column.
        """
        import pyarrow as pa

        wanted = None if columns is None else list(dict.fromkeys([*columns, "index"]))
        table = pa.concat_tables(self._parts(self.path, wanted)).sort_by("index")
        return table if columns is None else table.select(list(columns))

    def part(self, number: int, columns: Columns = None) -> pa.Table:
        """The scores of one finished part, in its order.

        Args:
          number: from 0.
          columns: the columns wanted, all by default.

        Raises:
          StoreError: it is not finished or unreadable, or no such column.
        """
        return read(self.path / f"part-{number:06d}.parquet", columns)

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
        if self.done() and not (self.path / _READINGS).exists():
            raise StoreError(f"{self.path} keeps no readings: no proxy took any")
        yield from self._parts(self.path / _READINGS, columns)

    def _parts(self, folder: Path, columns: Columns) -> Iterator[pa.Table]:
        names = [f"part-{number:06d}.parquet" for number in sorted(self.done())]
        if not names:
            raise StoreError(f"{self.path} has no finished part yet; resume the run")
        for name in names:
            yield read(folder / name, columns)

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
        scores, problems = examine(self.path)
        readings, unreadable = examine(self.path / _READINGS)
        problems |= unreadable | examine(self.path / WORKERS)[1]
        for name in scores:
            if scores[name].get(b"jaxproxy_readings") == b"1" and name not in readings:
                problems[self.path / name] = "scores without their readings"
        for name in readings.keys() - scores.keys():
            problems[self.path / _READINGS / name] = "readings without their scores"
        copy = next(iter(scores.values()), {}).get(b"jaxproxy_manifest")
        manifest = self.path / _MANIFEST
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
        return [f"{f.relative_to(self.path)}: {why}" for f, why in problems.items()]
