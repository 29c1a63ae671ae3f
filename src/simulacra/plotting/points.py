"""Figures of several methods side by side: one panel for each quantity, one row for each method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from simulacra.plotting.style import BAND, LETTER, MARGINS, MODEL, TRUTH_EDGE, new_figure, place


@dataclass(frozen=True)
class Column:
    """One quantity of all methods.

    Args:
        label: What it is.
        values: The figure of each method and its error, by name of the method.
        start: Figure without any method, or None.
        floor: Figure of true events, or None.
    """

    label: str
    values: Mapping[str, tuple[float, float]]
    start: float | None = None
    floor: float | None = None


def points_page(columns: Sequence[Column], start: str = "before", floor: str = "floor") -> Figure:
    """One page; smaller is better.

    Args:
        columns: The quantities, of the same methods.
        start: What the line at the start is called.
        floor: What the line at the floor is called.
    """
    names = list(columns[0].values)
    figure = new_figure(max(2.6 * len(columns), 5.0), 1.6 + 0.32 * len(names))
    grid = place(
        figure,
        1,
        len(columns),
        top=0.35,
        left=max(MARGINS["left"], 0.3 + LETTER * max(map(len, names))),
    )
    rows = list(range(len(names)))[::-1]
    handles: dict[str, Any] = {}
    for number, column in enumerate(columns):
        ax = figure.add_subplot(grid[0, number])
        values, errors = zip(*(column.values[name] for name in names), strict=True)
        points = ax.errorbar(values, rows, xerr=errors, fmt="o", ms=4, color=MODEL)
        handles.setdefault("after", points)
        for value, colour, style, text in (
            (column.start, TRUTH_EDGE, "-", start), (column.floor, BAND, "--", floor),
        ):  # fmt: skip
            if value is not None:
                line = ax.axvline(value, color=colour, ls=style, lw=1)
                handles.setdefault(text, line)
        ax.set_yticks(rows, names if number == 0 else [""] * len(names))
        ax.set_ylim(-0.6, len(names) - 0.4)
        ax.set_xlim(left=0)
        ax.set_xlabel(column.label)
    figure.legend(
        list(handles.values()), list(handles), loc="upper center", ncols=len(handles), frameon=False
    )
    return figure
