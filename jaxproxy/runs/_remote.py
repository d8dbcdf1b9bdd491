"""Buckets, and all else that fsspec knows by a URL (host code).

A PUT of a whole object is atomic in S3, GCS and Azure, and what is written is listed at
once. There is no rename. fsspec and its clients are extras: ``s3``, ``gcs``.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import random
import re
import time
import uuid
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import IO, Any, TypeVar

from jaxproxy.runs._files import StoreError

_LOGGER = logging.getLogger("jaxproxy")
_ATTEMPTS = 5
# One slash, too: what was a pathlib.Path has lost the other.
_URL = re.compile(r"(s3|s3a|gs|gcs|az|abfs|abfss|memory|hf|oci|r2):/{1,2}(.+)")
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}

T = TypeVar("T")


class UrlPath(PurePosixPath):
    """A URL, with names below it by ``/``."""

    def __str__(self) -> str:
        """Returns it with the two slashes that a path would lose."""
        scheme, _, rest = super().__str__().partition(":/")
        return f"{scheme}://{rest}"


def is_url(path: str | os.PathLike[str]) -> bool:
    """Whether a path names no folder of this machine, but a bucket."""
    return _URL.fullmatch(os.fspath(path)) is not None


class RemoteFiles:
    """Objects below a URL, such as ``s3://bucket/run``."""

    def __init__(self, url: str | os.PathLike[str], filesystem: Any = None) -> None:
        """Connects to nothing yet, but needs the library that will.

        Args:
          url: of the run.
          filesystem: one of fsspec's, in place of what the URL names.

        Raises:
          ImportError: the library is not installed.
        """
        match = _URL.fullmatch(os.fspath(url))
        if match is None:
            raise ValueError(f"{url} is no URL of a bucket, such as s3://bucket/run")
        scheme, self._root = match[1], match[2].strip("/")
        self.path = UrlPath(f"{scheme}:/{self._root}")
        self._fs = _filesystem(scheme) if filesystem is None else filesystem
        self._exclusive: bool | None = None

    def exists(self, name: str) -> bool:
        """Whether an object is there, by asking for it and no list."""

        def find() -> bool:
            self._fs.invalidate_cache()
            return self._fs.exists(self._key(name))

        return self._try("find", name, find)

    def names(self, folder: str = "") -> list[str]:
        """Returns the names in a folder, none if nothing is there."""

        def look() -> list[str]:
            self._fs.invalidate_cache()
            try:
                found = self._fs.ls(self._key(folder), detail=False)
            except FileNotFoundError:
                return []
            return sorted({name.rstrip("/").rpartition("/")[2] for name in found})

        return self._try("list", folder, look)

    def read(self, name: str) -> IO[bytes]:
        """Returns an object as it was at one moment."""
        return io.BytesIO(self._get(name))

    def put(self, name: str, data: bytes) -> None:
        """Writes or replaces an object.

        It is written again if no answer came, which changes nothing if it had arrived.
        """
        self._try("write", name, lambda: self._fs.pipe_file(self._key(name), data))

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Writes an object if there is none, as far as the store can tell.

        Where it cannot, which the first call finds out and says, the last of several
        that write at the same moment wins.
        """
        if self._exclusive is None:
            self._exclusive = self._probe()
        if not self._exclusive:
            if self.exists(name):
                return False
            self.put(name, data)
            return True
        attempts = 0

        def create() -> bool:
            nonlocal attempts
            attempts += 1
            try:
                self._fs.pipe_file(self._key(name), data, mode="create")
            except FileExistsError:
                # an attempt that was not answered may have been this one's
                return attempts > 1 and self._get(name) == data
            return True

        return self._try("write", name, create)

    def _probe(self) -> bool:
        """Whether the store refuses to create what is there; old clients overwrite."""
        key = self._key(f"_workers/probe-{uuid.uuid4().hex}")
        try:
            self._fs.pipe_file(key, b"1", mode="create")
            self._fs.pipe_file(key, b"2", mode="create")
        except FileExistsError:
            return True
        except Exception as error:
            _LOGGER.debug("no exclusive create: %s", error)
        finally:
            try:
                self._fs.rm_file(key)
            except Exception as error:
                _LOGGER.debug("%s stays: %s", key, error)
        _LOGGER.warning(
            "%s cannot create exclusively: start one worker first, and others when its "
            "manifest is there",
            self.path,
        )
        return False

    def _get(self, name: str) -> bytes:
        return self._try("read", name, lambda: self._fs.cat_file(self._key(name)))

    def _key(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _try(self, verb: str, name: str, call: Callable[[], T]) -> T:
        """Returns what a call returns, which may fail for a while.

        Raises:
          FileNotFoundError: there is no such object.
          StoreError: it fails for good, or too often.
        """
        where = self.path / name if name else self.path
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return call()
            except FileNotFoundError as error:
                text = os.strerror(errno.ENOENT)
                raise FileNotFoundError(errno.ENOENT, text, str(where)) from error
            except Exception as error:  # of whichever library is below
                if attempt == _ATTEMPTS or isinstance(error, PermissionError):
                    raise StoreError(
                        f"cannot {verb} {where}: {error}; everything written before is "
                        "kept"
                    ) from error
                time.sleep(random.uniform(0, 0.1 * 2**attempt))
        raise AssertionError("unreachable")


def _filesystem(scheme: str) -> Any:
    extra = f"jaxproxy[{_EXTRAS[scheme]}]" if scheme in _EXTRAS else "fsspec"
    try:
        import fsspec

        # a list that is remembered does not have what others write
        return fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError as error:
        raise ImportError(
            f"{scheme}:// needs another library ({error}); pip install '{extra}'"
        ) from error
