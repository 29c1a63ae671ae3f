"""A scan of a generator over one condition at fixed noise: observables over truth, one event on the way."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulacra.metrics.protocols.scans import Curve, Scan
from simulacra.physics.base import Axis
from simulacra.plotting.image import decades, mesh, paired, shown, unit_of
from simulacra.plotting.style import LABELS, MODEL, TRUTH_EDGE, new_figure, place, styled, with_unit

PANELS = 6
"""Observables that are drawn, at most, the first ones; images of each event as well."""
STOPS = 5
"""Values of the condition at which an event is drawn, at most."""


def scan_page(scan: Scan, axes: dict[str, Axis], labels: tuple[str, str] = LABELS) -> Figure:
    """The first observables of a scan against the condition; the trained range is shaded.

    Args:
        scan: What was found.
        axes: Label and unit of each observable.
        labels: Names of truth and generated events.
    """
    curves = scan.curves[:PANELS]
    columns = min(3, len(curves))
    rows = math.ceil(len(curves) / columns)
    with styled():
        figure = new_figure(4.4 * columns, 3.4 * rows)
        cells = place(figure, rows, columns, top=0.2)
        for number, curve in enumerate(curves):
            ax = figure.add_subplot(cells[number // columns, number % columns])
            _draw(ax, scan, curve, labels)
            ax.set_xlabel(with_unit(scan.field.name.replace("_", " "), scan.field.unit))
            axis = axes[curve.name]
            ax.set_ylabel(f"mean of {with_unit(axis.label, axis.unit)}")
            if not number:
                ax.legend()
    return figure


def event_page(scan: Scan) -> Figure:
    """Images of one event, a row each, along the condition: the same noise in all of a row, on one scale."""
    stops = np.unique(np.linspace(0, len(scan.images) - 1, STOPS).round().astype(int))
    names = list(scan.images[0])[:PANELS]
    with styled():
        figure = new_figure(3.6 * len(stops), 2.9 * len(names) + 0.4)
        cells = place(figure, len(names), len(stops), right=0.6, wide=0.9)
        for row, name in enumerate(names):
            images = [scan.images[stop][name] for stop in stops]
            rasters = [paired(image, image) for image in images]
            contents = [shown(item)[0] for item in rasters]
            norm = decades(np.stack(contents))
            for column, (item, values) in enumerate(zip(rasters, contents, strict=True)):
                ax = figure.add_subplot(cells[row, column])
                mesh(figure, ax, item, values, norm, "viridis", unit_of(item))
                ax.set_title(f"{item.title}, {_value(scan, int(stops[column]))}", pad=6)
    return figure


def _value(scan: Scan, number: int) -> str:
    field, value = scan.field, float(scan.values[number])
    if field.classes:
        return str(field.classes[int(value)])
    return with_unit(f"{field.name.replace('_', ' ')} {value:.3g}", field.unit)


def _draw(ax: Axes, scan: Scan, curve: Curve, labels: tuple[str, str]) -> None:
    at, truth, error = (np.asarray(part) for part in curve.truth)
    values, made = np.asarray(scan.values, dtype=float), np.asarray(curve.generated[0])
    if scan.trained is not None and not scan.field.classes:
        ax.axvspan(*scan.trained, color="0.93", zorder=0)
    ax.errorbar(at, truth, error, fmt="s", ms=4, color=TRUTH_EDGE, label=labels[0], capsize=2)
    ax.errorbar(
        values,
        made,
        np.asarray(curve.generated[1]),
        fmt="o-",
        ms=2.5,
        lw=1,
        color=MODEL,
        label=labels[1],
    )
    if scan.field.classes:
        ax.set_xticks(range(len(scan.field.classes)), [str(name) for name in scan.field.classes])
    elif scan.field.log:
        ax.set_xscale("log")
