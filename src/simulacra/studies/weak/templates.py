"""Templates of signal and background, and topics, from the histograms of two mixtures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.core.ranges import Count, NotNegative
from simulacra.metrics.binned_unfolding import content, edges
from simulacra.metrics.binned_unfolding import place as place_of
from simulacra.metrics.engine.curve import Curve, Series
from simulacra.metrics.unmixing import Shares, extreme, misfit, topics, unmixed
from simulacra.physics.base import Axis
from simulacra.plotting.curve_page import curve_page
from simulacra.studies.unfolding_cases import observed
from simulacra.studies.weak.samples import Mixed, most
from simulacra.studies.weak.task import Part, Task


@dataclass(frozen=True)
class Spectra:
    """Histograms of an observable.

    Args:
        first: Of the mixture with most signal.
        second: Of that with least.
        truth: Of labelled events by kind.
        fractions: Shares of signal in both mixtures.
        centres: Mean of the observable in each bin ``(K,)``.
    """

    first: Shares
    second: Shares
    truth: Mapping[str, Shares]
    fractions: tuple[float, float]
    centres: Tensor


class Templates(Part):
    """See the module's docstring.

    Args:
        observables: Names of the observables.
        score: Name of a learner whose logits are one more observable, of mixtures of half of the test events,
            which it has not learnt from, beside the labels of the other half; None: there is none.
        bins: Bins of each, of equal content of both mixtures together, at most.
        uncertain: Standard error of each fraction, which enters the errors of the templates.
        least: Effective events of either mixture in a bin that may be an extreme one.

    Raises:
        UserError: If there are no observables.
    """

    def __init__(
        self,
        observables: Sequence[str],
        score: str | None,
        bins: Count,
        uncertain: NotNegative,
        least: Count,
    ) -> None:
        self.observables, self.score, self.bins = list(observables), score, bins
        self.uncertain, self.least = uncertain, least
        if not self.observables:
            raise UserError("templates need at least one observable")

    def run(self, task: Task) -> None:
        """See the base class."""
        mixed = task.mixed("templates/mixtures", task.fractions, 0)
        scored = [] if self.score is None else [task.scored[self.score]]

        def work(folder: Path) -> dict[str, float]:
            found = self._spectra(task, mixed)
            figures: dict[str, float] = {}
            for name, spectra in found.items():
                figures |= self._figures(spectra, name)
            return figures

        made = task.bench.compute(
            "templates/spectra", work, *mixed.extremes, task.events.test, *scored,
            list(mixed.fractions), self.observables, self.bins, self.uncertain, self.least,
        )  # fmt: skip
        page = curve_page(self._curves(task, mixed), ("labels", "mixtures"))
        task.bench.report("Templates and topics", made, page, TEXT)

    def _spectra(self, task: Task, mixed: Mixed) -> dict[str, Spectra]:
        """Histograms of all observables and of the score."""
        blind = task.events.bench
        kinds = task.events.apart(torch.arange(sum(task.events.counts)))
        test = blind.events(task.events.test)
        samples = [*map(blind.events, mixed.extremes), *(test[rows] for rows in kinds)]
        columns = [observed(blind, batch, self.observables) for batch in samples]
        weights = [batch.weight_or_one().double() for batch in samples]
        fractions = max(mixed.fractions), min(mixed.fractions)
        found = {
            name: self._spectrum([column[name] for column in columns], weights, fractions)
            for name in self.observables
        }
        if self.score is not None:
            logits, weight = task.logits(task.scored[self.score]), test.weight_or_one().double()
            parts, own = mixture_of(kinds, fractions, weight)
            found[SCORE] = self._spectrum(
                [logits[rows] for rows in parts], [weight[rows] for rows in parts], own
            )
        return found

    def _spectrum(
        self,
        values: Sequence[Tensor],
        weights: Sequence[Tensor],
        fractions: tuple[float, float],
    ) -> Spectra:
        """Histograms of both mixtures, of signal and of background, by their values ``(N,)``."""
        both, weight = torch.cat([*values[:2]]).double(), torch.cat([*weights[:2]])
        cuts = edges(both, self.bins, weight)
        n = len(cuts) + 1
        places = [place_of(value, cuts) for value in values]
        kept = [place < n for place in places]  # what is not defined is in no bin
        shares = [
            Shares.of(place[own], n, item[own])
            for place, own, item in zip(places, kept, weights, strict=True)
        ]
        inside = torch.cat(kept[:2])
        place, weight, both = (item[inside] for item in (torch.cat(places[:2]), weight, both))
        centres = content(place, n, weight * both) / content(place, n, weight)
        truth = dict(zip(("signal", "background"), shares[2:], strict=True))
        return Spectra(shares[0], shares[1], truth, fractions, centres)

    def _figures(self, spectra: Spectra, name: str) -> dict[str, float]:
        fractions = spectra.fractions
        signal, background = unmixed(spectra.first, spectra.second, fractions, self.uncertain)
        figures = {}
        for kind, (value, error) in (("signal", signal), ("background", background)):
            key = f"templates/{name}/{kind}/misfit"
            figures[key], figures[f"{key}/error"] = misfit(value, error, spectra.truth[kind])
            figures[f"{key}/floor"] = 1.0
        found = topics(spectra.first, spectra.second, self.least)
        for label, (share, own), truth in zip(("most", "least"), found, fractions, strict=True):
            key = f"topics/{name}/{label}"
            figures |= {key: share, f"{key}/error": own, f"{key}/floor": truth}
        for kind, other in (("signal", "background"), ("background", "signal")):
            key = f"topics/{name}/reducible/{kind}"
            figures[key], figures[f"{key}/error"] = extreme(
                spectra.truth[kind], spectra.truth[other], self.least
            )
        return figures

    def _curves(self, task: Task, mixed: Mixed) -> dict[str, Curve]:
        """Templates of both kinds for each observable."""
        axes = {**task.events.bench.datamodule.observables.axes(), SCORE: Axis("logit")}
        curves = {}
        for name, item in self._spectra(task, mixed).items():
            pair = unmixed(item.first, item.second, item.fractions, self.uncertain)
            for kind, (value, error) in zip(("signal", "background"), pair, strict=True):
                truth = item.truth[kind]
                curves[f"{name}, {kind}"] = Curve(
                    axes[name],
                    f"share of the {kind}",
                    "",
                    _series(item.centres, truth.value, truth.variance.sqrt()),
                    _series(item.centres, value, error),
                    {},
                )
        return curves


def mixture_of(
    kinds: tuple[Tensor, Tensor], fractions: tuple[float, float], weight: Tensor
) -> tuple[list[Tensor], tuple[float, float]]:
    """Rows of two mixtures of half of some events, then of signal and background of the other half; and
    the shares of signal in the weight of both mixtures.

    Args:
        kinds: Rows of signal and of background, in an order that means nothing.
        fractions: Shares of signal of the mixtures.
        weight: Of all rows ``(N,)``.
    """
    (signal, signal_left), (background, background_left) = (
        (rows[::2], rows[1::2]) for rows in kinds
    )
    each = most(fractions, [len(background), len(signal)])
    parts, shares = [], []
    for fraction in fractions:
        count = round(fraction * each)
        own = signal[:count], background[: each - count]
        signal, background = signal[count:], background[each - count :]
        parts.append(torch.cat(own))
        total, part = weight[parts[-1]].sum(), weight[own[0]].sum()
        shares.append(float(part / total))
    return [*parts, signal_left, background_left], (shares[0], shares[1])


SCORE = "score"
"""How the logit of a learner is called among observables."""


def _series(centres: Tensor, value: Tensor, error: Tensor) -> Series:
    return Series(centres.numpy(), value.numpy(), error.numpy())


TEXT = (
    "Shares of signal and of background in the bins of an observable, from the two mixtures and their "
    "fractions alone, beside those of labelled test events. misfit is the mean squared difference in "
    "errors, 1 where they are right. topics are the shares of signal that the extreme ratios of both "
    "mixtures give without fractions, beside the true ones; they are right where neither class can be "
    "reduced: reducible is the smallest ratio of one class to the other one by labels, 0 in that case."
)
