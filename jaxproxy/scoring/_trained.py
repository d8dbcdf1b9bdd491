"""Searches that are told accuracies of trained architectures, kept in a CSV file."""

import csv
import logging
import math
import os
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxproxy.limits import check_seed
from jaxproxy.search import Core, Search
from jaxproxy.spaces import Space

_LOGGER = logging.getLogger("jaxproxy")
_HEADER = ("arch", "accuracy")


def search_trained(
    search: Search,
    space: Space,
    train: Callable[[str], float],
    file: str | os.PathLike[str],
    *,
    budget: int,
    seed: int = 0,
) -> Core:
    """Runs a search on accuracies from a function that trains, into a CSV file.

    A line is added behind each training, so the same call finishes a run that was
    stopped: the search asks anew and is told what is there, with the same trace. Lines
    that the search did not ask for, such as accuracies that were known before, are told
    as well, and count.

    Args:
      search: what asks, made with genes of the space; it is told one at a time.
      space: of the architectures.
      train: architecture string -> accuracy, higher is better; NaN if its training
        failed, which counts. An exception ends the run and leaves no line.
      file: with columns ``arch`` and ``accuracy``; it need not exist.
      budget: how many lines the file has in the end.
      seed: of the search.

    Returns:
      What the search knows: the best code, its accuracy and the number told.

    Raises:
      ValueError: a budget below one, a search that is told several scores, or a file
        that is none of these.
    """
    if budget < 1:
        raise ValueError(f"a search needs a budget of at least 1, not {budget}")
    check_seed(seed)
    if search.scores > 1:
        raise ValueError(f"this search is told {search.scores} scores, not an accuracy")
    path = Path(file)
    known = _read(path)
    ask, tell = jax.jit(search.ask), jax.jit(search.tell)
    state = search.init(jax.random.key(seed))
    for number in range(budget):
        after, code = ask(state)
        arch = space.to_str(np.asarray(code))
        if number < len(known):
            asked, (arch, accuracy) = arch, known[number]
            # What was not asked for is told to the search as it was.
            state = after if arch == asked else state
            code = jnp.asarray(space.from_str(arch), jnp.int32)
        else:
            state, accuracy = after, float(train(arch))
            _append(path, arch, accuracy)
        best = float(state.core.fitness)
        state = tell(state, code, jnp.float32(accuracy))
        if float(state.core.fitness) > best:
            _LOGGER.info("%.6g after %d: %s", accuracy, number + 1, arch)
    return state.core


def _read(path: Path) -> list[tuple[str, float]]:
    """Returns the lines of a file, after its header; a line without an end is cut off.

    Raises:
      ValueError: it is no such file.
    """
    if not path.exists():
        return []
    try:
        text = path.read_text("utf-8-sig")  # spreadsheets write a byte-order mark
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8, in which lines are added") from error
    whole = text[: text.rfind("\n") + 1]
    if whole != text:  # killed in the middle of a line
        path.write_text(whole, "utf-8")
    if not whole:
        return []
    header, *lines = list(csv.reader(whole.splitlines()))
    if tuple(header) != _HEADER:
        raise ValueError(f"{path} has columns {header}, not {list(_HEADER)}")
    rows = []
    for number, line in enumerate(lines, 2):
        try:
            arch, accuracy = line
            rows.append((arch, float(accuracy)))
        except ValueError:
            raise ValueError(f"line {number} of {path} is {line}") from None
    return rows


def _append(path: Path, arch: str, accuracy: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if file.tell() == 0:
            writer.writerow(_HEADER)
        writer.writerow([arch, repr(accuracy) if math.isfinite(accuracy) else "nan"])
        file.flush()
        os.fsync(file.fileno())
