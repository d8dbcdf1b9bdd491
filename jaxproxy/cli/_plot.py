"""Figures of reports; the only file that needs matplotlib (host)."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

try:
    from matplotlib.figure import Figure
except ImportError as error:
    raise ValueError(
        f"a figure needs matplotlib ({error}); pip install 'jaxproxy[plot]'"
    ) from error

from jaxproxy.analysis import Record
from jaxproxy.options import printable, quoted
from jaxproxy.runs import one_line_errors
from jaxproxy.search import Curves
from jaxproxy.spaces import Graph

_SUFFIXES = (".png", ".svg")
_MOST = 60  # rows that can still be read
_MOST_NAME, _MOST_TITLE = 100, 500  # characters of a text


def check_path(path: Path) -> None:
    """Refuses a file that is neither PNG nor SVG, or whose folder does not exist."""
    if path.suffix not in _SUFFIXES:
        raise ValueError(
            f"cannot plot to {quoted(str(path))}; end it in one of {_SUFFIXES}"
        )
    if not path.absolute().parent.is_dir():
        raise ValueError(f"cannot plot to {quoted(str(path))}; there is no such folder")


def plot_ablation(records: Sequence[Record], path: Path) -> None:
    """Kendall's tau of each variant, a panel for each truth, best first.

    Args:
      records: of an :class:`~jaxproxy.analysis.Ablation`.
      path: a PNG or SVG file, replaced if it exists.
    """
    truths = list(dict.fromkeys(record.truth for record in records))
    rows = {truth: [r for r in records if r.truth == truth] for truth in truths}
    names = [record.proxy for record in rows[truths[0]]]
    shown = names[:_MOST]
    figure = Figure(
        figsize=(4 + 3 * len(truths), 1.2 + 0.2 * len(shown)), layout="constrained"
    )
    panels = figure.subplots(1, len(truths), sharey=True, squeeze=False)[0]
    for panel, truth in zip(panels, truths, strict=True):
        by_name = {record.proxy: record for record in rows[truth]}
        for place, name in enumerate(shown):
            record = by_name[name]
            panel.plot(record.tau, place, "o", color="tab:blue", markersize=4)
            if "tau" in record.intervals:
                interval = record.intervals["tau"]
                panel.plot(interval, (place, place), color="tab:blue", linewidth=1)
        title = f"{_plain(truth)} ({by_name[names[0]].n} archs)"
        panel.set_title(title, fontsize=9)
        panel.set_xlabel("Kendall's tau")
        panel.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(shown)), [*map(_plain, shown)], fontsize=7)
    panels[0].invert_yaxis()
    if len(shown) < len(names):
        figure.suptitle(f"the best {len(shown)} of {len(names)} variants", fontsize=9)
    _save(figure, path)


def plot_curves(found: Mapping[tuple[str, str], Curves], path: Path) -> None:
    """Median and quartiles of what searches had found, a panel for each truth.

    Args:
      found: curves by method and truth.
      path: a PNG or SVG file, replaced if it exists.
    """
    truths = list(dict.fromkeys(truth for _, truth in found))
    figure = Figure(figsize=(1 + 4 * len(truths), 4), layout="constrained")
    panels = figure.subplots(1, len(truths), squeeze=False)[0]
    for panel, truth in zip(panels, truths, strict=True):
        for (method, reported), curve in found.items():
            if reported != truth:
                continue
            low, middle, high = np.quantile(curve.honest, (0.25, 0.5, 0.75), axis=0)
            places = np.arange(1, len(middle) + 1)
            (line,) = panel.plot(places, middle, label=_plain(method))
            panel.fill_between(places, low, high, alpha=0.15, color=line.get_color())
        panel.set_title(_plain(truth), fontsize=9)
        panel.set_xlabel("evaluations")
        panel.set_xscale("log")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("truth of the best by what was seen")
    lines = panels[0].get_legend_handles_labels()
    figure.legend(*lines, loc="outside lower center", ncols=2, fontsize=7)
    _save(figure, path)


def plot_matrix(
    names: Sequence[str], values: Sequence[Sequence[float]], title: str, path: Path
) -> None:
    """A matrix of correlations as colours and numbers.

    Args:
      names: K of them.
      values: K rows of K numbers, each in [-1, 1] or NaN.
      title: above the figure.
      path: a PNG or SVG file, replaced if it exists.
    """
    side = 2.5 + 0.45 * len(names)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(np.array(values), vmin=-1, vmax=1, cmap="RdBu_r")
    for (row, column), value in np.ndenumerate(values):
        text = f"{value:.2f}".replace("0.", ".", 1).replace("nan", "")
        colour = "white" if abs(value) > 0.6 else "black"
        axes.text(column, row, text, ha="center", va="center", size=7, color=colour)
    texts = [*map(_plain, names)]
    axes.set_xticks(range(len(names)), texts, rotation=90, fontsize=8)
    axes.set_yticks(range(len(names)), texts, fontsize=8)
    axes.set_title(_plain(title), fontsize=9)
    figure.colorbar(image, shrink=0.6)
    _save(figure, path)


def plot_architecture(graph: Graph, title: str, path: Path) -> None:
    """Nodes from left to right by their distance from the input, edges as arrows.

    Args:
      graph: of a space's ``graph(code)``.
      title: above the figure.
      path: a PNG or SVG file, replaced if it exists.
    """
    nodes = [_plain(text) for text in graph.nodes]
    edges = [(source, target, _plain(label)) for source, target, label in graph.edges]
    graph = Graph(tuple(nodes), tuple(edges))
    places = _places(graph)
    columns, rows = (max(p[axis] for p in places) + 1 for axis in (0, 1))
    texts = [*graph.nodes, *(label for _, _, label in graph.edges)]
    inch = max(map(len, texts)) * 0.08 + 0.5  # between columns; rows are an inch apart
    bends = _bends(graph, places)
    top = max(
        [
            0.0,
            *(
                b * (places[t][0] - places[s][0]) * inch / 2
                for b, (s, t, _) in zip(bends, graph.edges, strict=True)
            ),
        ]
    )
    size = (columns * inch, rows + top + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    for bend, (source, target, label) in zip(bends, graph.edges, strict=True):
        (x0, y0), (x1, y1) = places[source], places[target]
        arrow = {
            "arrowstyle": "-|>",
            "color": "tab:gray",
            "connectionstyle": f"arc3,rad={-bend}",
            "shrinkA": 8 + 2 * len(graph.nodes[source]),
            "shrinkB": 8 + 2 * len(graph.nodes[target]),
        }
        axes.annotate("", (x1, y1), (x0, y0), arrowprops=arrow)
        middle = (x0 + x1) / 2, (y0 + y1) / 2 + bend * (x1 - x0) * inch / 2 + 0.06
        axes.text(*middle, label, ha="center", va="bottom", size=7, color="tab:blue")
    box = {"boxstyle": "round", "facecolor": "white", "edgecolor": "black"}
    for (x, y), text in zip(places, graph.nodes, strict=True):
        axes.text(x, y, text, ha="center", va="center", size=8, bbox=box)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(-rows / 2, rows / 2 + top)
    width = int(size[0] / 0.075)
    lines = textwrap.wrap(_plain(title, _MOST_TITLE), width)
    axes.set_title("\n".join(lines), fontsize=8)
    axes.axis("off")
    _save(figure, path)


def _plain(text: str, most: int = _MOST_NAME) -> str:
    """Returns a text as Matplotlib shows it letter by letter, cut if it is long.

    A dollar would begin a formula, and an unreadable one would be an error.
    """
    if len(text) > most:
        text = f"{text[: most - 3]}..."
    return printable(text).replace("$", r"\$")


def _bends(graph: Graph, places: Sequence[tuple[float, float]]) -> list[float]:
    """How far each edge is bent, that parallel ones and nodes on the way stay clear."""
    bends, copies = [], dict[tuple[int, int], int]()
    for source, target, _ in graph.edges:
        (x0, y0), (x1, y1) = places[source], places[target]
        before = copies.get((source, target), 0)
        copies[source, target] = before + 1
        bends.append(0.35 * (before + (y0 == y1 and x1 - x0 > 1)))
    return bends


def _places(graph: Graph) -> list[tuple[float, float]]:
    """Column, by the longest path from a source, and height of each node."""
    columns = [0] * len(graph.nodes)
    for target in range(len(graph.nodes)):
        feeding = [s for s, t, _ in graph.edges if t == target]
        columns[target] = max((columns[s] + 1 for s in feeding), default=0)
    heights = []
    for node, column in enumerate(columns):
        peers = [n for n, c in enumerate(columns) if c == column]
        heights.append((len(peers) - 1) / 2 - peers.index(node))
    return list(zip(columns, heights, strict=True))


def _save(figure: Figure, path: Path) -> None:
    with one_line_errors("write", path):
        figure.savefig(path, dpi=150)
