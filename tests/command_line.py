"""Calls of the command line in this process, with what is quick to score."""

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
