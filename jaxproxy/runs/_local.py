"""What a run asks of the place where it is kept, and a folder as one (host code)."""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import IO, Protocol

from jaxproxy.runs._files import (
    create_file,
    is_temporary,
    one_line_errors,
    write_file,
)


class Files(Protocol):
    """Whole files by their names under one root, such as ``_readings/part-000000``.

    Nothing is ever appended or renamed, so that a bucket is as good as a folder. What
    fails raises :class:`StoreError`, but for a file that is not there.
    """

    @property
    def path(self) -> PurePath:
        """The root, for messages."""
        ...

    def exists(self, name: str) -> bool:
        """Whether a file is there."""
        ...

    def names(self, folder: str = "") -> list[str]:
        """Returns the names directly in a folder, but of files that are not whole."""
        ...

    def read(self, name: str) -> IO[bytes]:
        """Returns a file, to be closed.

        Raises:
          FileNotFoundError: there is none.
        """
        ...

    def put(self, name: str, data: bytes) -> None:
        """Writes or replaces a file; until that is done, nothing of it is seen."""
        ...

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Writes a file if there is none; of several at once, one returns True."""
        ...


class LocalFiles:
    """A folder of this machine, or one that it shares by NFS."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Touches no disk."""
        self.path = Path(path)

    def make(self) -> None:
        """Makes the folder, and those around it."""
        with one_line_errors("create", self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    def exists(self, name: str) -> bool:
        """Whether a file is there."""
        with one_line_errors("find", self.path / name):
            return (self.path / name).exists()

    def names(self, folder: str = "") -> list[str]:
        """Returns the names in a folder, without those of temporary files."""
        with one_line_errors("list", self.path / folder):
            return [n for n in os.listdir(self.path / folder) if not is_temporary(n)]

    def read(self, name: str) -> IO[bytes]:
        """Returns a file, to be closed."""
        return open(self.path / name, "rb")

    def put(self, name: str, data: bytes) -> None:
        """Writes or replaces a file durably; it is renamed when it is whole."""
        file = self.path / name
        if file.parent != self.path:
            with one_line_errors("create", file.parent):
                file.parent.mkdir(exist_ok=True)
        write_file(file, data)

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Writes a file if there is none, by a hard link to one that is whole."""
        return create_file(self.path / name, data)
