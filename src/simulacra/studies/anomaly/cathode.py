r"""CATHODE: background within the window is drawn from what was learnt beside it, and data are told from it.

A generator learns the events beside the window given their mass. It is asked for masses within the window,
which are drawn from a kernel density of those of the data there, and for several times as many events. What
a classifier then tells from these samples, among the data of the window, is signal: its odds rise with the
ratio of signal to background. Samples are pooled over the epochs of least validation loss, and so are the
odds of networks.

How well the generator interpolates is seen where the truth is known: boosted trees tell its events from
background that it has not seen, beside the window and within it, by the features and the mass.

Reference: Hallin et al., arXiv:2109.00546; with flow matching in place of a flow any other model of tables.

Note:
    The published classifier is a network and scores the data that it learns from in cross-validation. Here
    boosted trees, which find more where events are few, are the default; the training part is learnt from and
    the test part is scored, so that no event is scored by what it has taught.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import Batch
from simulacra.core.ranges import Count, Positive
from simulacra.studies.anomaly.classifiers import Classifier
from simulacra.studies.anomaly.epochs import best_epochs
from simulacra.studies.anomaly.finders import Finder, Found
from simulacra.studies.anomaly.problem import Problem, hidden, is_signal, masses, within
from simulacra.studies.bench import Bench, suffix_of
from simulacra.studies.files import some, together

AUC = "classifier/boosted/auc"
TWINS = ("", "/error", "/floor")
EVENTS = "evaluation.events=10000"
"""Of each sample that boosted trees look at, at most."""


class Cathode(Finder):
    """See the module's docstring.

    Args:
        settings: Overrides of the training of the generator, ``model=NAME`` among them.
        epochs: Its best epochs, over which samples are pooled.
        oversampling: Events of the generator that the classifier learns from, in units of those of the data
            within the window.
        bandwidth: Width of the kernels, in units of the width of the window.
        classifier: What tells data from it.
        judged: Whether the generator is compared with the truth.
    """

    def __init__(
        self,
        settings: Sequence[str],
        epochs: Count,
        oversampling: Positive,
        bandwidth: Positive,
        classifier: Classifier,
        judged: bool,
    ) -> None:
        self.settings, self.epochs = list(settings), epochs
        self.oversampling, self.bandwidth = oversampling, bandwidth
        self.classifier, self.judged = classifier, judged

    def find(self, bench: Bench, problem: Problem, place: str, seed: int) -> Found:
        """See the base class."""
        trained = problem.density(bench, self.settings, self.epochs, seed)
        checkpoints = best_epochs(trained)

        def wanted() -> Batch:
            return self.smeared(bench, bench.events(problem.window), problem.bounds, seed)

        inputs = [problem.window, self.oversampling, self.bandwidth, list(problem.bounds)]
        learnt = drawn(bench, f"{place}/drawn", checkpoints, wanted, inputs, seed)
        pair = problem.window, learnt
        return Found(
            self.classifier.scored(bench, place, pair, problem.judged, seed),
            compared(bench, problem, f"{place}/compared", checkpoints, seed) if self.judged else {},
        )

    def smeared(self, bench: Bench, known: Batch, bounds: tuple[float, float], seed: int) -> Batch:
        """Events of the window again and again, with masses that are smeared and reflected at its ends."""
        generator = torch.Generator().manual_seed(seed)
        name, number = bench.datamodule.native_spec.by_role("mass").name, len(known)
        weight = known.weight_or_one().double()
        rows = torch.multinomial(
            weight, round(self.oversampling * number), True, generator=generator
        )
        found, (low, high) = known[rows], bounds
        noise = torch.randn(len(rows), 1, generator=generator)
        mass = found.cond[name] + self.bandwidth * (high - low) * noise
        return replace(found, cond={**found.cond, name: reflected(mass, low, high)}, weight=None)


def drawn(
    bench: Bench,
    place: str,
    checkpoints: Sequence[Path],
    wanted: Callable[[], Batch],
    inputs: Sequence[object],
    seed: int,
) -> Path:
    """A file of events of several generators, of each as many.

    Args:
        bench: The bench.
        place: Folder of the stages.
        checkpoints: The generators.
        wanted: Makes events whose conditions they are asked for, in turn.
        inputs: What these are made from.
        seed: Of the first generator.
    """
    suffix, number = suffix_of(bench.datamodule), len(checkpoints)
    files = [bench.folder(f"{place}/asked") / f"{k}{suffix}" for k in range(number)]

    def ask(folder: Path) -> dict[str, float]:
        batch = wanted()
        for k, path in enumerate(files):
            bench.write(path, batch[torch.arange(k, len(batch), number)])
        return {"events": float(len(batch))}

    bench.compute(f"{place}/asked", ask, *inputs, number, seed)
    made = [
        bench.sample(f"{place}/{k}", checkpoint, f"conditions={path}", f"seed={seed + k}")
        for k, (checkpoint, path) in enumerate(zip(checkpoints, files, strict=True))
    ]
    return together(bench, f"{place}/all", made)


def compared(
    bench: Bench, problem: Problem, place: str, checkpoints: Sequence[Path], seed: int
) -> dict[str, float]:
    """Areas under the ROC curves of boosted trees between true and drawn background of the same masses,
    beside the window (``sideband``) and within it (``window``).
    """
    spec, truth = bench.datamodule.native_spec, bench.folder(f"{place}/truth") / problem.judged.name

    def tell(folder: Path) -> dict[str, float]:
        events = bench.events(problem.judged)
        known = replace(hidden(spec, events[~is_signal(spec, events)]), weight=None)
        bench.write(truth, known)
        return {"events": float(len(known))}

    bench.compute(f"{place}/truth", tell, problem.judged)
    made = drawn(bench, f"{place}/drawn", checkpoints, lambda: bench.events(truth), [truth], seed)
    figures: dict[str, float] = {}
    for name, inside in (("sideband", False), ("window", True)):
        pair = [
            some(bench, f"{place}/{name}/{side}", path, _inside(bench, path, problem) == inside)
            for side, path in (("true", truth), ("made", made))
        ]
        found = bench.evaluate(f"{place}/{name}/judged", pair[0], pair[1], EVENTS)
        figures |= {f"{name}/auc{t}": found[AUC + t] for t in TWINS if AUC + t in found}
    return figures


def _inside(bench: Bench, path: Path, problem: Problem) -> Tensor:
    """Which events of a file lie within the window."""
    return within(masses(bench.datamodule.native_spec, bench.events(path)), problem.bounds)


def reflected(values: Tensor, low: float, high: float) -> Tensor:
    """Values folded into ``[low, high)`` at its ends, which an upper one never reaches."""
    width = high - low
    place = torch.remainder(values.double() - low, 2 * width)
    folded = torch.where(place < width, place, 2 * width - place)
    top = torch.nextafter(torch.tensor(high), torch.tensor(low))
    return (low + folded).float().clamp(min=low, max=float(top))
