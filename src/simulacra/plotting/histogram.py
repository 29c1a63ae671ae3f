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
    arrows,
    few_numbers,
    legend_of,
    logarithmic,
    named_bins,
    new_figure,
    place,
    quotient,
    ratio_axis,
    reach,
    shared,
    stairs,
    with_unit,
)  # fmt: skip

ROWS, COLUMNS = 3, 3
SHOWN = 0.995
"""Share of the content inside the drawn range; the rest of a nearly empty range is cropped."""
BLURRED = 0.5
"""Relative error of the truth above which a bin has no ratio."""
HEAPED = 0.5
"""Share of the truth in one bin from which the vertical axis is logarithmic, so that the rest can be seen."""
NARROW = 4
"""Bins, at most, of which a heap in one is a matter of course."""
FALLING = 0.125
"""Share of the range within which a falling spectrum has its peak; over three decades it is drawn so, too."""


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
            decades of content, or one bin holds most of it.
        ordinate: Text of the vertical axis.
        remark: Small text in the panel.
        networks: Mean over several networks ``(K,)`` and their standard deviation ``(K,)``, in the units
            of ``generated``, or None.
        names: Names of the bins ``(K,)``, which are then of width 1 from 0 on.
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
    names: tuple[str, ...] = ()

    @property
    def drawn(self) -> Array:
        """Edges as they are drawn: a logarithmic axis has no 0."""
        if not self.log_x or self.edges[0] > 0:
            return self.edges
        return np.concatenate([[self.edges[1] / 3], self.edges[1:]])

    @property
    def middles(self) -> Array:
        """Middles of the bins as they are drawn ``(K,)``."""
        low, high = self.drawn[:-1], self.drawn[1:]
        return np.sqrt(low * high) if self.log_x else (low + high) / 2

    @property
    def ratio(self) -> tuple[Array, Array, Array]:
        """Generated over true content, its error, and the relative error of the truth, ``(K,)`` each; NaN
        where the truth is not known.
        """
        band = quotient(self.reference_error, self.reference)
        value = quotient(self.generated, self.reference)
        error = quotient(self.generated_error, self.reference)
        unknown = ~(band <= BLURRED)
        return tuple(np.where(unknown, np.nan, item) for item in (value, error, band))  # type: ignore[return-value]

    @property
    def reach(self) -> float:
        """The half width around 1 that its ratio panel needs."""
        value, _, band = self.ratio
        return reach(value, band, self.reference)


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


def draw(main: Axes, ratio: Axes, panel: Panel, half: float | None = None) -> None:
    """Draw one panel on two axes that share their horizontal axis.

    Args:
        main: Where contents go.
        ratio: Where generated over true content goes.
        panel: What is drawn.
        half: Half width of the ratio panel around 1; None: what the panel needs.
    """
    edges = panel.drawn
    stairs(main, panel.reference, edges, fill=True, fc=TRUTH_FILL, ec=TRUTH_EDGE, lw=0.8)
    if panel.networks is not None:
        _spread(main, edges, *panel.networks)
    stairs(main, panel.generated, edges, ec=MODEL, lw=1.4)
    log_y = _ordinate(main, panel)
    _ratio(ratio, panel, panel.reach if half is None else half)
    low, high = _range(panel, whole=log_y)
    for ax in (main, ratio):
        if panel.log_x:
            logarithmic(ax, low, high)
        elif panel.names:
            named_bins(ax, panel.names)
        else:
            few_numbers(ax)
        ax.set_xlim(low, high)
    main.tick_params(which="both", labelbottom=False)
    ratio.set_xlabel(with_unit(panel.label, panel.unit))
    ratio.set_ylabel("ratio", loc="center")


def _spread(ax: Axes, edges: Array, mean: Array, width: Array) -> None:
    """One standard deviation of the networks around their mean."""
    band = mean - width
    stairs(ax, mean + width, edges, baseline=band, fill=True, fc=NETWORKS, alpha=0.5, lw=0)


def _ordinate(ax: Axes, panel: Panel) -> bool:
    """Scale, limits and texts of the vertical axis; returns whether it is logarithmic."""
    content = np.concatenate([panel.reference, panel.generated])
    filled = content[content > 0]
    lines = panel.remark.count("\n") + 1 if panel.remark else 0
    log_y = len(filled) > 0 and (_steep(panel, filled) if panel.log_y is None else panel.log_y)
    if log_y:
        low, high = filled.min() / 2, filled.max()
        ax.set_yscale("log")
        ax.set_ylim(low, high * (high / low) ** (0.08 + 0.11 * lines))
    else:
        ax.set_ylim(0, (1.12 + 0.14 * lines) * max(content.max(), 1e-12))
    ax.set_ylabel(panel.ordinate)
    at = ax.transAxes
    ax.text(0.97, 0.95, panel.remark, transform=at, ha="right", va="top", fontsize=8, color="#333")
    return log_y


def _steep(panel: Panel, filled: Array) -> bool:
    """Whether contents can be read on a logarithmic axis alone."""
    heaped = panel.reference.max() > HEAPED * panel.reference.sum()
    falling = panel.reference.argmax() < FALLING * len(panel.reference)
    decades = np.log10(filled.max() / filled.min())
    return bool(
        (decades > 3 and (panel.log_x or falling))
        or (decades > 0.5 and heaped and len(panel.reference) > NARROW)
    )


def _ratio(ax: Axes, panel: Panel, half: float) -> None:
    edges, (value, error, band) = panel.drawn, panel.ratio
    ax.axhline(1, color=TRUTH_EDGE, lw=0.8)
    stairs(ax, 1 + band, edges, baseline=1 - band, fill=True, fc=BAND, alpha=0.4, lw=0)
    if panel.networks is not None:
        mean, width = (quotient(item, panel.reference) for item in panel.networks)
        unknown = np.isnan(value)
        _spread(ax, edges, np.where(unknown, np.nan, mean), np.where(unknown, np.nan, width))
    stairs(ax, value, edges, ec=MODEL, lw=1.2, baseline=None)
    middles = panel.middles
    ax.vlines(middles, value - error, value + error, color=MODEL, lw=0.7, alpha=0.7)
    ratio_axis(ax, half)
    arrows(ax, middles, value, half)


def _range(panel: Panel, whole: bool) -> tuple[float, float]:
    """The range with content, or edges between which nearly all of it lies, true or generated."""
    edges = panel.drawn
    content = np.maximum(panel.reference, panel.generated)
    if panel.names or not content.sum():
        return float(edges[0]), float(edges[-1])
    if whole:
        filled = np.flatnonzero(content)
        return float(edges[max(0, filled[0] - 1)]), float(edges[min(len(content), filled[-1] + 2)])
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
    """Pages of nine panels each, every panel with a ratio below, of one range on a page."""
    return [histogram_page(page, labels, events, networks) for page in split(panels)]


def split(panels: Sequence[Panel]) -> list[Sequence[Panel]]:
    """Panels of each page."""
    size = ROWS * COLUMNS
    return [panels[start : start + size] for start in range(0, len(panels), size)]


def histogram_page(
    panels: Sequence[Panel],
    labels: tuple[str, str] = LABELS,
    events: tuple[int, int] | None = None,
    networks: int = 0,
    several: str = "networks",
) -> Figure:
    """One page with all panels; bands are those of several networks, or of what they are called."""
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    width = max(4.2 * columns, 5.0)
    legend = legend_of(width, labels, events, networks, several)
    figure = new_figure(width, 3.5 * rows + 0.1 + legend.height)
    grid = place(figure, rows, columns, top=legend.height)
    half = shared([panel.reach for panel in panels])
    for number, panel in enumerate(panels):
        inner = grid[number // columns, number % columns].subgridspec(
            2, 1, height_ratios=[3, 1], hspace=0.06
        )
        main = figure.add_subplot(inner[0])
        draw(main, figure.add_subplot(inner[1], sharex=main), panel, half)
    legend.draw(figure)
    return figure
