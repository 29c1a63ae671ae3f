"""Pages of one sample by itself: its observables and its mean images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulacra.plotting.image import Raster, decades, mesh, shown, unit_of
from simulacra.plotting.style import (
    TRUTH_EDGE,
    TRUTH_FILL,
    Array,
    logarithmic,
    new_figure,
    place,
    styled,
    with_unit,
)

COLUMNS = 3
ROWS = 4
"""Rows of a page, at most."""
WIDE = 1e3
"""Ratio of the largest to the smallest content from which the vertical axis is logarithmic."""


@dataclass(frozen=True)
class Bars:
    """One histogram.

    Args:
        label: Text of the horizontal axis.
        unit: Its unit.
        edges: Bin edges ``(K + 1,)``.
        content: Share of the values in each bin ``(K,)``.
        log: Whether the horizontal axis is logarithmic.
    """

    label: str
    unit: str
    edges: Array
    content: Array
    log: bool


def sample_pages(bars: Sequence[Bars], title: str) -> list[Figure]:
    """Pages of histograms of one sample.

    Args:
        bars: The histograms.
        title: What is above each page.
    """
    size = COLUMNS * ROWS
    with styled():
        return [_page(bars[start : start + size], title) for start in range(0, len(bars), size)]


def mean_images(rasters: Sequence[Raster], title: str) -> Figure:
    """Mean images of one sample; of pairs the first is drawn."""
    columns = min(COLUMNS, len(rasters))
    rows = -(-len(rasters) // columns)
    with styled():
        figure = new_figure(4.6 * columns + 0.6, 3.4 * rows + 0.8)
        grid = place(figure, rows, columns, right=0.6, top=0.7, wide=1.2)
        for number, raster in enumerate(rasters):
            ax = figure.add_subplot(grid[number // columns, number % columns])
            values, _ = shown(raster)
            mesh(figure, ax, raster, values, decades(values), "viridis", unit_of(raster))
            ax.set_title(raster.title, pad=8)
        _head(figure, title)
    return figure


def _page(bars: Sequence[Bars], title: str) -> Figure:
    columns = min(COLUMNS, len(bars))
    rows = -(-len(bars) // columns)
    figure = new_figure(max(4.2 * columns, 6.0), 2.7 * rows + 0.5)
    grid = place(figure, rows, columns)
    for number, item in enumerate(bars):
        draw(figure.add_subplot(grid[number // columns, number % columns]), item)
    _head(figure, title)
    return figure


def draw(ax: Axes, item: Bars) -> None:
    """Draw one histogram."""
    edges = item.edges
    if item.log and edges[0] <= 0:  # a logarithmic axis has no 0
        edges = np.concatenate([[edges[1] / 3], edges[1:]])
    ax.stairs(item.content, edges, fill=True, fc=TRUTH_FILL, ec=TRUTH_EDGE, lw=0.8)
    filled = item.content[item.content > 0]
    if len(filled) and filled.max() > WIDE * filled.min():
        ax.set_yscale("log")
        ax.set_ylim(filled.min() / 2, filled.max() * 3)
    else:
        ax.set_ylim(0, 1.1 * max(float(item.content.max()), 1e-12))
    if item.log:
        logarithmic(ax, float(edges[0]), float(edges[-1]))
    ax.set_xlim(float(edges[0]), float(edges[-1]))
    ax.set_xlabel(with_unit(item.label, item.unit))
    ax.set_ylabel("fraction per bin")


def _head(figure: Figure, title: str) -> None:
    height = float(figure.get_size_inches()[1])
    figure.text(0.5, 1 - 0.08 / height, title, ha="center", va="top", fontsize=10)
