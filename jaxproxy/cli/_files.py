"""What users bring: lists of architectures and files of images (host code)."""

import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxproxy.spaces import Space


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
        text = sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")
    except (OSError, UnicodeError) as error:
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


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with open(path, "rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError("not an npz file")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise _cannot_read(path, error) from error


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
