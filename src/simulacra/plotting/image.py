"""Mean images side by side: truth, generated, and their relative difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from simulacra.physics.base import Image
from simulacra.plotting.style import LABELS, Array, Legend, new_figure, place, quotient, with_unit

DECADES = 5
"""Decades of the colour scale below the brightest cell."""
COMPARED = 1e-3
"""Share of the brightest cell's content below which a cell is too rare for a relative difference."""
GREY = (
    f"grey: no content, or in the right column less than {COMPARED:g} of that of the brightest cell"
)
DIFFERENCES = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Ends of the colour scale of relative differences; the smallest that spans most of the content is taken."""
EMPTY = "#eeeeee"
"""Where there is nothing to be shown."""
ARCS = 72
"""Straight pieces a circle is drawn with, at least."""


@dataclass(frozen=True)
class Raster:
    """A pair of mean images.

    Args:
        title: Name of the raster.
        reference: Mean content per cell of the truth ``(rows, cols)``.
        generated: The same of generated events.
        edges: Edges along rows and columns.
        labels: Text of rows and columns with units.
        unit: Unit of the content.
        polar: Whether rows are an angle [rad] and columns a radius; the content is then drawn per area.
    """

    title: str
    reference: Array
    generated: Array
    edges: tuple[Array, Array]
    labels: tuple[str, str]
    unit: str
    polar: bool


def paired(reference: Image, generated: Image) -> Raster:
    """A pair of images of one kind."""
    rows, cols = (edges.double().cpu().numpy() for edges in reference.edges)
    first, second = (with_unit(axis.label, axis.unit) for axis in reference.axes)
    true, made = (image.values.double().cpu().numpy() for image in (reference, generated))
    return Raster(
        reference.label, true, made, (rows, cols), (first, second), reference.unit, reference.polar
    )


def image_page(rasters: Sequence[Raster], labels: tuple[str, str] = LABELS) -> Figure:
    """One row per raster: truth, generated, generated / truth - 1 where the truth is not empty."""
    legend = Legend(12.0, [(Patch(fc=EMPTY, ec="0.7"), GREY)])
    figure = new_figure(12.0, 3.1 * len(rasters) + 0.3 + legend.height)
    grid = place(figure, len(rasters), 3, right=0.6, wide=0.9, top=legend.height + 0.2)
    for row, raster in enumerate(rasters):
        pair = shown(raster)
        norm = decades(pair[0])
        difference = np.where(
            pair[0] > COMPARED * pair[0].max(), quotient(pair[1], pair[0]) - 1, np.nan
        )
        reach = _reach(difference, pair[0])
        unit = with_unit("mean", unit_of(raster))
        panels = [
            (pair[0], norm, "viridis", unit, f"{raster.title}: {labels[0]}"),
            (pair[1], norm, "viridis", unit, f"{raster.title}: {labels[1]}"),
            (difference, Normalize(-reach, reach), "RdBu_r", "generated / truth − 1", raster.title),
        ]  # fmt: skip
        for column, (values, scale, colours, text, title) in enumerate(panels):
            ax = figure.add_subplot(grid[row, column])
            mesh(figure, ax, raster, np.asarray(values), scale, colours, text)
            ax.set_title(title, pad=8)
    legend.draw(figure)
    return figure


def shown(raster: Raster) -> tuple[Array, Array]:
    """Content per area for polar rasters, whose cells differ in size, else per cell."""
    if not raster.polar:
        return raster.reference, raster.generated
    angle, radius = raster.edges
    area = np.diff(angle)[:, None] * np.diff(radius**2)[None, :] / 2
    return raster.reference / area, raster.generated / area


def unit_of(raster: Raster) -> str:
    """Unit of what :func:`shown` gives."""
    return f"{raster.unit} / mm$^2$" if raster.polar and raster.unit else raster.unit


def _reach(difference: Array, content: Array) -> float:
    """End of the colour scale that spans the differences of nearly all of the content."""
    good = np.isfinite(difference)
    if not good.any():
        return DIFFERENCES[0]
    order = np.argsort(np.abs(difference[good]))
    share = np.cumsum(content[good][order])
    needed = np.abs(difference[good][order])[
        min(np.searchsorted(share, 0.95 * share[-1]), len(order) - 1)
    ]
    return next((end for end in DIFFERENCES if end >= needed), DIFFERENCES[-1])


def decades(reference: Array) -> LogNorm:
    """A logarithmic scale of colours down from the brightest of some cells."""
    positive = reference[reference > 0]
    high = float(positive.max()) if len(positive) else 1.0
    low = max(float(positive.min()) if len(positive) else 0.1, high * 10.0**-DECADES)
    return LogNorm(min(low, high / 10), high)


def mesh(
    figure: Figure,
    ax: Axes,
    raster: Raster,
    values: Array,
    norm: Normalize,
    colours: str,
    text: str,
) -> None:
    """Draw values on the cells of a raster, with a bar of their colours under a text."""
    masked = np.ma.masked_where(
        ~(values > 0) if isinstance(norm, LogNorm) else np.isnan(values), values
    )
    first, second = raster.edges
    if raster.polar:
        # the square root of the radius shows the core, where cells are small
        parts = -(-ARCS // (len(first) - 1))
        angle = np.linspace(first[0], first[-1], parts * (len(first) - 1) + 1)[:, None]
        x, y = np.sqrt(second) * np.cos(angle), np.sqrt(second) * np.sin(angle)
        drawn = ax.pcolormesh(
            x, y, masked.repeat(parts, axis=0), norm=norm, cmap=colours, shading="flat"
        )
        ticks = _radii(second)
        ax.set_xticks(
            np.concatenate([-np.sqrt(ticks), [0], np.sqrt(ticks)]), _texts([*ticks, 0, *ticks])
        )
        ax.set_yticks([])
        ax.set_aspect("equal")
        ax.set_xlabel("radius [mm], square-root scale")
    else:
        drawn = ax.pcolormesh(second, first, masked, norm=norm, cmap=colours, shading="flat")
        ax.set_xlabel(raster.labels[1])
        ax.set_ylabel(raster.labels[0])
    ax.set_facecolor(EMPTY)
    bar = figure.colorbar(
        drawn, ax=ax, label=text, shrink=0.95, pad=0.03, extend=_extension(masked, norm)
    )
    bar.ax.minorticks_off()


def _extension(values: np.ma.MaskedArray[Any, Any], norm: Normalize) -> str:
    """At which ends of the scale of colours there are values beyond it."""
    if not values.count():
        return "neither"
    below, above = values.min() < norm.vmin, values.max() > norm.vmax
    return {(False, False): "neither", (True, False): "min", (False, True): "max"}.get(
        (bool(below), bool(above)), "both"
    )


def _texts(values: Sequence[float]) -> list[str]:
    return [f"{value:g}" for value in values]


def _radii(edges: Array) -> Array:
    """Two round radii within the range."""
    high = float(edges[-1])
    unit = 10.0 ** np.floor(np.log10(high))
    step = unit * max(1.0, np.floor(high / unit))
    return np.array([step / 5, step])
