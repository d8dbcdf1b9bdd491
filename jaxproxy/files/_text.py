"""Bytes of text files: compression, encodings and their byte-order marks."""

import codecs
import gzip
import stat
import zlib
from pathlib import Path

# UTF-32 first: its mark in little-endian order begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_GZIP = b"\x1f\x8b"
_FORM = "save it as UTF-8 text"


def read_text(path: Path) -> str:
    """Returns the text of a file, which may be compressed by gzip.

    Raises:
      ValueError: the file cannot be read, or is no text, as :func:`decode` says.
    """
    try:
        check_ends(path)
        data = path.read_bytes()
        if data.startswith(_GZIP):
            data = gzip.decompress(data)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"cannot read {path}: {reason}") from error
    return decode(data, str(path))


def check_ends(path: Path) -> None:
    """Raises ValueError for a device, which may have no end, as ``/dev/zero`` has none.

    Raises:
      OSError: there is no such file.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISDIR(mode)):
        raise ValueError("it is no regular file")


def decode(data: bytes, name: str) -> str:
    """Returns text of UTF-8, or of UTF-16 or UTF-32 with a byte-order mark.

    Args:
      data: of a whole file.
      name: of the file, for messages.

    Raises:
      ValueError: it is none of them; the message has the line of the first wrong byte.
    """
    encoding = next((e for mark, e in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"line {line} of {name} has bytes that are no {encoding.upper()}; {_FORM}"
        ) from error
    if "\0" in text:
        # UTF-16 without its mark looks like UTF-8 with a NUL behind each letter.
        raise ValueError(
            f"{name} is no text, or UTF-16 without a byte-order mark; {_FORM}"
        )
    return text
