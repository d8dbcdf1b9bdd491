"""Figures of reports; the only file that needs matplotlib (host)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

try:
    from matplotlib.figure import Figure
except ImportError as error:
    raise ValueError(
        f"a figure needs matplotlib ({error}); pip install 'jaxproxy[plot]'"
    ) from error

from jaxproxy.files import one_line_errors

__all__ = ["check_path", "plot_ablation", "plot_matrix"]

_SUFFIXES = (".png", ".svg")
_MOST = 60  # rows that can still be read


def check_path(path: Path) -> None:
    """Refuses a file that is neither PNG nor SVG, or whose folder does not exist."""
    if path.suffix not in _SUFFIXES:
        raise ValueError(f"cannot plot to {str(path)!r}; end it in one of {_SUFFIXES}")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"cannot plot to {str(path)!r}; there is no such folder")


def plot_ablation(records: Sequence[dict[str, Any]], path: Path) -> None:
    """Kendall's tau of each variant, a panel for each truth, best first.

    Args:
      records: of an :class:`~jaxproxy.ablation.Ablation`.
      path: a PNG or SVG file, replaced if it exists.
    """
    truths = list(dict.fromkeys(record["truth"] for record in records))
    rows = {truth: [r for r in records if r["truth"] == truth] for truth in truths}
    names = [record["proxy"] for record in rows[truths[0]]]
    shown = names[:_MOST]
    figure = Figure(
        figsize=(4 + 3 * len(truths), 1.2 + 0.2 * len(shown)), layout="constrained"
    )
    panels = figure.subplots(1, len(truths), sharey=True, squeeze=False)[0]
    for panel, truth in zip(panels, truths, strict=True):
        by_name = {record["proxy"]: record for record in rows[truth]}
        for place, name in enumerate(shown):
            record = by_name[name]
            panel.plot(record["tau"], place, "o", color="tab:blue", markersize=4)
            if "tau" in record["intervals"]:
                interval = record["intervals"]["tau"]
                panel.plot(interval, (place, place), color="tab:blue", linewidth=1)
        panel.set_title(f"{truth} ({by_name[names[0]]['n']} archs)", fontsize=9)
        panel.set_xlabel("Kendall's tau")
        panel.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(shown)), shown, fontsize=7)
    panels[0].invert_yaxis()
    if len(shown) < len(names):
        figure.suptitle(f"the best {len(shown)} of {len(names)} variants", fontsize=9)
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
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_title(title, fontsize=9)
    figure.colorbar(image, shrink=0.6)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    with one_line_errors("write", path):
        figure.savefig(path, dpi=150)
