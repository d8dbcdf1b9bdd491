"""The command ``jaxproxy``.

Options are fields of dataclasses. Everything slow to import is imported where it is
used, so that ``jaxproxy --help`` answers at once.
"""

import io
import logging
import os
import sys
from collections.abc import Callable, Sequence

import tyro

from jaxproxy.cli._best_of import BestOf
from jaxproxy.cli._commands import (
    Ablate,
    Correlate,
    Draw,
    Fsck,
    List,
    Matrix,
    Plan,
)
from jaxproxy.cli._errors import EscapedFormatter, one_line
from jaxproxy.cli._merge import Merge
from jaxproxy.cli._propose import Propose
from jaxproxy.cli._score import Score
from jaxproxy.cli._search import Search
from jaxproxy.cli._simulate import Simulate
from jaxproxy.cli._workers import Status

__all__ = ["main"]

Command = Callable[[], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code.

    That is 2 for a mistake of the user or a failing disk, and 128 + the number of a
    signal that stopped a run.

    Args:
      argv: arguments without the name of the program; those of the process by default.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what an encoding lacks, escaped
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _parse(argv)()
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever reads, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError, MemoryError, RuntimeError, ImportError) as error:
        line = one_line(error)
        if line is None:
            raise
        print("jaxproxy: error:", line, file=sys.stderr)
        return 2


def _parse(argv: Sequence[str] | None) -> Command:
    commands: dict[str, Callable[..., Command]] = {
        "score": Score,
        "correlate": Correlate,
        "best-of": BestOf,
        "search": Search,
        "simulate": Simulate,
        "propose": Propose,
        "ablate": Ablate,
        "matrix": Matrix,
        "list": List,
        "plan": Plan,
        "draw": Draw,
        "fsck": Fsck,
        "merge": Merge,
        "status": Status,
    }
    command = tyro.extras.subcommand_cli_from_dict(
        commands,
        prog="jaxproxy",
        description="Rank neural architectures without training them.",
        args=argv,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(EscapedFormatter())
    logging.basicConfig(handlers=[handler])
    logging.getLogger("jaxproxy").setLevel(logging.INFO)
    return command
