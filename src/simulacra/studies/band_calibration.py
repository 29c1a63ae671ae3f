r"""Whether the error band of a Bayesian generator covers the truth, and how it grows with fewer events.

The generator is trained on samples of several sizes. From the posterior of each training networks are drawn,
and each generates events: their histograms have a mean and a spread in every bin
(:class:`~simulacra.metrics.engine.band.Band`). The band is calibrated if the truth lies within one standard
deviation in 68 % of the bins, statistical errors included, and if it is wider where there was less to learn
from; counting alone would make it grow as the root of the ratio of the sizes.

Bins at both ends are left out, since no smooth density follows an edge. Those of one training are not
independent, so that the share of covered bins scatters more than counting says.

Reference: Bellagente et al., arXiv:2104.04543, section 3.1, on the wedge ramp.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from simulacra.core import UserError
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, Whole
from simulacra.metrics.engine.band import Band, figures
from simulacra.metrics.engine.score import Figure as Score
from simulacra.plotting.histogram import counted, histogram_page
from simulacra.studies.bench import Bench
from simulacra.studies.study import Study

Array = NDArray[np.float64]
Counts = tuple[Array, Array]
"""Weighted counts and their squared errors."""


@constructor
@dataclass(frozen=True)
class Bins:
    """Even bins over the range of the true values of an observable.

    Args:
        observable: Its name.
        number: Bins that are looked at.
        margin: Further bins at each end, which are not.
    """

    observable: str
    number: Count
    margin: Whole

    def edges(self, values: Array) -> Array:
        """Edges of the bins that are looked at ``(number + 1,)``."""
        whole = self.number + 2 * self.margin
        edges: Array = np.linspace(values.min(), values.max(), whole + 1)
        return edges[self.margin : whole + 1 - self.margin]


class BandCalibration(Study):
    """See the module's docstring.

    Args:
        training: Overrides of each training, its Bayesian model among them.
        events: Numbers of training events, falling.
        networks: Networks that are drawn from each posterior, at least 2.
        generated: Events of each network.
        bins: Where coverage is asked for.

    Raises:
        UserError: If the numbers of events do not fall, or there are fewer than two networks.
    """

    def __init__(
        self,
        training: Sequence[str],
        events: Sequence[Count],
        networks: Count,
        generated: Count,
        bins: Bins,
    ) -> None:
        if not events or list(events) != sorted(set(events), reverse=True) or networks < 2:
            raise UserError(
                "a band needs falling numbers of training events and two networks, got "
                f"{list(events)} and {networks}"
            )
        self.training, self.events, self.networks = list(training), list(events), networks
        self.generated, self.bins = generated, bins

    def run(self, bench: Bench) -> None:
        """See the base class."""
        truth = bench.split("truth", "test", {"events": 1.0})["events"]
        files = [self.drawn(bench, n) for n in self.events]
        names = [f"{n}" for n in self.events]
        found = bench.compute(
            "bands", partial(self.measure, bench, truth, files), truth, files, self.generated,
            self.bins.observable, self.bins.number, self.bins.margin,
        )  # fmt: skip
        for name, made in zip(names, files, strict=True):
            own = {key: value for key, value in found.items() if key.startswith(f"n{name}/")}
            bench.report(f"{name} training events", own, self.page(bench, truth, made), TEXT)
        whole = {key: value for key, value in found.items() if not key.startswith("n")}
        bench.report("All trainings", whole, None, WHOLE)

    def drawn(self, bench: Bench, n: int) -> list[Path]:
        """Generated events of each network of one training."""
        trained = bench.train(f"trainings/{n}", f"data.limit={n}", *self.training)
        return bench.networks(
            f"networks/{n}", trained.checkpoint, self.networks, f"n={self.generated}"
        )

    def measure(
        self, bench: Bench, truth: Path, files: Sequence[Sequence[Path]], folder: Path
    ) -> dict[str, float]:
        """Coverage and width of each band, coverage of all, and growth of the width.

        Raises:
            UserError: If no bin holds enough true events.
        """
        edges = self.bins.edges(self.values(bench, truth)[0])
        true, variance = self.counts(bench, truth, edges)
        bands = [self.band(bench, made, edges) for made in files]
        result: dict[str, float] = {}
        for n, band in zip(self.events, bands, strict=True):
            result |= flat(f"n{n}/", figures([(band, true, variance)]))
        whole = figures([(band, true, variance) for band in bands])
        if not whole:
            raise UserError("no bin holds enough true events to say anything on a band")
        result |= flat("", {"band/coverage": whole["band/coverage"]})
        first, last = (result[f"n{n}/band/width"] for n in (self.events[0], self.events[-1]))
        if first > 0:  # else networks differ by no more than their events, and there is no growth
            result["band/growth"] = last / first
            result["band/growth/floor"] = math.sqrt(self.events[0] / self.events[-1])
        return result

    def band(self, bench: Bench, made: Sequence[Path], edges: Array) -> Band:
        """The band of some networks; contents are shares of the bins that are looked at."""
        return Band.counted([self.counts(bench, path, edges) for path in made])

    def counts(self, bench: Bench, path: Path, edges: Array) -> Counts:
        """Contents of the bins."""
        values, weight = self.values(bench, path)
        return (
            np.histogram(values, edges, weights=weight)[0],
            np.histogram(values, edges, weights=np.square(weight))[0],
        )

    def values(self, bench: Bench, path: Path) -> Counts:
        """The observable of the events of a file, and their weights.

        Raises:
            UserError: If there is none of one value per event.
        """
        batch = bench.events(path)
        found = bench.datamodule.observables(batch).get(self.bins.observable)
        if not isinstance(found, torch.Tensor) or found.ndim != 1:
            raise UserError(
                f"there is no observable {self.bins.observable!r} of one value per event"
            )
        known = torch.isfinite(found)
        return found[known].double().numpy(), batch.weight_or_one()[known].double().numpy()

    def page(self, bench: Bench, truth: Path, made: Sequence[Path]) -> Figure:
        """Truth, the first network, and the band of all."""
        edges = self.bins.edges(self.values(bench, truth)[0])
        true, variance = self.counts(bench, truth, edges)
        band, (first, error) = (
            self.band(bench, made, edges), self.counts(bench, made[0], edges),
        )  # fmt: skip
        axis = bench.datamodule.observables.axes()[self.bins.observable]
        panel = counted(
            axis.label, axis.unit, edges, true, first, False,
            networks=(band.mean, band.spread), variances=(variance, error),
        )  # fmt: skip
        return histogram_page([panel], labels=("truth", "one network"), networks=len(made))


def flat(prefix: str, found: Mapping[str, Score]) -> dict[str, float]:
    """Figures with their twins."""
    result = {}
    for key, item in found.items():
        result[prefix + key] = item.value
        for twin, value in (("error", item.error), ("floor", item.floor)):
            if value is not None:
                result[f"{prefix}{key}/{twin}"] = value
    return result


TEXT = (
    "coverage: share of bins in which the truth lies within one standard deviation of the networks' "
    "mean; its floor is that of a calibrated band. width: median of the networks' spread over their mean."
)
WHOLE = (
    "coverage of the bins of all trainings; growth: width of the training with the fewest events over "
    "that with the most, whose floor is what counting gives."
)
