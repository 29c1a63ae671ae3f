"""A figure of merit of many observables before and after something was done, over its floor."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from simulacra.plotting.style import MODEL, TRUTH_EDGE, new_figure, place, styled

MOST = 40
"""Observables that are shown, those that were worst."""
ROW = 0.19
"""Height of an observable [inches]."""


def changes(
    names: Sequence[str],
    before: Sequence[float],
    after: Sequence[float],
    floors: Sequence[float],
    label: str,
) -> Figure:
    """A row for each observable, the worst on top.

    Args:
        names: Of the observables.
        before: The figure of each, above 0.
        after: The same afterwards.
        floors: That of truth against truth.
        label: What the figure is called.
    """
    known = [row for row in zip(names, before, after, floors, strict=True) if row[3] > 0]
    ratios = sorted(((b / f, a / f, name) for name, b, a, f in known))[-MOST:]
    with styled():
        figure = new_figure(6.2, 1.0 + ROW * max(4, len(ratios)))
        ax = figure.add_subplot(place(figure, 1, 1, left=2.2, top=0.3)[0, 0])
        rows = range(len(ratios))
        first, second = ([row[k] for row in ratios] for k in range(2))
        ax.hlines(rows, first, second, color=TRUTH_EDGE, lw=1)
        ax.plot(first, rows, "o", color=TRUTH_EDGE, ms=4, mfc="white", label="before")
        ax.plot(second, rows, "o", color=MODEL, ms=4, label="after")
        ax.axvline(1, color="0.5", ls=":", lw=1, label="truth against truth")
        ax.set_xscale("log")
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_yticks(list(rows), [row[2].replace("_", " ") for row in ratios], fontsize=7)
        ax.set_ylim(-0.7, max(3, len(ratios)) - 0.3)
        ax.set_xlabel(f"{label} over its floor")
        ax.legend(loc="lower right")
    return figure
