"""Areas under ROC curves of several classifiers, a panel for each way of looking at events."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from simulacra.plotting.style import BAND, MODEL, TRUTH_EDGE, new_figure, place, styled

ROW = 0.3
"""Height of a classifier [inches]."""


def areas_page(
    panels: Mapping[str, Mapping[str, tuple[float, float]]], reference: str | None = None
) -> Figure:
    """One page; larger is better.

    Args:
        panels: By name, the area and its error by name of the classifier.
        reference: Name of the classifier to which all are compared: a band shows its area and error; None:
            there is none.
    """
    most = max(map(len, panels.values()))
    with styled():
        figure = new_figure(3.6 * len(panels) + 0.4, 1.0 + ROW * most)
        cells = place(figure, 1, len(panels), left=1.4, wide=1.4, top=0.3)
        for number, (title, values) in enumerate(panels.items()):
            ax = figure.add_subplot(cells[0, number])
            rows = list(range(len(values)))[::-1]
            centres, errors = zip(*values.values(), strict=True)
            if reference in values:
                centre, error = values[str(reference)]
                ax.axvspan(centre - error, centre + error, color=BAND, alpha=0.4, lw=0)
                ax.axvline(centre, color=TRUTH_EDGE, lw=0.8)
            ax.errorbar(centres, rows, xerr=errors, fmt="o", ms=4, color=MODEL)
            ax.set_yticks(rows, [name.replace("_", " ") for name in values])
            ax.set_ylim(-0.6, len(values) - 0.4)
            ax.xaxis.set_major_locator(MaxNLocator(4))
            ax.set_xlabel("AUC")
            ax.set_title(title)
    return figure
