r"""Weak supervision: signal and background told apart by who knows no label, beside who knows all of them.

Training events are mixed by their labels to samples of known fractions, and the labels are then hidden. CWoLa
(arXiv:1708.02949) tells the mixtures apart, LLP (arXiv:1702.00414, arXiv:1801.10158) fits their fractions;
the reference learns from the same events with labels, through the same network. All are judged by the area
under the ROC curve on the same test events, and what one lacks of the reference has an error that knows that
(:mod:`simulacra.metrics.classifiers.delong`). Replicas repeat all of it with other mixtures and seeds.

What else is looked at are *parts* of the study: a null test with equal fractions, fractions nearer to each
other, wrong fractions, more bags, a start from a simulation, and templates and topics of both classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from simulacra.core import UserError
from simulacra.core.ranges import Count, Share
from simulacra.plotting.areas import areas_page
from simulacra.studies.bands import repeated
from simulacra.studies.bench import Bench
from simulacra.studies.study import Study
from simulacra.studies.weak.histograms import Histograms
from simulacra.studies.weak.learners import Learner
from simulacra.studies.weak.samples import Labels, sort
from simulacra.studies.weak.task import Part, Task


class WeakSupervision(Study):
    """See the module's docstring.

    Args:
        labels: Where the data set says what an event is.
        fractions: Share of signal of each mixture.
        learners: What learns, by name; None: left out.
        sights: Overrides by which classifiers look at events, by name, the first being that of all parts.
        training: Overrides of every training.
        replicas: Repetitions with other mixtures and seeds.
        histograms: The best classifier of few observables, for comparison; None: there is none.
        parts: What else is looked at, by name; None: left out.

    Raises:
        UserError: If there is no learner or no sight.
    """

    def __init__(
        self,
        labels: Labels,
        fractions: Sequence[Share],
        learners: Mapping[str, Learner | None],
        sights: Mapping[str, Sequence[str] | None],
        training: Sequence[str],
        replicas: Count,
        histograms: Histograms | None,
        parts: Mapping[str, Part | None],
    ) -> None:
        self.labels, self.fractions, self.training = labels, list(fractions), list(training)
        self.learners = {name: item for name, item in learners.items() if item is not None}
        self.sights = {name: list(item) for name, item in sights.items() if item is not None}
        self.parts = {name: item for name, item in parts.items() if item is not None}
        self.replicas, self.histograms = replicas, histograms
        if not self.learners or not self.sights:
            raise UserError(
                "weak supervision needs at least one of study.learners and study.sights"
            )

    def run(self, bench: Bench) -> None:
        """See the base class."""
        task = Task(
            bench,
            self.labels,
            sort(bench, self.labels, "events"),
            self.fractions,
            self.learners,
            self.sights,
            self.training,
            self.replicas,
        )
        first = self._compare(task)
        for part in self.parts.values():
            part.run(replace(task, scored=first))

    def _compare(self, task: Task) -> Mapping[str, Path]:
        """All learners with each sight; what they score in the first repetition with the first sight."""
        first: dict[str, Path] = {}
        members: dict[str, list[dict[str, float]]] = {name: [] for name in task.sights}
        for replica in range(task.replicas):
            mixed = task.mixed(f"mixtures/{replica}", task.fractions, replica)
            for name, looks in task.sights.items():
                place = f"{name}/{replica}"
                scored = {
                    item: task.learn(f"{place}/{item}", learner, mixed, replica, looks)
                    for item, learner in task.learners.items()
                }
                first = first or dict(scored)
                if self.histograms is not None and name == self.histograms.sight:
                    scored |= self.histograms.score(task, f"{place}/histograms", mixed)
                members[name].append(task.judge(f"{place}/judged", scored, task.reference))
        found = {name: repeated(items) for name, items in members.items()}
        figures = {f"{n}/{key}": v for n, item in found.items() for key, v in item.items()}
        page = areas_page({name: _areas(item) for name, item in found.items()}, task.reference)
        task.bench.report("All learners", figures, page, ALL)
        return first


def _areas(figures: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Each area by name, with its error."""
    return {
        key.removesuffix("/auc"): (value, figures[f"{key}/error"])
        for key, value in figures.items()
        if key.endswith("/auc")
    }


ALL = (
    "Area under the ROC curve on the test events; lack is what it lacks of that of the learner with "
    "labels, whose error is that of the difference on the same events. mean is the mean prediction on the "
    "test part, which nothing asks to be its share of signal. Errors are those of the test events, and of "
    "replicas where there are several."
)
