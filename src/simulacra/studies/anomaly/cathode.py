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

from collections.abc import Sequence
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
            within the window; as many again are drawn to be compared with the truth.
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
        samples = self.samples(bench, problem, place, seed, best_epochs(trained))
        pair = problem.window, samples["learnt"]
        return Found(
            self.classifier.scored(bench, place, pair, problem.judged, seed),
            self.compared(bench, place, samples) if self.judged else {},
        )

    def samples(
        self, bench: Bench, problem: Problem, place: str, seed: int, checkpoints: Sequence[Path]
    ) -> dict[str, Path]:
        """Files of generated events: ``learnt`` and ``other`` within the window, ``sideband`` beside it
        with the masses of background that is judged, and ``truth`` of that and ``truth_window``.
        """
        spec, suffix = bench.datamodule.native_spec, suffix_of(bench.datamodule)
        stage = f"{place}/asked"

        def masses_of(k: int) -> Path:
            return bench.folder(stage) / f"{k}{suffix}"

        def ask(folder: Path) -> dict[str, float]:
            known, judged = bench.events(problem.window), bench.events(problem.judged)
            beside = judged[
                ~is_signal(spec, judged) & ~within(masses(spec, judged), problem.bounds)
            ]
            number = 2 * round(self.oversampling * len(known))
            inside = self.drawn(bench, known, number, problem.bounds, seed)
            wanted = Batch.cat([plain(inside), plain(hidden(spec, beside))])
            for k in range(len(checkpoints)):
                bench.write(
                    folder / f"{k}{suffix}", wanted[torch.arange(k, len(wanted), len(checkpoints))]
                )
            return {"events": float(len(wanted))}

        settings = [self.oversampling, self.bandwidth, len(checkpoints), seed, list(problem.bounds)]
        bench.compute(stage, ask, problem.window, problem.judged, *settings)
        made = [
            bench.sample(
                f"{place}/drawn/{k}", path, f"conditions={masses_of(k)}", f"seed={seed + k}"
            )
            for k, path in enumerate(checkpoints)
        ]

        def sort(folder: Path) -> dict[str, float]:
            events, judged = (
                Batch.cat([bench.events(path) for path in made]),
                bench.events(problem.judged),
            )
            judged = plain(hidden(spec, judged[~is_signal(spec, judged)]))
            inside = within(masses(spec, events), problem.bounds)
            order = inside.nonzero()[:, 0]
            order = order[torch.randperm(len(order), generator=torch.Generator().manual_seed(seed))]
            learnt, other = order.tensor_split(2)
            kept = within(masses(spec, judged), problem.bounds)
            parts = {
                "learnt": events[learnt],
                "other": events[other],
                "sideband": events[~inside],
                "truth": judged[~kept],
                "truth_window": judged[kept],
            }
            for name, batch in parts.items():
                bench.write(folder / f"{name}{suffix}", batch)
            return {f"events/{name}": float(len(batch)) for name, batch in parts.items()}

        bench.compute(f"{place}/samples", sort, problem.judged, *made, seed)
        names = ("learnt", "other", "sideband", "truth", "truth_window")
        return {name: bench.folder(f"{place}/samples") / f"{name}{suffix}" for name in names}

    def drawn(
        self,
        bench: Bench,
        known: Batch,
        number: int,
        bounds: tuple[float, float],
        seed: int,
    ) -> Batch:
        """Events of the window again and again, with masses that are smeared and reflected at its ends."""
        generator = torch.Generator().manual_seed(seed)
        name = bench.datamodule.native_spec.by_role("mass").name
        rows = torch.multinomial(known.weight_or_one().double(), number, True, generator=generator)
        found, (low, high) = known[rows], bounds
        noise = torch.randn(number, 1, generator=generator)
        smeared = found.cond[name] + self.bandwidth * (high - low) * noise
        return replace(found, cond={**found.cond, name: reflected(smeared, low, high)})

    def compared(self, bench: Bench, place: str, samples: dict[str, Path]) -> dict[str, float]:
        """Areas under the ROC curves of boosted trees, beside the window and within it."""
        pairs = {"sideband": ("truth", "sideband"), "window": ("truth_window", "other")}
        figures: dict[str, float] = {}
        for name, (truth, made) in pairs.items():
            files = samples[truth], samples[made]
            found = bench.evaluate(f"{place}/compared/{name}", *files, EVENTS)
            figures |= {f"{name}/auc{t}": found[AUC + t] for t in TWINS if AUC + t in found}
        return figures


def plain(batch: Batch) -> Batch:
    """Events without weights."""
    return replace(batch, weight=None)


def reflected(values: Tensor, low: float, high: float) -> Tensor:
    """Values folded into ``[low, high)`` at its ends, which an upper one never reaches."""
    width = high - low
    place = torch.remainder(values.double() - low, 2 * width)
    folded = torch.where(place < width, place, 2 * width - place)
    top = torch.nextafter(torch.tensor(high), torch.tensor(low))
    return (low + folded).float().clamp(min=low, max=float(top))
