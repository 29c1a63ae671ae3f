"""Response and resolution against what was asked for, and correlation matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulacra.plotting.style import (
    LABELS,
    MODEL,
    TRUTH_EDGE,
    Array,
    new_figure,
    place,
    ratio_limits,
    with_unit,
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


def response_page(
    asked: Array, unit: str, curves: Sequence[Curve], labels: tuple[str, str] = LABELS
) -> Figure:
    """Curves against the asked value, each with a ratio panel.

    Args:
        asked: What was asked for ``(K,)``.
        unit: Its unit.
        curves: Mean response, resolution.
        labels: Names of truth and generated events.
    """
    figure = new_figure(5.4 * len(curves), 4.6)
    grid = place(figure, 1, len(curves), top=0.15)
    for number, curve in enumerate(curves):
        inner = grid[0, number].subgridspec(2, 1, height_ratios=[3, 1], hspace=0.06)
        main = figure.add_subplot(inner[0])
        ratio = figure.add_subplot(inner[1], sharex=main)
        _points(main, asked, *curve.reference, TRUTH_EDGE, "s", labels[0])
        _points(main, asked, *curve.generated, MODEL, "o", labels[1])
        main.set_ylabel(curve.label)
        main.legend()
        main.tick_params(labelbottom=False)
        value = curve.generated[0] / curve.reference[0]
        band = curve.reference[1] / curve.reference[0]
        ratio.axhline(1, color=TRUTH_EDGE, lw=0.8)
        ratio.errorbar(
            asked, np.ones_like(asked), band, fmt="none", ecolor=TRUTH_EDGE, elinewidth=5, alpha=0.4
        )
        ratio.errorbar(
            asked,
            value,
            curve.generated[1] / curve.reference[0],
            fmt="o",
            ms=3.5,
            color=MODEL,
            lw=1,
        )
        ratio_limits(ratio, value, band, np.ones(len(value)))
        if asked.min() > 0 and asked.max() > 5 * asked.min():
            main.set_xscale("log")
        ratio.set_xlabel(with_unit("asked for", unit))
        ratio.set_ylabel("ratio")
    return figure


def _points(
    ax: Axes, x: Array, y: Array, error: Array, colour: str, marker: str, label: str
) -> None:
    ax.errorbar(x, y, error, fmt=f"{marker}-", ms=4, lw=1, color=colour, label=label, capsize=2)


def correlation_page(
    axis: str,
    names: Sequence[str],
    reference: Array,
    generated: Array,
    labels: tuple[str, str] = LABELS,
) -> Figure:
    """Pearson correlations of truth and generated events, and their difference, ``(n, n)`` each.

    Args:
        axis: What rows and columns are.
        names: Name of each row ``(n,)``.
        reference: Correlations of the truth.
        generated: Correlations of generated events.
        labels: Names of truth and generated events.
    """
    rotation = 90 if max(map(len, names)) > 3 else 0
    figure = new_figure(13.5, 4.3 + rotation / 60)
    grid = place(
        figure,
        1,
        3,
        top=0.35,
        right=0.7,
        bottom=0.55 + rotation / 60,
        left=0.75 + rotation / 60,
        wide=0.9 + rotation / 60,
    )
    shown = [
        (reference, labels[0], 1.0),
        (generated, labels[1], 1.0),
        (generated - reference, "difference", None),
    ]
    for number, (matrix, title, reach) in enumerate(shown):
        ax = figure.add_subplot(grid[number])
        limit = max(0.05, float(np.abs(matrix).max())) if reach is None else reach
        mesh = ax.imshow(matrix, vmin=-limit, vmax=limit, cmap="RdBu_r", origin="lower")
        ax.set_title(title)
        ax.minorticks_off()
        step = max(1, len(names) // 10)
        positions = range(0, len(names), step)
        ax.set_xticks(positions, [names[i] for i in positions], rotation=rotation, fontsize=7.5)
        ax.set_yticks(positions, [names[i] for i in positions], fontsize=7.5)
        ax.set_xlabel(axis)
        ax.set_ylabel(axis)
        figure.colorbar(
            mesh, ax=ax, label="Pearson correlation" if reach else "difference", shrink=0.85
        )
    return figure
