"""A scan of a generator over one condition at fixed noise: observables over truth, one event on the way."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from simulacra.metrics.protocols.scans import Curve, Scan
from simulacra.physics.base import Axis
from simulacra.plotting.image import decades, mesh, paired, shown, unit_of
from simulacra.plotting.style import (
    BAND,
    LABELS,
    MODEL,
    TRUTH_EDGE,
    Array,
    Legend,
    arrows,
    new_figure,
    place,
    ratio_axis,
    reach,
    with_unit,
)

PANELS = 6
"""Observables that are drawn, at most, the first ones; images of each event as well."""
STOPS = 5
"""Values of the condition at which an event is drawn, at most."""
WIDE = 30.0
"""Largest over smallest positive mean from which a vertical axis is logarithmic."""
TRAINED = "0.93"
BLURRED = 0.5
"""Relative error of the truth above which there is no ratio."""


def scan_page(
    scan: Scan, axes: dict[str, Axis], labels: tuple[str, str] = LABELS, condition: str = ""
) -> Figure:
    """The first observables of a scan against the condition, with ratios; the trained range is shaded.

    Args:
        scan: What was found.
        axes: Label and unit of each observable.
        labels: Names of truth and generated events.
        condition: Text for the condition; empty: its name.
    """
    curves = scan.curves[:PANELS]
    columns = min(3, len(curves))
    rows = math.ceil(len(curves) / columns)
    width = max(4.4 * columns, 5.0)
    legend = _legend(scan, width, labels)
    figure = new_figure(width, 3.7 * rows + legend.height)
    cells = place(figure, rows, columns, top=legend.height)
    for number, curve in enumerate(curves):
        inner = cells[number // columns, number % columns].subgridspec(
            2, 1, height_ratios=[3, 1], hspace=0.06
        )
        main = figure.add_subplot(inner[0])
        ratio = figure.add_subplot(inner[1], sharex=main)
        _draw(main, scan, curve)
        _ratio(ratio, scan, curve)
        axis = axes[curve.name]
        main.set_ylabel(f"mean of {with_unit(axis.label, axis.unit)}")
        main.tick_params(which="both", labelbottom=False)
        ratio.set_xlabel(_title(scan, condition))
        ratio.set_ylabel("ratio", loc="center")
    legend.draw(figure)
    return figure


def event_page(scan: Scan, model: str = LABELS[1], condition: str = "") -> Figure:
    """Images of one event, a row each, along the condition: the same noise in all of a row, on one scale.

    Args:
        scan: What was found.
        model: Name of the generated events.
        condition: Text for the condition; empty: its name.
    """
    stops = np.unique(np.linspace(0, len(scan.images) - 1, STOPS).round().astype(int))
    names = list(scan.images[0])[:PANELS]
    width = 3.6 * len(stops)
    text = f"one event of {model}, the same noise at each value; grey: no content"
    legend = Legend(width, [(Patch(fc="none", ec="none"), text)])
    figure = new_figure(width, 2.9 * len(names) + 0.1 + legend.height)
    cells = place(figure, len(names), len(stops), right=0.6, wide=0.9, top=legend.height + 0.2)
    for row, name in enumerate(names):
        images = [scan.images[stop][name] for stop in stops]
        rasters = [paired(image, image) for image in images]
        contents = [shown(item)[0] for item in rasters]
        norm = decades(np.stack(contents))
        for column, (item, values) in enumerate(zip(rasters, contents, strict=True)):
            ax = figure.add_subplot(cells[row, column])
            mesh(figure, ax, item, values, norm, "viridis", unit_of(item))
            ax.set_title(f"{item.title}, {_value(scan, int(stops[column]), condition)}", pad=6)
    legend.draw(figure)
    return figure


def _legend(scan: Scan, width: float, labels: tuple[str, str]) -> Legend:
    entries = [
        (Line2D([], [], color=TRUTH_EDGE, marker="s", ls="", ms=4), labels[0]),
        (Line2D([], [], color=MODEL, marker="o", ms=3, lw=1), f"{labels[1]}, the same noise"),
    ]
    if _trained(scan):
        entries.append((Patch(fc=TRAINED, ec="0.8"), "range of the training"))  # type: ignore[arg-type]
    return Legend(width, entries)


def _trained(scan: Scan) -> bool:
    """Whether there is a range of the training to be drawn."""
    return scan.trained is not None and not scan.field.classes


def _title(scan: Scan, condition: str) -> str:
    return with_unit(condition or scan.field.name.replace("_", " "), scan.field.unit)


def _value(scan: Scan, number: int, condition: str) -> str:
    field, value = scan.field, float(scan.values[number])
    if field.classes:
        return str(field.classes[int(value)])
    text = f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return f"{condition or field.name.replace('_', ' ')} = {text} {field.unit}".strip()


def _draw(ax: Axes, scan: Scan, curve: Curve) -> None:
    at, truth, error = (np.asarray(part) for part in curve.truth)
    values, made = np.asarray(scan.values, dtype=float), np.asarray(curve.generated[0])
    _range(ax, scan)
    ax.errorbar(at, truth, error, fmt="s", ms=4, color=TRUTH_EDGE, capsize=2)
    noise = np.asarray(curve.generated[1])
    ax.errorbar(values, made, noise, fmt="o-", ms=2.5, lw=1, color=MODEL)
    seen = np.concatenate([truth, made])
    seen = seen[np.isfinite(seen)]
    positive = seen[seen > 0]
    if len(positive) and seen.min() >= 0 and positive.max() > WIDE * positive.min():
        ax.set_yscale("log")


def _ratio(ax: Axes, scan: Scan, curve: Curve) -> None:
    """Generated over true mean at the values where truth is known."""
    values = np.asarray(scan.values, dtype=float)
    at, truth, error = (np.asarray(part, dtype=float) for part in curve.truth)
    made, noise = (_at(at, values, np.asarray(part, dtype=float)) for part in curve.generated)
    _range(ax, scan)
    known = np.abs(error) < BLURRED * np.abs(truth)
    at, truth, error, made, noise = (part[known] for part in (at, truth, error, made, noise))
    ratio, width, band = made / truth, noise / np.abs(truth), error / np.abs(truth)
    ax.axhline(1, color=TRUTH_EDGE, lw=0.8)
    ax.errorbar(at, np.ones_like(at), band, fmt="none", ecolor=BAND, elinewidth=5, alpha=0.6)
    ax.errorbar(at, ratio, width, fmt="o", ms=2.5, lw=1, color=MODEL)
    half = reach(ratio, band, np.ones_like(at))
    ratio_axis(ax, half)
    arrows(ax, at, ratio, half)


def _at(wanted: Array, values: Array, content: Array) -> Array:
    """Content at the values of the grid that lie next to the wanted ones."""
    if not len(wanted):
        return np.zeros(0)
    nearest = np.abs(wanted[:, None] - values[None]).argmin(1)
    found: Array = content[nearest]
    return found


def _range(ax: Axes, scan: Scan) -> None:
    """Scale of the horizontal axis, and where the training was."""
    if _trained(scan):
        ax.axvspan(*scan.trained, color=TRAINED, zorder=0)  # type: ignore[misc]  # it is known
    if scan.field.classes:
        ax.set_xticks(range(len(scan.field.classes)), [str(name) for name in scan.field.classes])
    elif scan.field.log:
        ax.set_xscale("log")
