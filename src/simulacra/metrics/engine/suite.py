"""Judge a generated sample against the truth: observables, response, and the scores that are asked for.

:func:`evaluate` does it once; an :class:`Evaluator` keeps what depends on the truth alone
(binning, floors, reduced samples) and judges one sample after another, as a callback needs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch

from simulacra.core import UserError
from simulacra.metrics.classifiers.boosted import boosted_score
from simulacra.metrics.engine import band
from simulacra.metrics.engine.assemble import (
    correlations,
    histograms,
    images,
    profiles,
    response_points,
)
from simulacra.metrics.engine.binning import Binned, Binning
from simulacra.metrics.engine.compare import MOST_VALUES, compare, has_negative
from simulacra.metrics.engine.conditional import Conditional
from simulacra.metrics.engine.curve import Curve
from simulacra.metrics.engine.events import Events
from simulacra.metrics.engine.floors import TEXTS, Floor, Floors, floors, score_floors
from simulacra.metrics.engine.result import EvaluationResult, Histogram
from simulacra.metrics.engine.sample import Sample
from simulacra.metrics.engine.score import Figure, Judged, NotRun, Score, judged, refuse_negative
from simulacra.physics.base import ObservableSet

DEFAULT: Mapping[str, Score] = {"boosted": boosted_score}
"""Scores of an evaluation that names none: the default judge."""
REPLICAS = 20
"""Bootstrap replicas behind each error, unless another number is asked for."""


class Evaluator:
    """Judges samples against one truth.

    Args:
        reference: True events; they, truth and training events may have been reduced before.
        observables: What is compared.
        truth: Independent true events for the floors (the training part if need be), or None:
            halves of the reference.
        training: Events that the generator was trained on, for scores that look for copies of them.
        scores: Figures beside those of the observables, by name.
        conditional: Whether to score also in bins of what was asked for.
        replicas: Bootstrap replicas behind each error.
        seed: Seed of bootstrap, folds and draws; the result is a function of the data and the seed.
    """

    def __init__(
        self,
        reference: Events | Judged,
        observables: ObservableSet,
        *,
        truth: Events | Judged | None = None,
        training: Events | Judged | None = None,
        scores: Mapping[str, Score] = DEFAULT,
        conditional: bool = False,
        replicas: int = REPLICAS,
        seed: int = 0,
    ) -> None:
        self.observables, self.replicas, self.seed = observables, replicas, seed
        self.truth = None if truth is None else self._judged(truth)
        trained = self.truth if training is truth else None
        if training is not None and trained is None:
            trained = self._judged(training)
        known = _several(self._judged(reference), "reference")
        self.reference = replace(known, training=trained, truth=self.truth)
        self.binning = Binning.of(self.reference.sample, observables)
        self.binned = Binned(self.reference.sample, self.binning)
        self.scores = dict(scores)
        if conditional:
            self.scores["conditional"] = Conditional.of(self.reference.sample, self.binning)
        self._floors: dict[int, Floors] = {}
        self._score_floors: dict[tuple[str, int], Floors] = {}

    def __call__(
        self,
        generated: Events | Judged,
        prefix: str = "test/",
        networks: Sequence[Events | Judged] = (),
    ) -> EvaluationResult:
        """Judge generated events, which may have been reduced before.

        Args:
            generated: The events.
            prefix: What metric keys begin with.
            networks: Events of at least two networks of the same model (draws from its posterior,
                trainings with other seeds) under the same conditions, for bands and ``band/…``.

        Raises:
            UserError: For a single event, or if events of a single network shall give a band.
        """
        if len(networks) == 1:
            raise UserError("an error band needs events of at least two networks, got one")
        found = _several(self._judged(generated), "generated sample")
        several = [self._judged(item) for item in networks]
        binned = Binned(found.sample, self.binning)
        members = [Binned(item.sample, self.binning) for item in several]
        floor = self.floors(round(found.effective))
        notes = {"floor": TEXTS[floor.kind], **_thinned(self.reference.sample, found.sample)}
        if has_negative(self.reference.sample) or has_negative(found.sample):
            notes["weights"] = _NEGATIVE
        metrics, misfits = self._observables(binned, floor), dict[str, Histogram]()
        hists = histograms(self.binned, binned, members)
        bands = [
            (h.band, h.reference, h.variances[0]) for h in hists.values() if h.band is not None
        ]
        metrics |= flat(band.figures(bands).items(), "")
        for name, histogram in hists.items():
            metrics |= _losses(name, histogram, found.sample, self.reference.sample)
        curves: dict[str, dict[str, Curve]] = {}
        for name in self.scores:
            metrics |= self._score(name, found, notes, misfits, curves)
        spec = self.observables.spec
        return EvaluationResult(
            {prefix + key: value for key, value in metrics.items()},
            {prefix + key: text for key, text in notes.items()},
            (len(self.reference), len(found)),
            spec.unit,
            hists,
            profiles(self.reference.sample, found.sample, [item.sample for item in several]),
            images(self.reference.sample, found.sample),
            response_points(self.binned, binned, self.observables.ratio),
            correlations(self.reference.sample, found.sample, self.observables),
            prefix,
            len(networks),
            f"{spec.simulator or 'truth'}, {spec.name}",
            self.observables.asked,
            self.observables.ratio,
            self.observables.core,
            misfits,
            curves,
        )

    def _judged(self, events: Events | Judged) -> Judged:
        return events if isinstance(events, Judged) else judged(events, self.observables)

    def floors(self, size: int) -> Floors:
        """Floors of the observables' figures for ``size`` (effective) generated events, once per size."""
        if size not in self._floors:
            truth = None if self.truth is None else self.truth.sample
            self._floors[size] = floors(self.reference.sample, truth, size, self.binning)
        return self._floors[size]

    def _observables(self, generated: Binned, floor: Floors) -> dict[str, float]:
        generator = torch.Generator().manual_seed(self.seed)
        found = compare(self.binned, generated, self.replicas, generator)
        metrics: dict[str, float] = {}
        for key, value in found.values.items():
            details = {}
            if key == "w1_mean" and found.worst is not None:
                details = {f"without/{found.worst[0]}": found.worst[1]}
            figure = Figure(value, found.errors.get(key), details=details)
            metrics |= _twins(key, figure, floor.values.get(key))
        return metrics

    def _score(
        self,
        name: str,
        generated: Judged,
        notes: dict[str, str],
        misfits: dict[str, Histogram],
        curves: dict[str, dict[str, Curve]],
    ) -> dict[str, float]:
        """Entries of one score; its remarks, histograms and curves are added to the others."""
        score = self.scores[name]
        try:
            refuse_negative(self.reference, generated)
            figures = score(self.reference, generated, self.seed)
        except NotRun as reason:
            notes[name] = f"not run: {reason}"
            return {}
        notes |= {key: figure.note for key, figure in figures.items() if figure.note is not None}
        measured: dict[str, Floor] = {}
        if any(figure.floor is None for figure in figures.values()):
            key = name, round(generated.effective)
            if key not in self._score_floors:
                self._score_floors[key] = score_floors(
                    score, self.reference, self.truth, key[1], self.seed
                )
            measured = self._score_floors[key].values
            notes |= self._score_floors[key].notes
        metrics: dict[str, float] = {}
        for key_, figure in figures.items():
            misfits |= figure.histograms
            if figure.curves:
                curves.setdefault(key_.partition("/")[0], {}).update(figure.curves)
            metrics |= _twins(key_, figure, _known(figure) or measured.get(key_))
        return metrics


_NEGATIVE = "some are negative: separation powers, correlations, response and resolution take no such weights"


def _several(events: Judged, name: str) -> Judged:
    if len(events) < 2:
        raise UserError(f"a judgement needs at least two events, the {name} holds {len(events)}")
    return events


def evaluate(
    reference: Events,
    generated: Events,
    observables: ObservableSet,
    *,
    truth: Events | None = None,
    training: Events | None = None,
    scores: Mapping[str, Score] = DEFAULT,
    conditional: bool = False,
    replicas: int = REPLICAS,
    seed: int = 0,
    prefix: str = "test/",
) -> EvaluationResult:
    """Judge generated events once; see :class:`Evaluator` for the arguments."""
    judge = Evaluator(
        reference,
        observables,
        truth=truth,
        training=training,
        scores=scores,
        conditional=conditional,
        replicas=replicas,
        seed=seed,
    )
    return judge(generated, prefix)


def flat(figures: Iterable[tuple[str, Figure]], prefix: str = "test/") -> dict[str, float]:
    """Figures that know their floors as entries of ``metrics.json``."""
    found: dict[str, float] = {}
    for key, figure in figures:
        found |= _twins(prefix + key, figure, _known(figure))
    return found


def _twins(key: str, figure: Figure, floor: Floor | None) -> dict[str, float]:
    """A figure with its error, its details and its floor; what is unknown or not finite is left out."""
    entries = {key: figure.value, f"{key}/error": figure.error}
    entries |= {f"{key}/{name}": value for name, value in figure.details.items()}
    if floor is not None:
        entries |= {f"{key}/floor": floor.value, f"{key}/floor/error": floor.error}
        entries[f"{key}/z"] = floor.sigmas(figure.value)
    found = {name: value for name, value in entries.items() if value is not None}
    finite = {name: float(value) for name, value in found.items() if abs(value) < float("inf")}
    return finite if key in finite else {}


def _known(figure: Figure) -> Floor | None:
    """The floor of a figure that knows it."""
    return None if figure.floor is None else Floor(figure.floor, spread=figure.null)


def _losses(
    name: str, histogram: Histogram, generated: Sample, reference: Sample
) -> dict[str, float]:
    """Shares of events that the histogram cannot show, where there are any; the floor is the
    truth's share.
    """
    found: dict[str, float] = {}
    outside, undefined = histogram.outside, histogram.undefined
    if any(map(sum, outside)):
        found |= _twins(f"outside/{name}", Figure(sum(outside[1])), Floor(sum(outside[0])))
    if any(undefined):
        share = Figure(undefined[1] / float(generated.weight.sum()))
        floor = Floor(undefined[0] / float(reference.weight.sum()))
        found |= _twins(f"undefined/{name}", share, floor)
    return found


def _thinned(*samples: Sample) -> dict[str, str]:
    """Observables of which W1 does not use every value."""
    names = [
        name for name in samples[0].columns if any(s.columns[name].n > MOST_VALUES for s in samples)
    ]
    return {
        f"w1/{name}": f"from every k-th value, {MOST_VALUES:,} per sample at most" for name in names
    }
