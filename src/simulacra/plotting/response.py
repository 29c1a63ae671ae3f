"""Response and resolution against what was asked for."""

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
    TRUTH_EDGE,
    Array,
    arrows,
    legend_of_points,
    new_figure,
    place,
    ratio_axis,
    reach,
)


@dataclass(frozen=True)
class Curve:
    """Two series with errors against one abscissa.

    Args:
        label: Text of the vertical axis.
        reference: Truth ``(K,)`` and its error ``(K,)``.
        generated: Generated events and their error.
    """

    label: str
    reference: tuple[Array, Array]
    generated: tuple[Array, Array]

    @property
    def ratio(self) -> tuple[Array, Array, Array]:
        """Generated over truth, its error, and the relative error of the truth ``(K,)``."""
        truth, error = self.reference
        return self.generated[0] / truth, self.generated[1] / truth, error / truth

    @property
    def reach(self) -> float:
        """The half width around 1 that its ratio panel needs."""
        value, _, band = self.ratio
        return reach(value, band, np.ones(len(value)))


def response_page(
    asked: Array,
    label: str,
    curves: Sequence[Curve],
    labels: tuple[str, str] = LABELS,
    events: tuple[int, int] | None = None,
) -> Figure:
    """Curves against the asked value, each with a ratio panel.

    Args:
        asked: What was asked for ``(K,)``.
        label: Its text with its unit.
        curves: Mean response, resolution.
        labels: Names of truth and generated events.
        events: Their numbers.
    """
    width = 5.4 * len(curves)
    legend = legend_of_points(width, labels, events)
    figure = new_figure(width, 4.3 + legend.height)
    grid = place(figure, 1, len(curves), top=legend.height)
    for number, curve in enumerate(curves):
        inner = grid[0, number].subgridspec(2, 1, height_ratios=[3, 1], hspace=0.06)
        main = figure.add_subplot(inner[0])
        ratio = figure.add_subplot(inner[1], sharex=main)
        _points(main, asked, *curve.reference, TRUTH_EDGE, "s")
        _points(main, asked, *curve.generated, MODEL, "o")
        main.set_ylabel(curve.label)
        _ratio(ratio, asked, curve, curve.reach)
        if asked.min() > 0 and asked.max() > 5 * asked.min():
            main.set_xscale("log")
        main.tick_params(which="both", labelbottom=False)
        ratio.set_xlabel(label)
        ratio.set_ylabel("ratio", loc="center")
    legend.draw(figure)
    return figure


def _ratio(ax: Axes, asked: Array, curve: Curve, half: float) -> None:
    value, error, band = curve.ratio
    ax.axhline(1, color=TRUTH_EDGE, lw=0.8)
    ones = np.ones_like(asked)
    ax.errorbar(asked, ones, band, fmt="none", ecolor=BAND, elinewidth=5, alpha=0.4)
    ax.errorbar(asked, value, error, fmt="o", ms=3.5, color=MODEL, lw=1)
    ratio_axis(ax, half)
    arrows(ax, asked, value, half)


def _points(ax: Axes, x: Array, y: Array, error: Array, colour: str, marker: str) -> None:
    ax.errorbar(x, y, error, fmt=f"{marker}-", ms=4, lw=1, color=colour, capsize=2)
