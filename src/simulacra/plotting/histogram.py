"""Histograms with ratio panels: truth filled grey, generated events as a line, truth's error as a band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulacra.plotting.style import (
    BAND,
    LABELS,
    MODEL,
    NETWORKS,
    TRUTH_EDGE,
    TRUTH_FILL,
    Array,
    legend,
    logarithmic,
    new_figure,
    place,
    quotient,
    ratio_limits,
    with_unit,
)  # fmt: skip

ROWS, COLUMNS = 3, 3
SHOWN = 0.995
"""Share of the content inside the drawn range; the rest of a nearly empty range is cropped."""
BLURRED = 0.5
"""Relative error of the truth above which a bin has no ratio."""


@dataclass(frozen=True)
class Panel:
    """What one panel shows.

    Args:
        label: Text of the horizontal axis.
        unit: Its unit.
        edges: Bin edges ``(K + 1,)``.
        reference: Counts or contents of the truth ``(K,)``.
        generated: The same of generated events.
        reference_error: Absolute error of the truth ``(K,)``.
        generated_error: Absolute error of generated events.
        log_x: Whether the horizontal axis is logarithmic.
        log_y: Whether the vertical axis is; None: where a logarithmic horizontal axis spans three
            decades of content.
        ordinate: Text of the vertical axis.
        remark: Small text in the panel.
        networks: Mean over several networks ``(K,)`` and their standard deviation ``(K,)``, in the units
            of ``generated``, or None.
    """

    label: str
    unit: str
    edges: Array
    reference: Array
    generated: Array
    reference_error: Array
    generated_error: Array
    log_x: bool = False
    log_y: bool | None = None
    ordinate: str = "fraction per bin"
    remark: str = ""
    networks: tuple[Array, Array] | None = None


def counted(
    label: str,
    unit: str,
    edges: Array,
    reference: Array,
    generated: Array,
    log_x: bool,
    remark: str = "",
    networks: tuple[Array, Array] | None = None,
    variances: tuple[Array, Array] | None = None,
) -> Panel:
    """A panel of counts, normalised to the fraction per bin; ``networks`` are fractions, ``variances`` the
    squared errors of the counts at a given sum (None: the counts themselves, for Poisson errors).
    """
    p, q = reference.sum() or 1.0, generated.sum() or 1.0
    squares = (reference, generated) if variances is None else variances
    errors = np.sqrt(squares[0]) / p, np.sqrt(squares[1]) / q
    return Panel(
        label,
        unit,
        edges,
        reference / p,
        generated / q,
        *errors,
        log_x=log_x,
        remark=remark,
        networks=networks,
    )


def draw(main: Axes, ratio: Axes, panel: Panel) -> None:
    """Draw one panel on two axes that share their horizontal axis."""
    edges = _drawn(panel)
    main.stairs(panel.reference, edges, fill=True, fc=TRUTH_FILL, ec=TRUTH_EDGE, lw=0.8)
    if panel.networks is not None:
        _spread(main, edges, *panel.networks)
    main.stairs(panel.generated, edges, color=MODEL, lw=1.4)
    log_y = _ordinate(main, panel)
    _ratio(ratio, panel)
    low, high = _range(panel, whole=log_y)
    for ax in (main, ratio):
        if panel.log_x:
            logarithmic(ax, low, high)
        ax.set_xlim(low, high)
    main.tick_params(labelbottom=False)
    ratio.set_xlabel(with_unit(panel.label, panel.unit))
    ratio.set_ylabel("ratio")


def _spread(ax: Axes, edges: Array, mean: Array, width: Array) -> None:
    """One standard deviation of the networks around their mean."""
    ax.stairs(
        mean + width, edges, baseline=mean - width, fill=True, color=NETWORKS, alpha=0.5, lw=0
    )


def _ordinate(ax: Axes, panel: Panel) -> bool:
    """Scale, limits and texts of the vertical axis; returns whether it is logarithmic."""
    content = np.concatenate([panel.reference, panel.generated])
    filled = content[content > 0]
    wide = len(filled) > 0 and bool(filled.max() > 1e3 * filled.min())
    log_y = (panel.log_x and wide) if panel.log_y is None else panel.log_y and len(filled) > 0
    if log_y:
        ax.set_yscale("log")
        ax.set_ylim(filled.min() / 2, filled.max() * 8)
    else:
        ax.set_ylim(0, 1.25 * max(content.max(), 1e-12))
    ax.set_ylabel(panel.ordinate)
    at = ax.transAxes
    ax.text(0.97, 0.95, panel.remark, transform=at, ha="right", va="top", fontsize=8, color="#333")
    return log_y


def _ratio(ax: Axes, panel: Panel) -> None:
    edges = _drawn(panel)
    band = quotient(panel.reference_error, panel.reference)
    known = band <= BLURRED
    value = np.where(known, quotient(panel.generated, panel.reference), np.nan)
    error = np.where(known, quotient(panel.generated_error, panel.reference), np.nan)
    band = np.where(known, band, np.nan)
    ax.axhline(1, color=TRUTH_EDGE, lw=0.8)
    ax.stairs(1 + band, edges, baseline=1 - band, fill=True, color=BAND, alpha=0.4, lw=0)
    if panel.networks is not None:
        shown = (
            np.where(known, quotient(item, panel.reference), np.nan) for item in panel.networks
        )
        _spread(ax, edges, *shown)
    ax.stairs(value, edges, color=MODEL, lw=1.2, baseline=None)
    middles = np.sqrt(edges[1:] * edges[:-1]) if panel.log_x else (edges[1:] + edges[:-1]) / 2
    ax.vlines(middles, value - error, value + error, color=MODEL, lw=0.7, alpha=0.7)
    ratio_limits(ax, value, band, panel.reference)


def _drawn(panel: Panel) -> Array:
    """Edges as they are drawn: a logarithmic axis has no 0."""
    if not panel.log_x or panel.edges[0] > 0:
        return panel.edges
    return np.concatenate([[panel.edges[1] / 3], panel.edges[1:]])


def _range(panel: Panel, whole: bool) -> tuple[float, float]:
    """The whole range, or edges between which nearly all of the content lies, true or generated."""
    edges = _drawn(panel)
    content = np.maximum(panel.reference, panel.generated)
    if whole or not content.sum():
        return float(edges[0]), float(edges[-1])
    share = np.cumsum(content) / content.sum()
    first = int(np.searchsorted(share, (1 - SHOWN) / 2)) - 1
    last = int(np.searchsorted(share, (1 + SHOWN) / 2)) + 2
    margin = 3 if last - first < 6 else 0
    return float(edges[max(0, first - margin)]), float(edges[min(len(content), last + margin)])


def histogram_pages(
    panels: Sequence[Panel],
    labels: tuple[str, str] = LABELS,
    events: tuple[int, int] | None = None,
    networks: int = 0,
) -> list[Figure]:
    """Pages of nine panels each, every panel with a ratio below."""
    size = ROWS * COLUMNS
    return [
        _page(panels[start : start + size], labels, events, networks)
        for start in range(0, len(panels), size)
    ]


def _page(
    panels: Sequence[Panel],
    labels: tuple[str, str],
    events: tuple[int, int] | None,
    networks: int,
) -> Figure:
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(max(4.2 * columns, 7.0), 3.6 * rows + 0.4)
    grid = place(figure, rows, columns)
    for number, panel in enumerate(panels):
        inner = grid[number // columns, number % columns].subgridspec(
            2, 1, height_ratios=[3, 1], hspace=0.06
        )
        main = figure.add_subplot(inner[0])
        draw(main, figure.add_subplot(inner[1], sharex=main), panel)
    legend(figure, labels, events, networks)
    return figure
