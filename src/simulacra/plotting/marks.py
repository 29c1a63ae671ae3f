"""Ticks without numbers as lines of markers: every tick of matplotlib's is an object with three lines and two
texts, and those between the powers of ten of logarithmic axes take a fifth of the time of a page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import TICKDOWN, TICKLEFT, TICKRIGHT, TICKUP, MarkerStyle
from matplotlib.ticker import LogLocator, NullLocator

from simulacra.plotting.style import Array

SIDES = {
    "x": (("bottom", TICKUP), ("top", TICKDOWN)),
    "y": (("left", TICKRIGHT), ("right", TICKLEFT)),
}
"""Sides of a panel where an axis has ticks, and what they look like."""
BELOW_LINES = 1.5
"""Where matplotlib draws ticks."""


def plain_marks(figure: Figure) -> None:
    """Take lines of markers for the small ticks of logarithmic axes that look inwards and have no numbers.

    To be called when no axis changes any more; the figure looks the same to the pixel.
    """
    unmarked = []
    for ax in figure.axes:
        for name, axis in (("x", ax.xaxis), ("y", ax.yaxis)):
            places = _unnumbered(axis, name)
            if places is not None:
                _draw(ax, name, places, axis.get_tick_params("minor"))
                unmarked.append(axis)
    for axis in unmarked:  # at the end, since panels share axes
        axis.set_minor_locator(NullLocator())


def _style(name: str) -> Any:
    """A setting of the style; the names are literals in matplotlib's stubs."""
    return cast("Mapping[str, Any]", mpl.rcParams)[name]


def _unnumbered(axis: Axis, name: str) -> Array | None:
    """Places of small ticks ``(n,)``; None where they are to stay ticks."""
    known = {f"{text}{side}" for side, _ in SIDES[name] for text in ("", "label")}
    given = axis.get_tick_params("minor")
    usual = not given.pop("gridOn", False) and set(given) <= known
    inwards = _style(f"{name}tick.direction") == "in"
    if not (isinstance(axis.get_minor_locator(), LogLocator) and usual and inwards):
        return None
    places = np.asarray(axis.get_minorticklocs())
    if any(axis.get_minor_formatter().format_ticks(places.tolist())):
        return None
    low, high = sorted(axis.get_view_interval())
    return places[(places >= low) & (places <= high)]


def _draw(ax: Axes, name: str, places: Array, given: dict[str, object]) -> None:
    across = name == "x"
    transform = ax.get_xaxis_transform("tick1") if across else ax.get_yaxis_transform("tick1")
    settings = {item: _style(f"{name}tick.minor.{item}") for item in ("size", "width")}
    for end, (side, marker) in enumerate(SIDES[name]):
        if given.get(side, _style(f"{name}tick.{side}")):
            ends = np.full(len(places), float(end))
            line = Line2D(
                *((places, ends) if across else (ends, places)),
                ls="",
                marker=MarkerStyle(marker),
                ms=settings["size"],
                mew=settings["width"],
                color=_style(f"{name}tick.color"),
                transform=transform,
                clip_on=False,
                zorder=BELOW_LINES,
            )
            ax.add_artist(line)
