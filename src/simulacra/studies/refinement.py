r"""Refinement: weights under which generated events look like true ones, judged on fresh events.

A classifier of true and generated events weighs generated events that it has not seen by its odds,

.. math:: w(x) = \frac{p_\text{true}(x)}{p_\text{generated}(x)},

which is compared with fresh true events before and after. What the weights cost is the effective share of the
events :math:`(\sum w)^2 / (n \sum w^2)`; their mean is 1 where the ratio is right. The null test weighs true
events against true ones: the ratio is 1, and the spread of the weights is what the classifier makes up.

References: Andreassen and Nachman, arXiv:1907.08209; Diefenbacher et al., arXiv:2009.03796.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from simulacra.core import UserError
from simulacra.core.ranges import Count, PathName, Positive
from simulacra.core.weights import weighted_mean
from simulacra.metrics.engine.weighted import effective
from simulacra.plotting.changes import changes
from simulacra.studies.bands import around
from simulacra.studies.bench import Bench
from simulacra.studies.files import bootstrapped
from simulacra.studies.study import Study
from simulacra.studies.weighers import Weigher

ALL = ("evaluation.events=null",)
JUDGED = ("classifier/boosted/auc", "w1_mean")
"""Figures that are shown before and after."""
TWINS = ("", "/error", "/floor", "/floor/error", "/z")
SEPARATION = "separation/"
WORTH = 2.0
"""Floors above which a triangular distance is one that weights should make smaller."""


class Refinement(Study):
    """See the module's docstring.

    Args:
        weigher: What finds the weights.
        checkpoint: Generator whose events are weighed; it is asked for the conditions of the true ones.
        generated: In place of it a file of generated events, of which one half is learnt from.
        other: In place of both, overrides that choose another data set, e.g. ``data=zjets_21``.
        largest: Largest weight that is left as it is; None: all are.
        null_test: Whether true events are weighed, too, as a null test.
        replicas: Repetitions with other randomness on bootstraps of what is learnt from, whose spread is part
            of the errors.

    Raises:
        UserError: Unless one of the three samples is given.
    """

    def __init__(
        self,
        weigher: Weigher,
        checkpoint: PathName | None = None,
        generated: PathName | None = None,
        other: Sequence[str] = (),
        largest: Positive | None = None,
        null_test: bool = True,
        replicas: Count = 1,
    ) -> None:
        if sum(bool(item) for item in (checkpoint, generated, other)) != 1:
            raise UserError(
                "say what is refined: study.checkpoint=FILE of a generator, study.generated=FILE of "
                "events, or study.other=[data=NAME]"
            )
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self.generated = None if generated is None else Path(generated)
        self.weigher, self.other = weigher, other
        self.largest, self.null_test, self.replicas = largest, null_test, replicas

    def run(self, bench: Bench) -> None:
        """Weigh, judge, and show that true events need no weights."""
        truth = {
            name: bench.split(f"truth/{name}", part, {"events": 1.0})["events"]
            for name, part in (("learn", "train"), ("judge", "test"))
        }
        made = self.sample(bench, truth)
        before = bench.evaluate("before", truth["judge"], made["judge"], *ALL)
        found = [self.replica(bench, truth, made, k) for k in range(self.replicas)]
        after, weights = (around(items, same_events=True) for items in zip(*found, strict=True))
        self.show(bench, before, after, weights)
        if self.null_test:
            self.weigh_truth(bench, truth)

    def replica(
        self, bench: Bench, truth: Mapping[str, Path], made: Mapping[str, Path], number: int
    ) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """What a judge finds once events are weighed, and what the weights are like."""
        name = f"replica_{number}/" if number else ""
        learn = [
            bootstrapped(bench, f"{name}bootstraps/{side}", files["learn"], number)
            for side, files in (("true", truth), ("generated", made))
        ]
        weighed = self.weigh(bench, name, learn[0], learn[1], made["judge"], number)
        after = bench.evaluate(f"{name}after", truth["judge"], weighed, *ALL)
        return after, bench.figures(f"{name}weights")

    def sample(self, bench: Bench, truth: Mapping[str, Path]) -> Mapping[str, Path]:
        """Generated events to learn from, and others to judge."""
        if self.checkpoint is not None:
            return {
                name: bench.sample(
                    f"generated/{name}", self.checkpoint, f"conditions={path}", f"seed={seed}"
                )
                for seed, (name, path) in enumerate(truth.items(), bench.seed)
            }
        if self.generated is not None:
            return bench.split("generated", self.generated, {"learn": 0.5, "judge": 0.5})
        return {
            name: bench.split(f"generated/{name}", part, {"events": 1.0}, *self.other)["events"]
            for name, part in (("learn", "train"), ("judge", "test"))
        }

    def weigh(
        self, bench: Bench, name: str, first: Path, second: Path, given: Path, replica: int = 0
    ) -> Path:
        """Weigh the events of ``given`` by what tells ``second`` from ``first``."""
        weighed = self.weigher.weigh(bench, name, first, second, given, replica)
        work = partial(self.measure, bench, given, weighed)
        bench.compute(f"{name}weights", work, given, weighed, self.largest)
        clipped = bench.folder(f"{name}weights") / weighed.name
        return weighed if self.largest is None else clipped

    def measure(self, bench: Bench, given: Path, weighed: Path, folder: Path) -> dict[str, float]:
        """What the weights are like, those above the largest one set to it."""
        plain, events = bench.events(given), bench.events(weighed)
        own, weight = plain.weight_or_one().double(), events.weight_or_one().double()
        ratio = weight / own
        share = 0.0
        if self.largest is not None:
            share = float((ratio > self.largest).double().mean())
            ratio = ratio.clamp(max=self.largest)
            bench.write(folder / weighed.name, replace(events, weight=(own * ratio).float()))
        mean = float(weighted_mean(ratio, own))
        spread = float(weighted_mean((ratio - mean).square(), own)) ** 0.5
        return {
            "weight/mean": mean,
            "weight/mean/error": spread / effective(own) ** 0.5,
            "weight/effective": effective(own * ratio) / effective(own),
            "weight/spread": spread / mean,
            "weight/largest": float(ratio.max()),
            "weight/clipped": share,
        }

    def show(
        self,
        bench: Bench,
        before: Mapping[str, float],
        after: Mapping[str, float],
        weights: Mapping[str, float],
    ) -> None:
        """What was gained, and what it has cost."""
        figures: dict[str, float] = {}
        for name, found in (("before", before), ("after", after)):
            for key in JUDGED:
                figures |= {f"{name}/{key}{t}": found[key + t] for t in TWINS if key + t in found}
        bench.report("Before and after", {**figures, **distances(before, after)}, None, JUDGE)
        names = [
            key.removeprefix(SEPARATION)
            for key in before
            if key.startswith(SEPARATION) and f"{key}/floor" in before
        ]
        columns = [
            [found[f"{SEPARATION}{name}{twin}"] for name in names]
            for found, twin in ((before, ""), (after, ""), (before, "/floor"))
        ]
        drawn = changes(names, columns[0], columns[1], columns[2], "triangular distance")
        bench.report("Triangular distances", {}, drawn, TRIANGULAR)
        bench.report("Weights", weights, None, WEIGHTS)

    def weigh_truth(self, bench: Bench, truth: Mapping[str, Path]) -> None:
        """True events against true ones."""
        halves = {
            name: bench.split(f"null/{name}", path, {"first": 0.5, "second": 0.5})
            for name, path in truth.items()
        }
        learn, judge = halves["learn"], halves["judge"]
        weighed = self.weigh(bench, "null/", learn["first"], learn["second"], judge["second"])
        found = bench.evaluate("null/after", judge["first"], weighed, *ALL)
        figures = {
            f"null/{key}{t}": found[key + t] for key in JUDGED for t in TWINS if key + t in found
        }
        weights = {f"null/{key}": value for key, value in bench.figures("null/weights").items()}
        bench.report("Null test", {**weights, **figures}, None, NULL)


def distances(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """How many triangular distances are above two floors before, and of these how many are so after, and the
    share that is at least halved.
    """
    worse = [key for key in before if _worse(key, before)]
    halved = [key for key in worse if after[key] <= before[key] / 2]
    share = {"separation/halved": len(halved) / len(worse)} if worse else {}
    left = [key for key in worse if _worse(key, after)]
    numbers = {"before": len(worse), "after": len(left)}
    found = {f"separation/{name}": float(number) for name, number in numbers.items()}
    return {**found, **share}


def _worse(key: str, found: Mapping[str, float]) -> bool:
    """Whether a figure is a triangular distance above two floors."""
    floor = found.get(f"{key}/floor")
    return key.startswith(SEPARATION) and floor is not None and found[key] > WORTH * floor


JUDGE = (
    "Boosted trees tell true from generated events, both of which no other network has seen; the area under "
    "their ROC curve is 0.5 where they cannot. W1 is the mean over all observables."
)
TRIANGULAR = (
    "Of each observable, before and after the weights, over the floor: the same distance of true events from "
    "true ones."
)
WEIGHTS = (
    "Their mean is 1 where the ratio of densities is right; effective is the share of the events that count, "
    "clipped the share of weights that were made smaller."
)
NULL = "True events weighed against true ones: all weights should be 1, and nothing should be told apart."
