"""The course of a training: losses, and how well events were imitated on the way."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from simulacra.plotting.style import Array, new_figure, place

Course = tuple[Array, Array]
"""Steps and values ``(n,)`` each."""
SPAN = 30.0
"""Largest over smallest positive value from which an axis is logarithmic."""


def training_page(panels: Mapping[str, Mapping[str, Course]]) -> Figure:
    """A panel for each kind of figure, a line for each figure; nothing that is not positive is on a
    logarithmic axis.

    Args:
        panels: Figures over steps by name, by the text of the vertical axis.
    """
    figure = new_figure(4.8 * len(panels), 3.4)
    cells = place(figure, 1, len(panels), top=0.2)
    for number, (label, lines) in enumerate(panels.items()):
        ax = figure.add_subplot(cells[0, number])
        for name, (steps, values) in lines.items():
            ax.plot(steps, values, "o-" if len(steps) < 40 else "-", ms=3, lw=1.1, label=name)
        shown = [value for _, values in lines.values() for value in values]
        if min(shown) > 0 and max(shown) > SPAN * min(shown):
            ax.set_yscale("log")
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        ax.set_xlabel("step")
        ax.set_ylabel(label)
        ax.legend(fontsize=8)
    return figure
