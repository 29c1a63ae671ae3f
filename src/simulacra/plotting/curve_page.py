"""Curves that scores leave, each above the differences of generated events from the truth over errors."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from simulacra.metrics.engine.curve import Curve, Series
from simulacra.plotting.style import (
    BAND,
    LABELS,
    MODEL,
    TRUTH_EDGE,
    Array,
    Legend,
    legend_of_points,
    new_figure,
    place,
    with_unit,
)

COLUMNS = 4
"""Panels side by side, at most."""
FURTHER = ("#3b7ea1", "#6a9a3b", "#8a6bb1")
"""Colours of further series."""
STEPS = ((8.0, (1, 1.5, 2, 3, 4, 5, 6, 8)), (200.0, (1, 2, 5)), (math.inf, (1,)))
"""Numbers of a decade that a logarithmic axis shows, by the largest over the smallest abscissa."""
REACH = 5.0
"""Differences up to which a panel shows them [standard deviations], at least."""


def curve_page(
    curves: Mapping[str, Curve],
    labels: tuple[str, str] = LABELS,
    events: tuple[int, int] | None = None,
) -> Figure:
    """A panel for each curve.

    Args:
        curves: By name.
        labels: Names of truth and generated events.
        events: Their numbers.
    """
    columns = min(COLUMNS, len(curves))
    rows = -(-len(curves) // columns)
    width = max(3.9 * columns, 5.0)
    names = list(dict.fromkeys(name for curve in curves.values() for name in curve.further))
    colours = dict(zip(names, FURTHER, strict=False))
    lines = [(Line2D([], [], color=c, marker="D", ms=3, lw=1), n) for n, c in colours.items()]
    legend = Legend(width, [*legend_of_points(width, labels, events).entries, *lines])
    figure = new_figure(width, 3.6 * rows + legend.height)
    cells = place(figure, rows, columns, top=legend.height, wide=0.85)
    for number, curve in enumerate(curves.values()):
        inner = cells[number // columns, number % columns].subgridspec(
            2, 1, height_ratios=[3, 1], hspace=0.06
        )
        main = figure.add_subplot(inner[0])
        below = figure.add_subplot(inner[1], sharex=main)
        for name, series in curve.further.items():
            _draw(main, series, colours[name], "D")
        _draw(main, curve.reference, TRUTH_EDGE, "s")
        _draw(main, curve.generated, MODEL, "o")
        main.set_ylabel(with_unit(curve.label, curve.unit))
        _pulls(below, curve)
        if curve.axis.log:
            known = curve.reference.x[np.isfinite(curve.reference.x)]
            if len(known):
                _logarithmic(main, known.min(), known.max())
        main.tick_params(which="both", labelbottom=False)
        below.set_xlabel(with_unit(curve.axis.label, curve.axis.unit))
        below.set_ylabel(r"$\Delta\,/\,\sigma$", loc="center")
    legend.draw(figure)
    return figure


def _logarithmic(ax: Axes, low: float, high: float) -> None:
    """Logarithmic axis with round numbers, few enough that they do not meet."""
    ax.set_xscale("log")
    steps = next(item for item in STEPS if high / low < item[0])[1]
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    at = [step * 10.0**power for power in decades for step in steps]
    shown = [x for x in at if 0.8 * low <= x <= 1.25 * high]
    ax.set_xticks(shown, [f"{x:,.10g}" for x in shown])
    ax.xaxis.set_minor_formatter(NullFormatter())


def _draw(ax: Axes, series: Series, colour: str, marker: str) -> None:
    joined = "-" if series.line is None else ""
    style = f"{marker}{joined}"
    ax.errorbar(series.x, series.y, series.error, fmt=style, ms=3.5, lw=1, color=colour, capsize=2)
    if series.line is not None:
        ax.plot(*series.line, color=colour, lw=1)


def _pulls(ax: Axes, curve: Curve) -> None:
    """Differences in standard deviations, with a band of one of them; beyond the range they are arrows."""
    pulls = curve.pulls
    known = np.abs(pulls[np.isfinite(pulls)])
    reach = max(REACH, math.ceil(float(np.quantile(known, 0.8)) * 1.2)) if len(known) else REACH
    ax.axhspan(-1, 1, color=BAND, alpha=0.4, lw=0)
    ax.axhline(0, color=TRUTH_EDGE, lw=0.8)
    ax.plot(curve.reference.x, _inside(pulls, reach), "o", ms=3.5, color=MODEL)
    for marker, beyond, edge in (
        ("^", pulls > reach, 0.9 * reach),
        ("v", pulls < -reach, -0.9 * reach),
    ):
        ax.plot(curve.reference.x[beyond], np.full(beyond.sum(), edge), marker, ms=3.5, color=MODEL)
    ax.set_ylim(-reach, reach)


def _inside(pulls: Array, reach: float) -> Array:
    return np.where(np.abs(pulls) <= reach, pulls, np.nan)
