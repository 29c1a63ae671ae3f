"""Quality against time or size of many models: points with names, and the front of the best of each kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from simulacra.plotting.style import new_figure, place

COLOURS = {"run": "#1d5fa8", "published": "#9a6a00"}
MARKERS = {"run": "o", "published": "s"}
LONGEST = 34
"""Letters of a name that are drawn, at most: the last ones."""
LETTER, LINE = 4.4, 9.0
"""Width and height of a letter of a name [points]."""

Box = tuple[float, float, float, float]
"""Left, lower, right and upper end."""


@dataclass(frozen=True)
class Point:
    """A point of a plot.

    Args:
        x: Abscissa, positive.
        y: Ordinate, positive if the axis is logarithmic.
        error: Statistical error of the ordinate.
        label: Its name.
        kind: ``run``, a filled circle, or ``published``, an open square.
        front: Whether it is on the Pareto front of its kind.
    """

    x: float
    y: float
    error: float | None
    label: str
    kind: str
    front: bool


def front_page(
    points: Sequence[Point], x_label: str, y_label: str, *, log_y: bool, base: float | None = None
) -> Figure:
    """One plot; the abscissa is logarithmic, ``base`` is drawn as a dashed line."""
    figure = new_figure(6.0, 4.2)
    ax = figure.add_subplot(place(figure, 1, 1, top=0.2)[0, 0])
    ax.set_xscale("log")
    ax.set_yscale("log" if log_y else "linear")
    if base is not None:
        ax.axhline(base, color="0.6", ls="--", lw=0.8)
    ax.set_xlim(_ends([point.x for point in points], True))
    ax.set_ylim(_ends([p.y for p in points] + ([] if base is None else [base]), log_y))
    kinds = [kind for kind in COLOURS if any(point.kind == kind for point in points)]
    for kind in kinds:
        _draw(ax, [point for point in points if point.kind == kind], kind)
    _name(ax, points)
    ax.set_xlabel(x_label)
    ax.set_ylabel(y_label)
    if len(kinds) > 1:
        handles = [
            Line2D([], [], ls="", marker=MARKERS[k], mec=COLOURS[k], mfc=_fill(k)) for k in kinds
        ]
        texts = {"run": "own runs", "published": "published"}
        ax.legend(handles, [texts[kind] for kind in kinds], fontsize=8)
    return figure


def _draw(ax: Axes, points: Sequence[Point], kind: str) -> None:
    """Points of one kind with errors, names and their front as steps."""
    colour = COLOURS[kind]
    known = [p.error if p.error and math.isfinite(p.error) else 0.0 for p in points]
    ax.errorbar(
        [p.x for p in points],
        [p.y for p in points],
        known,
        fmt=MARKERS[kind],
        ms=5,
        lw=0.8,
        color=colour,
        mfc=_fill(kind),
    )
    front = sorted((p for p in points if p.front), key=lambda p: (p.x, p.y))
    if len(front) > 1:
        ax.step(
            [p.x for p in front], [p.y for p in front], where="post", color=colour, alpha=0.5, lw=1
        )


def _ends(values: Sequence[float], log: bool) -> tuple[float, float]:
    """Range of an axis with a margin."""
    low, high = min(values), max(values)
    if log:
        factor = max((high / low) ** 0.1, 1.6)
        return low / factor, high * factor
    margin = max(0.1 * (high - low), 0.02 * max(abs(high), abs(low)), 1e-9)
    return low - margin, high + margin


def _name(ax: Axes, points: Sequence[Point]) -> None:
    """Names of the points, where there is room."""
    scale = 72 / ax.figure.dpi
    centres = [tuple(scale * ax.transData.transform((p.x, p.y))) for p in points]
    inside = ax.get_window_extent()
    frame = (scale * inside.x0, scale * inside.y0, scale * inside.x1, scale * inside.y1)
    found = free_places(points, centres, frame, LETTER, LINE)  # type: ignore[arg-type]
    for point, centre, at in zip(points, centres, found, strict=True):
        if at is not None:
            shift = (at[0] - centre[0], at[1] - centre[1])
            ax.annotate(
                shortened(point.label),
                (point.x, point.y),
                shift,
                textcoords="offset points",
                fontsize=6.5,
                color=COLOURS[point.kind],
                path_effects=[withStroke(linewidth=2, foreground="white")],
            )


def shortened(text: str) -> str:
    """The end of a long name."""
    return text if len(text) <= LONGEST else f"…{text[1 - LONGEST :]}"


def free_places(
    points: Sequence[Point],
    centres: Sequence[tuple[float, float]],
    frame: Box,
    letter: float,
    line: float,
) -> list[tuple[float, float] | None]:
    """Where names begin, so that they meet neither points nor each other; those on a front come first.

    Args:
        points: The points.
        centres: Where they are, upwards.
        frame: Within which names have to be.
        letter: Width of a letter.
        line: Height of a name.

    Returns:
        Left end and base line of each name, None where there is no room.
    """
    found: list[tuple[float, float] | None] = [None] * len(points)
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in centres]
    order = sorted(range(len(points)), key=lambda i: (points[i].kind != "run", not points[i].front))
    for i in order:
        (x, y), width = centres[i], letter * len(shortened(points[i].label))
        for dx, dy in (
            (8, -4),
            (-8 - width, -4),
            (-width / 2, 9),
            (-width / 2, -17),
            (8, -15),
            (8, 7),
        ):
            left, base = x + dx, y + dy
            box = (left, base - 2, left + width, base + line - 2)
            inside = box[0] > frame[0] and box[2] < frame[2]
            inside &= box[1] > frame[1] and box[3] < frame[3]
            if inside and not any(_meet(box, other) for other in taken):
                taken.append(box)
                found[i] = (left, base)
                break
    return found


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _fill(kind: str) -> str:
    return COLOURS[kind] if kind == "run" else "white"
