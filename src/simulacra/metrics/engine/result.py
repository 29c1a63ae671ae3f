"""What an evaluation found: figures by key, and all that is needed to draw them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from simulacra.core import UserError
from simulacra.physics.base import ASKED, RATIO, Axis, Image

if TYPE_CHECKING:
    from hist import Hist

    from simulacra.metrics.engine.agreement import Agreement
    from simulacra.metrics.engine.band import Band
    from simulacra.metrics.engine.curve import Curve
    from simulacra.metrics.engine.response import Moments

Array = NDArray[np.float64]
SAMPLES = ("reference", "generated")


TWINS = ("/error", "/floor", "/z")
"""What stands beside a figure: its statistical error, what truth scores against truth, and by how many
standard deviations of the latter the figure lies above it."""


def is_twin(key: str, figures: Mapping[str, float]) -> bool:
    """Whether an entry stands beside another one, and is no figure of its own."""
    return any(key.endswith(twin) and key.removesuffix(twin) in figures for twin in TWINS)


@dataclass(frozen=True)
class Histogram:
    """Counts of one observable; the binning comes from the truth alone.

    Args:
        axis: Label, unit and whether bins are even in the logarithm.
        edges: Bin edges ``(bins + 1,)``.
        reference: Weighted counts of the truth ``(bins,)``.
        generated: Weighted counts of generated events ``(bins,)``.
        outside: Fractions of values under and over the range, of the truth and of generated events
            ``((under, over), (under, over))``.
        undefined: Weight of the events in which the observable is NaN, of the truth and generated.
        variances: Squared errors ``(bins,)`` of ``reference`` and ``generated`` at a given sum: sums of
            squared weights, the counts themselves where all weights are 1; where an event holds several
            values, those of a bootstrap of whole events.
        band: Fractions per bin of several networks, where there are some.
        agreement: Whether the shapes agree; None where there are too few events for it.
    """

    axis: Axis
    edges: Array
    reference: Array
    generated: Array
    outside: tuple[tuple[float, float], tuple[float, float]]
    undefined: tuple[float, float]
    variances: tuple[Array, Array]
    band: Band | None = None
    agreement: Agreement | None = None

    def to_hist(self) -> Hist:
        """As ``hist.Hist`` with the axes ``events`` ("reference", "generated") and ``value``, and weighted
        storage: counts with the squared errors of ``variances``.

        It has no under- and overflow bins: of what lies outside, shares are known alone (``outside``).

        Raises:
            UserError: If the package hist is not installed.
        """
        try:
            import hist
        except ImportError as error:
            raise UserError(
                "histograms as hist.Hist need the extra [hep]: pip install 'simulacra[hep]'"
            ) from error
        title = f"{self.axis.label} [{self.axis.unit}]" if self.axis.unit else self.axis.label
        made: Hist = hist.Hist(
            hist.axis.StrCategory(SAMPLES, name="events", label="events"),
            hist.axis.Variable(
                self.edges, name="value", label=title, underflow=False, overflow=False
            ),
            storage=hist.storage.Weight(),
        )
        counts = np.stack([self.reference, self.generated])
        made[...] = np.stack([counts, np.stack(self.variances)], axis=-1)
        return made


@dataclass(frozen=True)
class ProfilePair:
    """Mean profiles ``(K,)`` with their standard errors.

    Args:
        axis: Label and unit of the coordinate.
        label: Text for the content.
        unit: Unit of the content.
        edges: Bin edges ``(K + 1,)``.
        reference: Mean of the truth.
        reference_error: Its standard error.
        generated: Mean of generated events.
        generated_error: Its standard error.
        band: The same of several networks, where there are some.
        agreement: Whether the profiles agree; None where there are too few events for it.
        names: Names of the bins ``(K,)``, where they have some: numbers of layers or sensors.
    """

    axis: Axis
    label: str
    unit: str
    edges: Array
    reference: Array
    reference_error: Array
    generated: Array
    generated_error: Array
    band: Band | None = None
    agreement: Agreement | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class ResponsePoint:
    """Response in one bin of what was asked for.

    Args:
        name: Name of the bin.
        asked: Mean of what was asked for, in the unit of the response.
        reference: Moments of the truth.
        generated: Moments of generated events.
        histogram: Counts of seen over asked.
    """

    name: str
    asked: float
    reference: Moments
    generated: Moments
    histogram: Histogram


@dataclass(frozen=True)
class Correlation:
    """Correlation matrices ``(n, n)``.

    Args:
        label: What rows and columns are.
        names: Text of each row.
        reference: Of the truth.
        generated: Of generated events.
        kind: Whose coefficients they are.
        key: The figure of merit that measures their difference.
    """

    label: str
    names: tuple[str, ...]
    reference: Array
    generated: Array
    kind: str = "Pearson"
    key: str = "correlation"


@dataclass(frozen=True)
class EvaluationResult:
    """One sample judged against the truth.

    Args:
        metrics: Flat figures by key, each with ``…/error`` and ``…/floor`` where they exist; all finite.
        notes: Remarks by key, e.g. ``too few events``, or how the floors were made.
        events: Number of true and of generated events.
        unit: Unit of the values of an event.
        histograms: By observable.
        profiles: By name.
        images: Mean images of the truth and of generated events by name.
        response: Points in rising order of what was asked for.
        correlation: Of layers, sensors or scalars, or None.
        prefix: What the keys of metrics and notes begin with.
        networks: Number of networks behind the bands, 0 where there are none.
        truth: What made the reference, and the data set: ``Geant4, ds2``.
        asked: Text for what was asked for.
        ratio: Text for what is seen over it.
        core: Share of events in the interval of response and resolution.
        misfits: By observable, where scores say that the samples differ: the truth, and the truth with the
            ratio of densities that was learned as weights.
        curves: What scores leave to be drawn, by page and panel.
    """

    metrics: dict[str, float]
    notes: dict[str, str]
    events: tuple[int, int]
    unit: str
    histograms: dict[str, Histogram]
    profiles: dict[str, ProfilePair]
    images: dict[str, tuple[Image, Image]]
    response: tuple[ResponsePoint, ...]
    correlation: Correlation | None
    prefix: str
    networks: int = 0
    truth: str = "truth"
    asked: str = ASKED
    ratio: str = RATIO
    core: float = 1.0
    misfits: dict[str, Histogram] = field(default_factory=dict)
    curves: Mapping[str, Mapping[str, Curve]] = field(default_factory=dict)

    def rows(self) -> Iterator[tuple[str, float, float | None, float | None]]:
        """``(key, value, error, floor)`` of every figure, without the prefix."""
        for key, value in self.metrics.items():
            if not is_twin(key, self.metrics):
                error, floor = self.metrics.get(f"{key}/error"), self.metrics.get(f"{key}/floor")
                yield key.removeprefix(self.prefix), value, error, floor
