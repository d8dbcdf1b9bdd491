"""Drawings of architectures, and the mistakes that end in none."""

import re
from pathlib import Path

import pytest
from helpers.command_line import ARCHS, command

from jaxproxy.spaces import SPACES, Graph

plot = pytest.importorskip("jaxproxy.cli._plot")


@pytest.mark.parametrize("name", SPACES)
def test_nodes_stand_in_order_and_say_what_they_are(name: str, tmp_path: Path) -> None:
    """As text, since an SVG can be read."""
    space = SPACES[name]()
    assert space.graph is not None
    code = space.check_codes(space.from_str(space.to_str(_some(space)))[None])[0]
    graph = space.graph(code)
    assert graph.nodes
    assert all(0 <= s < t < len(graph.nodes) for s, t, _ in graph.edges)
    figure = tmp_path / "arch.svg"
    assert command("draw", name, space.to_str(code), "--out", figure) == 0
    assert figure.stat().st_size > 1000


def _some(space):
    import numpy as np

    return space.sample(np.random.default_rng(0), 1)[0]


def test_columns_follow_the_longest_path(tmp_path: Path) -> None:
    """So no edge points backwards; nodes of one column stand above each other."""
    graph = Graph(
        ("in", "a", "b", "out"),
        ((0, 1, ""), (0, 2, ""), (1, 3, ""), (2, 3, ""), (0, 3, "skip")),
    )
    assert plot._places(graph) == [(0, 0), (1, 0.5), (1, -0.5), (2, 0)]
    # The shortcut runs along the line of its ends, where nodes may stand.
    assert plot._bends(graph, plot._places(graph)) == [0, 0, 0, 0, 0.35]
    plot.plot_architecture(graph, "toy", tmp_path / "toy.png")
    assert (tmp_path / "toy.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nasbench", ARCHS[0], "--out", "a.png"), "unknown space 'nasbench'; choose"),
        (("nasbench201", "x", "--out", "a.png"), "'x' has 1 nodes"),
        (("nasbench201", ARCHS[0], "--out", "a.pdf"), "cannot plot to 'a.pdf'"),
    ],
)
def test_mistakes(words, message, capsys) -> None:
    """One line and exit code 2."""
    assert command("draw", *words) == 2
    assert re.search(message, capsys.readouterr().err)
