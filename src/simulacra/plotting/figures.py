"""All figures of one evaluation: pages of observables, profiles, mean images, response, correlations, and
curves of scores.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from simulacra.plotting.correlation import correlation_page
from simulacra.plotting.curve_page import curve_page
from simulacra.plotting.histogram import Panel, counted, histogram_page, split
from simulacra.plotting.image import image_page, paired
from simulacra.plotting.response import Curve, response_page
from simulacra.plotting.style import spaced, styled, with_unit

if TYPE_CHECKING:
    from simulacra.metrics.engine.agreement import Agreement
    from simulacra.metrics.engine.band import Band
    from simulacra.metrics.engine.result import EvaluationResult, Histogram, ProfilePair

Array = NDArray[np.float64]
PER_FAMILY = 6
"""Panels of observables that differ in a number only (their layer), at most, evenly chosen."""
TINY = 1e-3
"""p-values below it are said to be."""


def figures(
    result: EvaluationResult,
    model: str = "generated",
    style: str = "plain",
    label: str | None = None,
    chosen_pages: Callable[[str], bool] | None = None,
) -> dict[str, Figure]:
    r"""Every figure by name, in pages; nothing stays open in pyplot.

    Of observables that differ in a number only (their layer), some are drawn; :func:`panels` has all.
    A panel says the separation power S with its floor, and :math:`\chi^2` over degrees of freedom with p,
    where it is known (:mod:`simulacra.metrics.engine.agreement`).

    Args:
        result: What an evaluation found.
        model: Name of the generated events in legends; that of the truth is ``result.truth``.
        style: ``plain``, ``cms`` or ``atlas``.
        label: Words behind the experiment's name above the axes; None: neither.
        chosen_pages: Whether a figure is drawn, by its name; None: all are.
    """
    with styled(style, label):
        return {
            name: draw()
            for name, draw in _pages(result, model).items()
            if chosen_pages is None or chosen_pages(name)
        }


def _pages(result: EvaluationResult, model: str) -> dict[str, Callable[[], Figure]]:
    """What draws each page, by name."""
    labels, events, networks = (result.truth, model), result.events, result.networks
    found: dict[str, Callable[[], Figure]] = {}
    observables = [_panel(result, name) for name in chosen(list(result.histograms))]
    for number, page in enumerate(split(observables), start=1):
        found[f"observables_{number}"] = partial(histogram_page, page, labels, events, networks)
    if result.profiles:
        profiles = [_profile(pair) for pair in result.profiles.values()]
        found["profiles"] = partial(histogram_page, profiles, labels, events, networks)
    if result.images:
        images = [paired(*pair) for pair in result.images.values()]
        found["images"] = partial(image_page, images, labels)
    if result.response:
        found["response"] = partial(_response, result, labels)
        shapes = [_shape(point.name, point.histogram) for point in result.response]
        for number, page in enumerate(split(shapes), start=1):
            name = "response_shapes" if number == 1 else f"response_shapes_{number}"
            found[name] = partial(histogram_page, page, labels, events)
    if result.correlation is not None:
        c = result.correlation
        found["correlation"] = partial(
            correlation_page,
            c.label, c.names, c.reference, c.generated, labels, c.kind, _apart(result, c.key),
        )  # fmt: skip
    if result.misfits:
        found["misfit"] = partial(_misfit, result, labels)
    for name, curves in result.curves.items():
        found[name] = partial(curve_page, curves, labels, events)
    return found


def panels(
    result: EvaluationResult,
    model: str = "generated",
    style: str = "plain",
    label: str | None = None,
) -> Iterator[tuple[str, Figure]]:
    """Every observable, profile, image and response as a figure of its own, one after the other.

    Args:
        result: What an evaluation found.
        model: Name of the generated events in legends.
        style: ``plain``, ``cms`` or ``atlas``.
        label: Words behind the experiment's name above the axes; None: neither.
    """
    labels, events, networks = (result.truth, model), result.events, result.networks
    for name in result.histograms:
        with styled(style, label):
            yield name, histogram_page([_panel(result, name)], labels, events, networks)
    for name, pair in result.profiles.items():
        with styled(style, label):
            yield f"profile_{name}", histogram_page([_profile(pair)], labels, events, networks)
    for name, images in result.images.items():
        with styled(style, label):
            yield f"image_{name}", image_page([paired(*images)], labels)
    for point in result.response:
        with styled(style, label):
            yield (
                f"response_{point.name}",
                histogram_page([_shape(point.name, point.histogram)], labels, events),
            )


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
    remark = agreed(histogram.agreement)
    if key in result.metrics:
        floor = result.metrics.get(f"{key}/floor")
        against = "" if floor is None else f" (floor {floor:.2g})"
        remark = f"S = {result.metrics[key]:.2g}{against}\n{remark}".strip()
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


def _misfit(result: EvaluationResult, labels: tuple[str, str]) -> Figure:
    """The truth, and the truth with a learned ratio of densities as weights."""
    shown = [_shape(name, histogram) for name, histogram in result.misfits.items()]
    weighted = f"{labels[0]}, weighted to look like {labels[1]}"
    return histogram_page(shown, (labels[0], weighted), (result.events[0], result.events[0]))


def agreed(agreement: Agreement | None) -> str:
    r""":math:`\chi^2` over degrees of freedom, and p where there is one; nothing where nothing is known."""
    if agreement is None:
        return ""
    chi2 = f"{agreement.chi2:.1f}" if agreement.chi2 < 100 else f"{agreement.chi2:,.0f}"
    text = f"χ²/ndf = {chi2}/{agreement.ndf}"
    if agreement.p is None:
        return text
    return f"{text}, p < {TINY:g}" if agreement.p < TINY else f"{text}, p = {agreement.p:.2g}"


def _apart(result: EvaluationResult, key: str) -> str:
    """Mean difference of two matrices with its error and floor, as far as they are known."""
    key = f"{result.prefix}{key}"
    value, error, floor = (result.metrics.get(key + twin) for twin in ("", "/error", "/floor"))
    if value is None:
        return ""
    spread = "" if error is None else f" ± {error:.1g}"
    against = "" if floor is None else f" (floor {floor:.2g})"
    return f"mean |difference| {value:.2g}{spread}{against}"


def _shape(name: str, histogram: Histogram) -> Panel:
    axis = histogram.axis
    return counted(
        axis.label,
        axis.unit,
        histogram.edges,
        histogram.reference,
        histogram.generated,
        axis.log,
        f"{spaced(name)}\n{agreed(histogram.agreement)}".strip(),
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
        remark=agreed(pair.agreement),
        networks=_networks(pair.band),
        names=pair.names,
    )


def _networks(band: Band | None) -> tuple[Array, Array] | None:
    return None if band is None else (band.mean, band.spread)


def _spans(values: Array) -> bool:
    positive = values[values > 0]
    return len(positive) > 0 and bool(positive.max() > 30 * positive.min())


def _response(result: EvaluationResult, labels: tuple[str, str]) -> Figure:
    asked = np.array([point.asked for point in result.response])
    pairs = [(point.reference, point.generated) for point in result.response]
    core = "" if result.core == 1 else f" of the shortest {100 * result.core:g} %"
    inner = result.ratio.replace("$", "")
    mean = rf"$\langle {inner} \rangle$" if inner != result.ratio else f"mean of {result.ratio}"
    curves = []
    for name, text in (
        ("mean", f"{mean}{core}"),
        ("resolution", rf"$\sigma / \mu$ of {result.ratio}{core}"),
    ):
        series = [
            (
                np.array([getattr(pair[i], name) for pair in pairs]),
                np.array([getattr(pair[i], f"{name}_error") for pair in pairs]),
            )
            for i in (0, 1)
        ]
        curves.append(Curve(text, series[0], series[1]))
    axis = with_unit(result.asked, result.unit)
    return response_page(asked, axis, curves, labels, result.events)
