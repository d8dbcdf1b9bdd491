"""What users bring: lists of architectures and files of images (host code)."""

import math
import stat
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxproxy.limits import in_bytes, memory
from jaxproxy.spaces import Space

# Of an image's number: as it is read, as float64 twice, and as float32.
_BYTES = 24


def read_archs(path: Path, space: Space) -> tuple[list[str], np.ndarray]:
    """Architecture strings, one a line, and their codes int32[N, G].

    Blank lines do not count; the path ``-`` is standard input.

    Raises:
      ValueError: the file cannot be read or names no architecture, or a line is not
        one; the message has its number.
    """
    strings, codes = [], []
    for number, line in _numbered_lines(path):
        try:
            codes.append(space.from_str(line))
        except ValueError as error:
            raise ValueError(f"line {number} of {path}: {error}") from error
        strings.append(line)
    if not codes:
        raise ValueError(f"{path} has no architectures; write one a line")
    return strings, np.stack(codes)


def _numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        if str(path) == "-":
            text = sys.stdin.read()
        else:
            _check_ends(path)
            text = path.read_text("utf-8")
    except (OSError, ValueError) as error:  # of an encoding, too
        raise _cannot_read(path, error) from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line.strip()


def read_images(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Images float32[N, R, R, 3] of an npz file and their labels, if it has any.

    The file has ``x``, uint8 from 0 to 255 or float in any unit, and may have labels
    ``y``, integer[N]. Images are standardised as a whole: mean 0 and deviation 1 per
    channel.

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
    if x.ndim != 4 or x.shape[3] != 3 or x.shape[1] != x.shape[2] or not x.size:
        raise ValueError(f"x in {path} must be [N, R, R, 3], not {list(x.shape)}")
    if "y" in arrays and arrays["y"].shape != x.shape[:1]:
        shape = list(arrays["y"].shape)
        raise ValueError(f"y in {path} must be [{len(x)}] like x, not {shape}")
    broken = np.flatnonzero(~np.isfinite(x).all(axis=(1, 2, 3)))
    if len(broken):
        raise ValueError(
            f"image {broken[0]} of {path} has NaN or infinity ({len(broken)} such "
            f"of {len(x)})"
        )
    return _standardised(x, path), arrays.get("y")


def _check_ends(path: Path) -> None:
    """Raises ValueError for a device, which may have no end, as ``/dev/zero``."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISDIR(mode)):
        raise ValueError("it is no regular file")


def _load(path: Path) -> dict[str, np.ndarray]:
    """Returns ``x`` and ``y`` of an archive, or all of one that has no ``x``."""
    try:
        _check_ends(path)
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
