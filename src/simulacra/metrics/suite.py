"""Judge a generated sample against the truth: every observable, the response, and the classifier tests.

:func:`evaluate` does it once; an :class:`Evaluator` keeps what depends on the truth alone
(binning, floors, reduced samples) and judges one sample after another, as a callback needs it.

Levels: ``quick`` observables and boosted judge; ``standard`` also one training of each published
network, from 10,000 events per class; ``challenge`` ten trainings of each, whose mean and spread
the CaloChallenge quotes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch

from simulacra.core import Batch
from simulacra.metrics import networks
from simulacra.metrics.assemble import correlations, histograms, images, profiles, response_points
from simulacra.metrics.boosted import MIN_EVENTS, boosted
from simulacra.metrics.compare import Binning, compare
from simulacra.metrics.floors import Floors, floors, pairs
from simulacra.metrics.result import EvaluationResult
from simulacra.metrics.sample import Sample, reduce
from simulacra.physics.base import ObservableSet

Level = Literal["quick", "standard", "challenge"]
Score = Callable[[Batch, Batch, Batch | None], dict[str, float]]
"""Figures of one data set: ``score(reference, generated, truth)`` with twins ``…/error`` and ``…/floor``."""
TRAININGS: dict[Level, int] = {"quick": 0, "standard": 1, "challenge": 10}
"""Trainings of each published network."""
REPLICAS: dict[Level, int] = {"quick": 20, "standard": 50, "challenge": 100}
"""Bootstrap replicas behind each error."""
JUDGE_EVENTS = 20_000
"""Events per class that the boosted judge sees at most, the first ones."""


class Evaluator:
    """Judges samples against one truth.

    Args:
        reference: True events.
        observables: What is compared.
        truth: Independent true events for the floors (the training part if need be), or None:
            halves of the reference.
        level: ``quick``, ``standard`` or ``challenge``.
        force: Train the published networks also below 10,000 events per class, with a label.
        seed: Seed of bootstrap, folds and networks; the result is a function of the data and the seed.
        judge: Whether to run the classifier tests and the data set's own scores.
        recipe: Size and training of the networks; None for the published ones.
        scores: Figures of this data set beside those of all data sets.
    """

    def __init__(
        self,
        reference: Batch,
        observables: ObservableSet,
        *,
        truth: Batch | None = None,
        level: Level = "quick",
        force: bool = False,
        seed: int = 0,
        judge: bool = True,
        recipe: networks.Recipe | None = None,
        scores: Sequence[Score] = (),
    ) -> None:
        self.observables, self.level, self.force, self.seed = observables, level, force, seed
        self.judge, self.recipe, self.scores = judge, recipe, scores
        self.reference = reduce(reference, observables)
        self.truth = None if truth is None else reduce(truth, observables)
        self.binning = Binning.of(self.reference, observables)
        self._batches = reference, truth
        self._floors: dict[int, Floors] = {}
        self._judge_floors: dict[int, float | None] = {}

    def __call__(self, generated: Batch, prefix: str = "test/") -> EvaluationResult:
        """Judge generated events; metric keys begin with ``prefix``."""
        sample = reduce(generated, self.observables)
        generator = torch.Generator().manual_seed(self.seed)
        found = compare(self.reference, sample, self.binning, REPLICAS[self.level], generator)
        floor = self.floors(sample.events)
        metrics: dict[str, float] = {}
        for key, value in found.values.items():
            metrics |= _figure(key, value, found.errors.get(key), floor.values.get(key))
        notes = {"floor": _FLOORS[floor.kind]}
        hists = histograms(self.reference, sample, self.binning)
        for name, histogram in hists.items():
            metrics |= _losses(
                name, histogram.outside, histogram.undefined, sample.events, self.reference.events
            )
        if self.judge:
            metrics |= self.boosted(sample, notes)
            metrics |= self.networks(generated, notes)
            for score in self.scores:
                metrics |= score(self._batches[0], generated, self._batches[1])
        return EvaluationResult(
            {prefix + key: value for key, value in metrics.items()},
            {prefix + key: text for key, text in notes.items()},
            (self.reference.events, sample.events),
            self.observables.spec.unit,
            hists,
            profiles(self.reference, sample),
            images(self.reference, sample),
            response_points(self.reference, sample, self.binning),
            correlations(self.reference, sample),
            prefix,
        )

    def floors(self, size: int) -> Floors:
        """Floors for ``size`` generated events, computed once per size."""
        if size not in self._floors:
            self._floors[size] = floors(self.reference, self.truth, size, self.binning)
        return self._floors[size]

    def boosted(self, sample: Sample, notes: dict[str, str]) -> dict[str, float]:
        """The boosted judge with error and floor, where there are events enough."""
        if min(self.reference.events, sample.events) < MIN_EVENTS:
            notes["classifier/boosted"] = f"not run: fewer than {MIN_EVENTS} events of each kind"
            return {}
        score = _boosted(self.reference, sample, self.seed)
        if sample.events not in self._judge_floors:
            first, second = pairs(self.reference, self.truth, sample.events)[0][0]
            enough = min(first.events, second.events) >= MIN_EVENTS
            floor = _boosted(first, second, self.seed)[0] if enough else None
            self._judge_floors[sample.events] = floor
        return _figure("classifier/boosted/auc", *score, self._judge_floors[sample.events])

    def networks(self, generated: Batch, notes: dict[str, str]) -> dict[str, float]:
        """The published networks on high-level and low-level inputs, where the level asks for them."""
        reference, truth = self._batches
        trainings = TRAININGS[self.level]
        if not trainings:
            return {}
        few = min(len(reference), len(generated)) < networks.MIN_EVENTS
        if few and not self.force:
            notes["classifier/low"] = notes["classifier/high"] = f"not run: {networks.TOO_FEW}"
            return {}
        metrics: dict[str, float] = {}
        for name, inputs in (("high", self.observables.features), ("low", self.observables.cells)):
            pair = inputs(reference), inputs(generated)
            split = self.observables.split
            score = networks.network_test(*pair, split, trainings, self.seed, self.recipe)
            metrics |= _figure(f"classifier/{name}/auc", score.auc, score.auc_error, None)
            metrics |= _figure(f"classifier/{name}/jsd", score.jsd, score.jsd_error, None)
            if truth is not None:
                size = min(len(truth), len(generated))
                floor = networks.network_test(
                    pair[0], inputs(truth[:size]), split, 1, self.seed, self.recipe
                )
                metrics[f"classifier/{name}/auc/floor"] = floor.auc
                metrics[f"classifier/{name}/jsd/floor"] = floor.jsd
            if few:
                notes[f"classifier/{name}"] = networks.TOO_FEW
        return metrics


_FLOORS = {
    "independent": "reference against independent truth of the generated sample's size",
    "scaled": "reference against less independent truth than generated events, scaled by (1/N + 1/M)",
    "halves": "halves of the reference, scaled by (1/N + 1/M)",
}


def evaluate(
    reference: Batch,
    generated: Batch,
    observables: ObservableSet,
    *,
    truth: Batch | None = None,
    level: Level = "quick",
    force: bool = False,
    seed: int = 0,
    prefix: str = "test/",
    recipe: networks.Recipe | None = None,
    scores: Sequence[Score] = (),
) -> EvaluationResult:
    """Judge generated events once; see :class:`Evaluator` for the arguments."""
    judge = Evaluator(
        reference,
        observables,
        truth=truth,
        level=level,
        force=force,
        seed=seed,
        recipe=recipe,
        scores=scores,
    )
    return judge(generated, prefix)


def _boosted(reference: Sample, generated: Sample, seed: int) -> tuple[float, float]:
    pair = [
        sample.between(0, min(sample.events, JUDGE_EVENTS)) for sample in (reference, generated)
    ]
    score = boosted(pair[0].features, pair[1].features, pair[0].weight, pair[1].weight, seed)
    return score.auc, score.error


def _figure(key: str, value: float, error: float | None, floor: float | None) -> dict[str, float]:
    """A figure with its twins; those that are unknown or NaN are left out."""
    found = {key: value}
    if error is not None and error == error:
        found[f"{key}/error"] = error
    if floor is not None:
        found[f"{key}/floor"] = floor
    return found


def _losses(
    name: str,
    outside: tuple[tuple[float, float], tuple[float, float]],
    undefined: tuple[int, int],
    generated: int,
    reference: int,
) -> dict[str, float]:
    """Shares of events that the histogram cannot show, where there are any; the floor is the
    truth's share.
    """
    found: dict[str, float] = {}
    if any(map(sum, outside)):
        found |= _figure(f"outside/{name}", sum(outside[1]), None, sum(outside[0]))
    if any(undefined):
        found |= _figure(
            f"undefined/{name}", undefined[1] / generated, None, undefined[0] / reference
        )
    return found
