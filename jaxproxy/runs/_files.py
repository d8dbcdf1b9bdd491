"""Files that are there completely or not at all, and errors of one line (host code)."""

import errno
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")
# What file systems without hard links answer, such as exFAT and some of FUSE.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


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
    with _temporary(file, data) as temporary:
        os.replace(temporary, file)


def create_file(file: Path, data: bytes) -> bool:
    """Writes a file if there is none, and returns whether it did.

    Of several processes that try at once, on one machine or on several that share the
    folder by NFS, one does. A hard link is made of a whole file, for a file that is
    opened exclusively could be read before it is written.

    Raises:
      StoreError: disk full, no permission, no such folder, ...
    """
    with _temporary(file, data) as temporary:
        try:
            os.link(temporary, file)
        except FileExistsError:
            # NFS: the answer to a link that was made may be lost and the call repeated
            return os.stat(temporary).st_nlink == 2
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if file.exists():
                return False
            os.replace(temporary, file)
    return True


@contextmanager
def _temporary(file: Path, data: bytes) -> Iterator[Path]:
    """Yields a whole and durable file that is to become another; errors have one line.

    It is removed in the end, unless it was renamed.
    """
    # a name of its own for each attempt: two processes must not share one
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}.tmp")
    try:
        with one_line_errors("write", file):
            with open(temporary, "xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            yield temporary
    finally:
        with suppress(OSError):  # gone after the rename
            temporary.unlink()


def is_temporary(name: str) -> bool:
    """Whether a file name is one that :func:`write_file` leaves when it is killed."""
    return _TEMPORARY.fullmatch(name) is not None
