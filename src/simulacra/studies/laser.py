r"""LaSeR: weights of generated events become a density of the latent space, and events need no weights.

1. A classifier of true and generated events gives the weights :math:`w(x)`.
2. They are pulled back to the latent space of the generator, and a second network learns them there
   (:mod:`simulacra.studies.latent`).
3. Points are drawn from the weighted latent density, by Hamiltonian Monte Carlo or by a refiner network.
4. The generator makes events of them, which are judged against fresh true events beside the generator's own
   events, with weights and without.

A flow cannot change topology: between two modes it leaves a bridge. What is refined can.

Reference: Winterhalder, Bellagente, Nachman, arXiv:2106.00792; code ramonpeter/LaSeR.

Note:
    Differs from the reference: the chains follow the second network, but accept by the weights of the events
    themselves; the refiner network is a flow, not an adversarial one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, UserError
from simulacra.core.ranges import Count, PathName
from simulacra.studies.bands import around
from simulacra.studies.bench import Bench
from simulacra.studies.files import bootstrapped
from simulacra.studies.latent import LatentClassifier, Refiner, Weighted
from simulacra.studies.loading import generator_of
from simulacra.studies.refinement import ALL, JUDGED, TWINS
from simulacra.studies.study import Study
from simulacra.tasks import folds
from simulacra.tasks.reweighter import Reweighter

REFINING = ("classifier", "refiner", "points", "events")
"""Settings of the study that the refined events depend on beside the files."""
LARGEST_BATCH = 4096
"""Events that are made and weighed at once, at most."""


class Laser(Study):
    """See the module's docstring.

    Args:
        training: Overrides of the training of the classifier of events, its model among them.
        classifier: The second network.
        refiner: What draws from the weighted latent density.
        points: Latent points that the second network learns from.
        events: Events that are refined (None: as many as the true ones that they are judged by).
        checkpoint: Generator that is refined.
        generator: In place of it, overrides of the training of one, its model among them.
        gaps: By observable two ends of an interval in which there are hardly any true events; the share of
            events in any of them is reported.
        replicas: Repetitions with other randomness on bootstraps of what the classifier learns from, whose
            spread is part of the errors.

    Raises:
        UserError: Unless there is one generator.
    """

    def __init__(
        self,
        training: Sequence[str],
        classifier: LatentClassifier,
        refiner: Refiner,
        points: Count,
        events: Count | None = None,
        checkpoint: PathName | None = None,
        generator: Sequence[str] = (),
        gaps: Mapping[str, Sequence[float]] | None = None,
        replicas: Count = 1,
    ) -> None:
        if bool(generator) == (checkpoint is not None):
            raise UserError(
                "say what is refined: study.checkpoint=FILE of a generator, or study.generator=[model=NAME]"
            )
        self.training, self.classifier, self.refiner = training, classifier, refiner
        self.points, self.events = points, events
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self.generator, self.gaps, self.replicas = generator, gaps or {}, replicas

    def run(self, bench: Bench) -> None:
        """Weigh, refine and judge."""
        truth = {
            name: bench.split(f"truth/{name}", part, {"events": 1.0})["events"]
            for name, part in (("learn", "train"), ("judge", "test"))
        }
        generator = self.checkpoint or bench.train("generator", *self.generator).checkpoint
        made = {
            name: bench.sample(f"generated/{name}", generator, f"conditions={path}", f"seed={seed}")
            for seed, (name, path) in enumerate(truth.items(), bench.seed)
        }
        before = bench.evaluate("before", truth["judge"], made["judge"], *ALL)
        found = [
            self.replica(bench, generator, truth, made, before, k) for k in range(self.replicas)
        ]
        latent, judged, *gaps = (
            around(items, same_events=True) for items in zip(*found, strict=True)
        )
        bench.report("Latent space", latent, None, LATENT)
        bench.report("Before and after", judged, None, JUDGE)
        for shares in gaps:
            bench.report("Gaps", shares, None, GAPS)

    def replica(
        self,
        bench: Bench,
        generator: Path,
        truth: Mapping[str, Path],
        made: Mapping[str, Path],
        before: Mapping[str, float],
        number: int,
    ) -> list[Mapping[str, float]]:
        """Weigh, refine and judge once: figures of the latent space, of the judge, and of the gaps."""
        at, seed = f"replica_{number}/" if number else "", bench.seed + number
        learn = [
            bootstrapped(bench, f"{at}bootstraps/{side}", files["learn"], number)
            for side, files in (("true", truth), ("generated", made))
        ]
        pair = [
            *bench.data_as("data.first", f"files.train=[{learn[0]}]"),
            *bench.data_as("data.second", f"files.train=[{learn[1]}]"),
            f"seed={seed}",
        ]
        weigher = bench.train(f"{at}weigher", "data=pair", *pair, *self.training).checkpoint
        weighed = bench.apply(f"{at}weighed", weigher, made["judge"])
        work = partial(self.refine, bench, generator, weigher, truth, seed)
        asked = {key: bench.settings.config["study"][key] for key in REFINING}
        inputs = generator, weigher, truth["learn"], truth["judge"], seed, asked
        latent = bench.compute(f"{at}refined", work, *inputs)
        refined = bench.folder(f"{at}refined") / f"refined{truth['judge'].suffix}"
        files = {"weighted": weighed, "after": refined}
        evaluated = {"before": before} | {
            name: bench.evaluate(f"{at}{name}", truth["judge"], path, *ALL)
            for name, path in files.items()
        }
        judged = {
            f"{name}/{key}{twin}": values[key + twin]
            for name, values in evaluated.items()
            for key in JUDGED
            for twin in TWINS
            if key + twin in values
        }
        if not self.gaps:
            return [latent, judged]
        looked = {"truth": truth["judge"], "before": made["judge"], **files}
        shares = partial(self.between, bench, looked)
        ends = {name: list(pair) for name, pair in self.gaps.items()}
        inside = bench.compute(f"{at}gaps", shares, *looked.values(), ends)
        return [latent, judged, inside]

    def refine(
        self,
        bench: Bench,
        generator: Path,
        weigher: Path,
        truth: Mapping[str, Path],
        seed: int,
        folder: Path,
    ) -> dict[str, float]:
        """Refined events in a file of the folder, and figures of the latent space."""
        data, source = bench.datamodule, torch.Generator().manual_seed(seed)
        module = generator_of(bench, generator)
        weights = folds.load(weigher, allow=bench.settings.trust.allow)
        if not isinstance(weights, Reweighter):
            raise UserError(
                f"the model of study.training must be a reweighter, got {type(weights).__name__}"
            )
        learn = data.shown(bench.events(truth["learn"])).conditions(module.given)
        judge = data.shown(bench.events(truth["judge"])).conditions(module.given)
        size = min(LARGEST_BATCH, module.spec.sample_batch)
        weighted = Weighted(module.latent_space(learn), weights.weights, module.given_fields, size)
        weighted.fit(learn)
        points = weighted.draw(_some(learn, self.points, source), source)
        net, figures = self.classifier.learn(points, source)
        wanted = _some(judge, self.events or judge.n, source)
        z, cond, found = self.refiner.refine(weighted, net, points, wanted, source)
        with data.format.writer(folder / f"refined{truth['judge'].suffix}") as writer:
            for batch in weighted.events(z, cond):
                writer.append(data.native(replace(batch, weight=None)))
        share = points.weight.double()
        return {
            **figures,
            **found,
            "latent/width": float(weighted.space.width),
            "weight/mean": float(share.mean()),
            "weight/mean/error": float(share.std()) / math.sqrt(len(share)),
            "weight/effective": float(share.sum() ** 2 / (len(share) * share.square().sum())),
        }

    def between(self, bench: Bench, files: Mapping[str, Path], folder: Path) -> dict[str, float]:
        """Weighted share of events in any of the gaps, with its error, by file."""
        figures: dict[str, float] = {}
        for name, path in files.items():
            batch = bench.events(path)
            inside, weight = self._inside(bench, batch), batch.weight_or_one().double()
            share = float((weight * inside).sum() / weight.sum())
            spread = (weight * (inside.double() - share)).square().sum().sqrt() / weight.sum()
            figures |= {f"gap/{name}": share, f"gap/{name}/error": float(spread)}
        return figures

    def _inside(self, bench: Bench, batch: Batch) -> Tensor:
        observables = bench.datamodule.observables(batch)
        unknown = [name for name in self.gaps if name not in observables]
        if unknown:
            raise UserError(
                f"study.gaps names {', '.join(unknown)}, but the observables are {', '.join(observables)}"
            )
        inside = torch.zeros(len(batch), dtype=torch.bool)
        for name, (low, high) in self.gaps.items():
            values = torch.as_tensor(observables[name])
            inside |= (values > low) & (values < high)
        return inside


def _some(cond: Conditions, n: int, generator: torch.Generator) -> Conditions:
    """``n`` of some conditions in random order, none twice before each was taken as often."""
    rounds = math.ceil(n / cond.n)
    order = [torch.randperm(cond.n, generator=generator) for _ in range(rounds)]
    return cond[torch.cat(order)[:n]]


LATENT = (
    "Acceptance and R-hat of the chains: R-hat is 1 where all of them draw from the same density. Distinct "
    "is the share of events that repeat no other one, as those of a chain that did not move do. Explained is "
    "the share of the variance of the weights that the second network knows; effective that of the "
    "generator's own events that count once they are weighed."
)
JUDGE = (
    "The generator's events, the same with weights, and refined ones without, against fresh true events: the "
    "area under the ROC curve of boosted trees is 0.5 where they cannot tell them apart. W1 is the mean over "
    "all observables."
)
GAPS = "Share of events in intervals in which there are hardly any true ones."
