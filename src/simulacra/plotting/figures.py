"""All figures of one evaluation: pages of observables, profiles, mean images, response, correlations."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from simulacra.metrics.engine.band import Band
from simulacra.metrics.engine.result import EvaluationResult, Histogram, ProfilePair
from simulacra.plotting.histogram import Panel, counted, histogram_pages
from simulacra.plotting.image import image_page, paired
from simulacra.plotting.response import Curve, correlation_page, response_page
from simulacra.plotting.style import LABELS, styled, with_unit

PER_FAMILY = 6
"""Panels of observables that differ in a number only (their layer), at most, evenly chosen."""


def figures(result: EvaluationResult, labels: tuple[str, str] = LABELS) -> dict[str, Figure]:
    """Every figure by name; nothing stays open in pyplot.

    Args:
        result: What an evaluation found.
        labels: Names of truth and generated events in legends.
    """
    found: dict[str, Figure] = {}
    with styled():
        panels = [_panel(result, name) for name in chosen(list(result.histograms))]
        known = (labels, result.events, result.networks)
        for number, page in enumerate(histogram_pages(panels, *known), start=1):
            found[f"observables_{number}"] = page
        if result.profiles:
            profiles = [_profile(pair) for pair in result.profiles.values()]
            found["profiles"] = histogram_pages(profiles, *known)[0]
        if result.images:
            found["images"] = image_page([paired(*pair) for pair in result.images.values()], labels)
        if result.response:
            found["response"] = _response(result, labels)
            shapes = [_shape(point.name, point.histogram) for point in result.response]
            found["response_shapes"] = histogram_pages(shapes, labels, result.events)[0]
        if result.correlation is not None:
            c = result.correlation
            found["correlation"] = correlation_page(
                c.label, c.names, c.reference, c.generated, labels
            )
    return found


def chosen(names: Sequence[str]) -> list[str]:
    """Names to be drawn, those without a number first; of names that differ in a number some,
    evenly chosen.
    """
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault(re.sub(r"_\d+(?=_|$)", "", name), []).append(name)
    single = [members[0] for members in families.values() if len(members) == 1]
    several = []
    for members in families.values():
        if len(members) > 1:
            count = min(PER_FAMILY, len(members))
            several += [
                members[i] for i in np.linspace(0, len(members) - 1, count).round().astype(int)
            ]
    return single + several


def _panel(result: EvaluationResult, name: str) -> Panel:
    histogram = result.histograms[name]
    key = f"{result.prefix}separation/{name}"
    remark = ""
    if key in result.metrics:
        remark = f"S = {result.metrics[key]:.2g}"
        if f"{key}/floor" in result.metrics:
            remark += f"\nfloor {result.metrics[f'{key}/floor']:.2g}"
    axis = histogram.axis
    return counted(
        axis.label,
        axis.unit,
        histogram.edges,
        histogram.reference,
        histogram.generated,
        axis.log,
        remark,
        _networks(histogram.band),
        histogram.variances,
    )


def _shape(name: str, histogram: Histogram) -> Panel:
    axis = histogram.axis
    return counted(
        axis.label,
        axis.unit,
        histogram.edges,
        histogram.reference,
        histogram.generated,
        axis.log,
        name,
        variances=histogram.variances,
    )


def _profile(pair: ProfilePair) -> Panel:
    return Panel(
        pair.axis.label,
        pair.axis.unit,
        pair.edges,
        pair.reference,
        pair.generated,
        pair.reference_error,
        pair.generated_error,
        log_x=pair.axis.log,
        log_y=_spans(pair.reference),
        ordinate=with_unit(pair.label, pair.unit),
        networks=_networks(pair.band),
    )


def _networks(band: Band | None) -> tuple[np.ndarray, np.ndarray] | None:  # type: ignore[type-arg]
    return None if band is None else (band.mean, band.spread)


def _spans(values: np.ndarray) -> bool:  # type: ignore[type-arg]
    positive = values[values > 0]
    return len(positive) > 0 and bool(positive.max() > 30 * positive.min())


def _response(result: EvaluationResult, labels: tuple[str, str]) -> Figure:
    asked = np.array([point.asked for point in result.response])
    pairs = [(point.reference, point.generated) for point in result.response]
    curves = []
    for name, text in (
        ("mean", "mean of seen / asked"),
        ("resolution", "relative width of seen / asked"),
    ):
        series = [
            (
                np.array([getattr(pair[i], name) for pair in pairs]),
                np.array([getattr(pair[i], f"{name}_error") for pair in pairs]),
            )
            for i in (0, 1)
        ]
        curves.append(Curve(text, series[0], series[1]))
    return response_page(asked, result.unit, curves, labels)
