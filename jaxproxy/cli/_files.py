"""What users bring: lists of architectures and files of images (host code)."""

import math
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np

from jaxproxy.files import check_ends, decode, read_archs_column, read_text
from jaxproxy.limits import in_bytes, memory
from jaxproxy.scoring import as_labels, check_layout
from jaxproxy.spaces import Space

# Of an image's number: as it is read, as float64 twice, and as float32.
_BYTES = 24


def read_archs(path: Path, space: Space) -> tuple[list[str], np.ndarray]:
    """Architecture strings, one a line, and their codes int32[N, G].

    Blank lines do not count; the path ``-`` is standard input. A table is read by its
    column of architectures, and a YAML file is one architecture. What is written on one
    line is kept as it is.

    Raises:
      ValueError: the file cannot be read or names no architecture, or a line is not
        one; the message has its number.
    """
    placed = _placed_archs(path)
    if not placed:
        raise ValueError(f"{path} has no architectures; write one a line")
    texts = [text for text, _ in placed]
    try:
        codes = space.from_strs(texts)
    except ValueError:
        _check_one_by_one(space, placed)
        raise
    pairs = zip(texts, codes, strict=True)
    return [space.to_str(c) if "\n" in text else text for text, c in pairs], codes


def _check_one_by_one(space: Space, placed: list[tuple[str, str]]) -> None:
    """Raises ValueError for the first text that is no architecture, with its place."""
    for text, place in placed:
        try:
            space.from_str(text)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error


def _placed_archs(path: Path) -> list[tuple[str, str]]:
    """Returns texts of architectures, and where they are."""
    text = _standard_input() if str(path) == "-" else read_text(path)
    if path.suffix.lower() in (".yaml", ".yml"):
        return [(text.strip(), str(path))]
    table = read_archs_column(text, path)
    if table is not None:
        return table
    lines = enumerate(text.splitlines(), 1)
    return [
        (_unquoted(line.strip()), f"line {number} of {path}")
        for number, line in lines
        if line.strip()
    ]


def _standard_input() -> str:
    """Returns what is piped in; a stream of text, as in notebooks, has no bytes."""
    stream = getattr(sys.stdin, "buffer", None)
    return sys.stdin.read() if stream is None else decode(stream.read(), "-")


def _unquoted(line: str) -> str:
    """Returns a line without quotes around it: spreadsheets write them at commas."""
    quoted = len(line) > 1 and line[0] == line[-1] == '"'
    return line[1:-1] if quoted and '"' not in line[1:-1] else line


def read_images(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Images float32[N, R, R, 3] of an npz file and their labels, if it has any.

    The file has ``x``, uint8 from 0 to 255 or float in any unit, and may have labels
    ``y``, integer[N] or [N, 1], or one-hot [N, classes]. Images are standardised as a
    whole: mean 0 and deviation 1 per channel.

    Raises:
      ValueError: no such file or array, a wrong type or shape, a value that is not
        finite, or a channel of one value only.
    """
    arrays = _load(path)
    if "x" not in arrays:
        raise ValueError(f"{path} has no array 'x', only {sorted(arrays)}")
    x = arrays["x"]
    if x.dtype != np.uint8 and not np.issubdtype(x.dtype, np.floating):
        raise ValueError(f"x in {path} must be uint8 or float, not {x.dtype}")
    check_layout(x, f"x in {path}")
    labels = arrays.get("y")
    if labels is not None:  # the file is not known any more where they are used
        as_labels(labels, len(x), f"y in {path}")
    broken = np.flatnonzero(~np.isfinite(x).all(axis=(1, 2, 3)))
    if len(broken):
        raise ValueError(
            f"image {broken[0]} of {path} has NaN or infinity ({len(broken)} such "
            f"of {len(x)})"
        )
    return _standardised(x, path), labels


def _load(path: Path) -> dict[str, np.ndarray]:
    """Returns ``x`` and ``y`` of an archive, or all of one that has no ``x``."""
    try:
        check_ends(path)
        with open(path, "rb") as file:
            if not (file.seekable() and zipfile.is_zipfile(file)):
                raise ValueError("not an npz file")
            file.seek(0)
            with zipfile.ZipFile(file) as archive:
                _check_fits(archive)
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                if "x" not in arrays.files:
                    return dict.fromkeys(arrays.files, np.zeros(0))
                return {name: arrays[name] for name in {"x", "y"} & {*arrays.files}}
    except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise _cannot_read(path, error) from error


def _check_fits(archive: zipfile.ZipFile) -> None:
    """Raises ValueError for arrays that are larger than memory when they are read."""
    for name in {"x.npy", "y.npy"} & {*archive.namelist()}:
        with archive.open(name) as member:
            version = np.lib.format.read_magic(member)
            read = np.lib.format.read_array_header_1_0
            if version != (1, 0):
                read = np.lib.format.read_array_header_2_0
            shape, _, dtype = read(member)
        need = math.prod(shape) * max(_BYTES, dtype.itemsize)
        if need > memory():
            raise ValueError(
                f"{name} is {list(shape)}, which needs {in_bytes(need)} of memory, and "
                f"there are {in_bytes(memory())}"
            )


def _standardised(x: np.ndarray, path: Path) -> np.ndarray:
    x = x.astype(np.float64) / (255 if x.dtype == np.uint8 else 1)
    mean, deviation = x.mean(axis=(0, 1, 2)), x.std(axis=(0, 1, 2))
    # relative, because the mean of equal numbers is not exactly that number
    constant = np.flatnonzero(deviation <= 1e-12 * np.abs(mean))
    if len(constant):
        raise ValueError(f"channel {constant[0]} of x in {path} has one value only")
    return ((x - mean) / deviation).astype(np.float32)


def _cannot_read(path: Path, error: Exception) -> ValueError:
    return ValueError(f"cannot read {path}: {getattr(error, 'strerror', 0) or error}")
