"""The command that makes one file of a run."""

import dataclasses
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from jaxproxy.cli._commands import Flag, Folder, show


@dataclasses.dataclass(frozen=True, kw_only=True)
class Merge:
    """Write all parts of a finished run into one Parquet file, and verify it."""

    run: Positional[Folder]
    """Run folder, which no process may be writing to."""
    out: Annotated[Positional[Path], arg(metavar="OUT.parquet")]
    """New file; readings go to OUT_readings.parquet."""
    delete_parts: Flag = False
    """Remove the parts from the folder, after all has been read back and compared."""

    def __call__(self) -> int:
        """Merges, and says what is where."""
        from jaxproxy.runs import Run, merge_run

        done = merge_run(Run.open(self.run), self.out, delete_parts=self.delete_parts)
        files = [file for file in (done.out, done.readings) if file]
        size = sum(file.stat().st_size for file in files)
        show(
            f"{done.num_archs} architectures of {done.num_parts} parts are in "
            f"{' and '.join(map(str, files))} ({size / 2**20:.1f} MiB), read back and "
            "equal to the parts"
        )
        if self.delete_parts:
            show(f"{done.deleted} files of parts are deleted; the manifest is kept")
        return 0
