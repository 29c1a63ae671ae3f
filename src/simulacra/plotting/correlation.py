"""Correlation matrices of truth and generated events side by side, and their difference."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulacra.plotting.style import LABELS, LETTER, Array, new_figure, place

SIDE = (3.4, 5.2)
"""Smallest and largest side of a matrix [inches]."""
NAMED = 40
"""Rows that all have their name, at most; of more, some have one."""
TICKS = 9
"""Names of numbered rows, at most."""
SHORT = 4
"""Letters up to which a name lies flat."""


def correlation_page(
    axis: str,
    names: Sequence[str],
    reference: Array,
    generated: Array,
    labels: tuple[str, str] = LABELS,
    kind: str = "Pearson",
    remark: str = "",
) -> Figure:
    """Correlations of truth and generated events, and their difference, ``(n, n)`` each.

    Numbered rows (layers, rings) have a number here and there; rows with words have them all, on the
    left once.

    Args:
        axis: What rows and columns are; empty where their names say it.
        names: Name of each row ``(n,)``.
        reference: Correlations of the truth.
        generated: Correlations of generated events.
        labels: Names of truth and generated events.
        kind: Whose coefficients they are.
        remark: What is said of the difference, in one line.
    """
    longest = max(map(_letters, names))
    worded = longest > SHORT and not axis
    step = max(1, -(-len(names) // (NAMED if worded else TICKS)))
    side = min(max(SIDE[0], 0.16 * len(names) / step if worded else 0.0), SIDE[1])
    written = 0.7 * LETTER * longest if worded else 0.15  # in a small font
    bottom, left = (0.4 + written if worded else 0.55), (0.2 + written if worded else 0.65)
    gap, right, top = (1.15 if worded else 1.6), 1.05, (0.55 if remark else 0.35)
    figure = new_figure(left + 3 * side + 2 * gap + right, top + side + bottom)
    grid = place(figure, 1, 3, top=top, right=right, bottom=bottom, left=left, wide=gap)
    apart = np.abs(generated - reference)[~np.eye(len(names), dtype=bool)]
    limit = max(0.05, float(apart.max(initial=0.0)))
    shown = [
        (reference, labels[0], 1.0, f"{kind} correlation"),
        (generated, labels[1], 1.0, f"{kind} correlation"),
        (generated - reference, f"generated − truth\n{remark}".strip(), limit, "difference"),
    ]
    places = range(0, len(names), step)
    for number, (matrix, title, reach, text) in enumerate(shown):
        ax = figure.add_subplot(grid[number])
        mesh = ax.imshow(
            matrix, vmin=-reach, vmax=reach, cmap="RdBu_r", origin="lower", aspect="auto"
        )
        ax.set_title(title)
        _name(ax, [names[i] for i in places], places, worded, number == 0)
        ax.set_xlabel(axis)
        ax.set_ylabel(axis if number == 0 else "")
        beyond = "both" if np.abs(matrix).max() > 1.001 * reach else "neither"
        bar = figure.colorbar(
            mesh, cax=ax.inset_axes((1.03, 0.0, 0.05, 1.0)), label=text, extend=beyond
        )
        bar.ax.minorticks_off()
    return figure


def _name(ax: Axes, names: Sequence[str], places: range, worded: bool, first: bool) -> None:
    """Names of the rows below, and on the left of the first matrix."""
    ax.minorticks_off()
    ax.tick_params(length=0, labelsize=7.5)
    ax.set_xticks(places, names, rotation=90 if worded else 0)
    ax.set_yticks(places, names if first or not worded else [""] * len(names))


def _letters(text: str) -> int:
    """How many letters a text with formulas takes, about."""
    return len(re.sub(r"\\[a-z]+|[{}$_^ ]", lambda found: " " if found[0] == " " else "", text))
