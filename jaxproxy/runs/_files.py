"""Files that are there completely or not at all, and errors of one line (host code)."""

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")


class StoreError(ValueError):
    """A file or run cannot be written, read or continued; one line says why."""


@contextmanager
def one_line_errors(verb: str, path: Path) -> Iterator[None]:
    """Turns an ``OSError`` into a :class:`StoreError` ``cannot VERB PATH: reason``."""
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror or error}; everything written before is kept"
        raise StoreError(f"cannot {verb} {path}: {reason}") from error


def write_file(file: Path, data: bytes) -> None:
    """Writes or replaces a file durably, so that its name never shows a part of it.

    The data go to a temporary file in the same folder, whose name begins with ``.``,
    which is renamed when they are on the disk.

    Raises:
      StoreError: disk full, no permission, no such folder, ...; the file is as it was.
    """
    # a name of its own for each attempt: two processes must not share one
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}.tmp")
    try:
        with one_line_errors("write", file):
            with open(temporary, "xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, file)
    finally:
        with suppress(OSError):  # gone after the rename
            temporary.unlink()


def create_file(file: Path, data: bytes) -> bool:
    """Writes a file unless there is one; returns whether it was written.

    Of several processes that try at once, one does, and all see the whole file: a hard
    link to a finished file is made or not, on network disks too.

    Raises:
      StoreError: as :func:`write_file`.
    """
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}.tmp")
    write_file(temporary, data)
    try:
        with one_line_errors("write", file):
            os.link(temporary, file)
        return True
    except StoreError as error:
        if isinstance(error.__cause__, FileExistsError):
            return False
        raise
    finally:
        with suppress(OSError):
            temporary.unlink()


def is_temporary(name: str) -> bool:
    """Whether a file name is one that :func:`write_file` leaves when it is killed."""
    return _TEMPORARY.fullmatch(name) is not None
