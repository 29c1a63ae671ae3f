"""Scatter plots as inline SVG: drawn by the browser, sharp at any size, with no image file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from simulacra.plotting.fronts import COLOURS, Point, free_places, shortened
from simulacra.tracking.page import count, short

WIDTH, HEIGHT = 600, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 14, 14, 48
LETTER, LINE = 6.4, 12.0
"""Width and height of a letter of a label."""


@dataclass(frozen=True)
class Scale:
    """From values to pixels, linear or logarithmic."""

    low: float
    high: float
    start: float
    stop: float
    log: bool

    @classmethod
    def over(cls, values: Sequence[float], start: float, stop: float, log: bool) -> Scale:
        """A scale that holds all values, with a margin."""
        low, high = min(values), max(values)
        if log:
            margin = max(0.08 * math.log(high / low), math.log(1.6))
            return cls(low / math.exp(margin), high * math.exp(margin), start, stop, log)
        margin = max(0.08 * (high - low), 0.02 * max(abs(high), abs(low)), 1e-9)
        return cls(low - margin, high + margin, start, stop, log)

    def __call__(self, value: float) -> float:
        """Pixel of a value; what lies below the scale is put at its end."""
        low, high = (math.log(end) if self.log else end for end in (self.low, self.high))
        at = math.log(max(value, self.low)) if self.log else value
        part = min(max((at - low) / (high - low), 0.0), 1.0)
        return self.start + part * (self.stop - self.start)

    def ticks(self) -> list[float]:
        """Round values."""
        if not self.log:
            step = 10 ** math.floor(math.log10((self.high - self.low) / 2))
            step *= next(n for n in (1, 2, 5, 10) if (self.high - self.low) / (n * step) <= 6)
            first = math.ceil(self.low / step)
            return [n * step for n in range(first, math.floor(self.high / step) + 1)]
        span = math.log10(self.high / self.low)
        parts = (1,) if span > 2.5 else (1, 3) if span > 1.2 else (1, 2, 5)
        every = max(1, round(span / 7))
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values = [part * 10.0**power for power in powers if power % every == 0 for part in parts]
        return [value for value in values if self.low <= value <= self.high]


def scatter(
    points: Sequence[Point], x_label: str, y_label: str, *, log_y: bool, base: float | None = None
) -> str:
    """A plot as an ``<svg>`` element; the abscissa is logarithmic, ``base`` is drawn as a dashed line.

    Points with values that a logarithmic axis cannot show must be left out before.
    """
    xs = [item.x for item in points]
    ys = [item.y for item in points] + ([] if base is None else [base])
    x = Scale.over(xs, LEFT, WIDTH - RIGHT, True)
    y = Scale.over(ys, HEIGHT - BOTTOM, TOP, log_y)
    parts = [*_frame(x, y, x_label, y_label)]
    if base is not None:
        parts.append(_line(LEFT, y(base), WIDTH - RIGHT, y(base), "#98a2b3", "4 3"))
    for kind in COLOURS:
        parts += _front([item for item in points if item.kind == kind and item.front], x, y)
    parts += [_mark(item, x, y) for item in points]
    parts += _labels(points, x, y)
    text = f"{y_label} against {x_label}"
    return (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}' role='img' "
        f"aria-label='{escape(text)}' font-size='11' font-family='inherit'>{''.join(parts)}</svg>"
    )


def _frame(x: Scale, y: Scale, x_label: str, y_label: str) -> Iterator[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for value in x.ticks():
        yield _line(x(value), TOP, x(value), bottom, "#eef0f3")
        text = count(value, 1) if value >= 1e5 else short(value, 1)
        yield _text(x(value), bottom + 15, text, "middle")
    for value in y.ticks():
        yield _line(LEFT, y(value), right, y(value), "#eef0f3")
        yield _text(LEFT - 6, y(value) + 4, short(value, 1) if y.log else f"{value:g}", "end")
    size = f"width='{right - LEFT}' height='{bottom - TOP}'"
    yield f"<rect x='{LEFT}' y='{TOP}' {size} fill='none' stroke='#98a2b3'/>"
    yield _text((LEFT + right) / 2, HEIGHT - 10, x_label, "middle", 12)
    middle = (TOP + bottom) / 2
    yield (
        f"<text x='14' y='{middle:.1f}' font-size='12' text-anchor='middle' "
        f"transform='rotate(-90 14 {middle:.1f})'>{escape(y_label)}</text>"
    )


def _front(points: Sequence[Point], x: Scale, y: Scale) -> list[str]:
    """The front as steps, from the fastest to the best."""
    ordered = sorted(points, key=lambda item: (item.x, item.y))
    if len(ordered) < 2:
        return []
    path = f"M{x(ordered[0].x):.1f} {y(ordered[0].y):.1f}"
    path += "".join(f"H{x(item.x):.1f}V{y(item.y):.1f}" for item in ordered[1:])
    colour = COLOURS[ordered[0].kind]
    return [f"<path d='{path}' fill='none' stroke='{colour}' stroke-opacity='.5'/>"]


def _mark(point: Point, x: Scale, y: Scale) -> str:
    at, height, colour = x(point.x), y(point.y), COLOURS[point.kind]
    error = ""
    if point.error and math.isfinite(point.error):
        ends = (y(point.y - point.error), y(point.y + point.error))
        error = _line(at, ends[0], at, ends[1], colour)
    if point.kind == "run":
        shape = f"<circle cx='{at:.1f}' cy='{height:.1f}' r='5' fill='{colour}'"
    else:
        shape = f"<rect x='{at - 4:.1f}' y='{height - 4:.1f}' width='8' height='8' fill='#fff'"
    title = f"{point.label}: {short(point.y)} at {short(point.x)}"
    return (
        f"{error}{shape} stroke='{colour}'><title>{escape(title)}</title></{shape[1:].split()[0]}>"
    )


def _labels(points: Sequence[Point], x: Scale, y: Scale) -> Iterator[str]:
    """Names beside their points, where one of several places is free; the rest is seen on hovering."""
    centres = [(x(point.x), HEIGHT - y(point.y)) for point in points]
    frame = (LEFT, BOTTOM, WIDTH - RIGHT, HEIGHT - TOP)
    for point, at in zip(points, free_places(points, centres, frame, LETTER, LINE), strict=True):
        if at is not None:
            left, base = at[0], HEIGHT - at[1]
            yield _text(left, base, shortened(point.label), "start", 11, COLOURS[point.kind])


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, dashes: str = "") -> str:
    ends = f"x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}'"
    dashed = f" stroke-dasharray='{dashes}'" if dashes else ""
    return f"<line {ends} stroke='{colour}'{dashed}/>"


def _text(
    x: float, y: float, text: str, anchor: str, size: int = 11, colour: str = "#475467"
) -> str:
    at = f"x='{x:.1f}' y='{y:.1f}' font-size='{size}' text-anchor='{anchor}' fill='{colour}'"
    halo = "stroke='#fff' stroke-width='3' paint-order='stroke'"
    return f"<text {at} {halo}>{escape(text)}</text>"
