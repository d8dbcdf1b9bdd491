"""Calls of the command line in this process, with what is quick to score."""

import pytest

from jaxproxy.cli import main
from jaxproxy.spaces import nasbench201

SPACE = nasbench201()
CODES = SPACE.enumerate()
ARCHS = [SPACE.to_str(code) for code in CODES[[15, 4711, 777, 12345]]]


def command(*arguments: object) -> int:
    """The exit code of ``jaxproxy ARGUMENTS``."""
    return main([str(argument) for argument in arguments])


def score_counts(out: object, *arguments: object) -> int:
    """Scores with a proxy that compiles nothing."""
    return command(
        "score", "nasbench201", "--proxies", "params", "--out", out, *arguments
    )


def failed(capsys: pytest.CaptureFixture[str], code: int) -> str:
    """The one line of an error."""
    assert code == 2
    printed = capsys.readouterr()
    (line,) = [s for s in printed.err.splitlines() if s]
    assert line.startswith("jaxproxy: error: ")
    return line
