r"""How close the likelihood of jets comes to the known one, and what the ratio of two of them is worth.

A model with a likelihood of splittings (arXiv:1804.09720) is trained on jets of a shower whose kernel is
known, and another one, which starts from its weights, on jets of another coupling. On jets that neither has
seen:

- *excess*: how much of :math:`\ln p` per splitting is missing,
  :math:`\langle \ln p_{true} - \ln p \rangle` over the mean number of splittings, at least 0 in the mean;
  ``entropy`` is the true :math:`-\langle \ln p \rangle` per splitting;
- *ratio*: the area under the ROC curve of the ratio of both models that tells the couplings apart, beside
  that of the ratio of the true densities, which nothing exceeds, and the share of the area above 1/2 that
  is reached;
- *null test*: the ratio of two models of equal couplings, which should tell nothing apart;
- generated jets against true ones, by triangular distances of angles and shares of their splittings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import Batch, UserError
from simulacra.core.ranges import Count, Positive
from simulacra.data.showering.likelihood import log_density
from simulacra.data.showering.toy import ToyShower
from simulacra.data.toy_samples import seeded
from simulacra.physics.parton_shower import LOG_ANGLE, LOG_SHARE
from simulacra.studies.bench import Bench
from simulacra.studies.parton.toys import auc, resampled, toy_of
from simulacra.studies.refinement import ALL, SEPARATION, TWINS
from simulacra.studies.study import Study
from simulacra.tasks import folds
from simulacra.training.generative import GenerativeModule
from simulacra.training.module import Module
from simulacra.transforms.clustering import cluster

FIRST, OTHER, AGAIN = "first", "other", "again"
"""Samples: of the data set, of the other coupling, and of the data set with another seed."""
TRIED, AT_ONCE = 20_000, 4096
"""Showers by which the share is found that the toy keeps, and jets whose density is asked for together."""


class ShowerLikelihood(Study):
    """See the module's docstring.

    Args:
        training: Overrides of each training, its model among them.
        other: Coupling of the second sample.
        generated: Jets that are generated.
    """

    def __init__(self, training: Sequence[str], other: Positive, generated: Count) -> None:
        self.training, self.other, self.generated = list(training), other, generated

    def run(self, bench: Bench) -> None:
        """See the base class."""
        toy = toy_of(bench, ToyShower, "toy_shower")
        toys = {
            FIRST: toy,
            OTHER: replace(toy, evolution=replace(toy.evolution, coupling=self.other)),
            AGAIN: replace(toy, seed=toy.seed + 1),
        }
        files = {name: self.drawn(bench, name, item) for name, item in toys.items()}
        models: dict[str, Path] = {}
        for name, (learn, judge) in files.items():
            extra = [f"data.files.train=[{learn}]", f"data.files.test=[{judge}]"]
            if FIRST in models:  # what both densities lack alike leaves their ratio
                extra.append(f"init.checkpoint={models[FIRST]}")
            models[name] = bench.train(f"trainings/{name}", *extra, *self.training).checkpoint
        judged = {name: judge for name, (_, judge) in files.items()}
        work = partial(self.measure, bench, toys, judged, models)
        found = bench.compute("densities", work, judged, models, repr(toys))
        for title, names, text in SECTIONS:
            own = {key: value for key, value in found.items() if key.startswith(names)}
            bench.report(title, own, None, text)
        made = bench.sample("generated", models[FIRST], f"n={self.generated}")
        shown = bench.evaluate("evaluated", judged[FIRST], made, *ALL)
        keys = [f"{SEPARATION}{name}{t}" for name in (LOG_ANGLE, LOG_SHARE) for t in TWINS]
        bench.report(
            "Generated jets", {key: shown[key] for key in keys if key in shown}, None, MADE
        )

    def drawn(self, bench: Bench, name: str, toy: ToyShower) -> tuple[Path, Path]:
        """Files of jets to learn from and to judge by."""
        changes = [
            f"data.toy.evolution.coupling={toy.evolution.coupling}",
            f"data.toy.seed={toy.seed}",
        ]
        learn, judge = (
            bench.split(f"samples/{name}/{part}", part, {"jets": 1.0}, *bench.data, *changes)[
                "jets"
            ]
            for part in ("train", "test")
        )
        return learn, judge

    def measure(
        self,
        bench: Bench,
        toys: Mapping[str, ToyShower],
        files: Mapping[str, Path],
        models: Mapping[str, Path],
        folder: Path,
    ) -> dict[str, float]:
        """All figures of densities."""
        points = bench.datamodule.native_spec.shape[0]
        loaded = {
            name: folds.load(path, allow=bench.settings.trust.allow)
            for name, path in models.items()
        }
        jets = {name: bench.events(path) for name, path in files.items()}
        trees = {}
        for name, batch in jets.items():
            assert batch.mask is not None
            trees[name] = cluster(batch.x, batch.mask)
        learnt = {key: self.learnt(loaded[key[0]], jets[key[1]]) for key in PAIRS}
        kept = {name: share_kept(toy, points) for name, toy in toys.items()}
        true = {
            (name, sample): log_density(toys[name].kernels, toys[name].evolution, trees[sample])
            - math.log(kept[name])
            for name, sample in PAIRS
        }
        figures: dict[str, float] = {}
        for name in (FIRST, OTHER):
            key, length = (name, name), trees[name].mask.sum(1).double()
            missing = true[key] - learnt[key]
            figures |= {
                f"{name}/excess": float(missing.mean() / length.mean()),
                f"{name}/excess/error": float(missing.std() / len(missing) ** 0.5 / length.mean()),
                f"{name}/excess/floor": 0.0,
                f"{name}/entropy": float(-true[key].mean() / length.mean()),
                f"{name}/splittings": float(length.mean()),
            }

        def ratio(densities: Mapping[tuple[str, str], Tensor], second: str, sample: str) -> Tensor:
            return densities[second, sample] - densities[FIRST, sample]

        def areas(i: Tensor, j: Tensor) -> dict[str, float]:
            model, known = (
                auc(ratio(found, OTHER, FIRST)[i], ratio(found, OTHER, OTHER)[j])
                for found in (learnt, true)
            )
            share = (model - 0.5) / (known - 0.5)
            return {"ratio/auc": model, "ratio/auc_exact": known, "ratio/share": share}

        def nothing(i: Tensor, j: Tensor) -> dict[str, float]:
            return {"null/auc": auc(ratio(learnt, AGAIN, FIRST)[i], ratio(learnt, AGAIN, AGAIN)[j])}

        sizes = {name: len(batch) for name, batch in jets.items()}
        figures |= resampled(areas, (sizes[FIRST], sizes[OTHER]), bench.seed)
        figures |= resampled(nothing, (sizes[FIRST], sizes[AGAIN]), bench.seed)
        return {**figures, "ratio/auc/floor": 0.5, "null/auc/floor": 0.5}

    @staticmethod
    def learnt(module: Module, jets: Batch) -> Tensor:
        """Logarithms of the densities of a model ``(B,)``.

        Raises:
            UserError: If it has no likelihood.
        """
        if not isinstance(module, GenerativeModule):
            raise UserError(
                f"{type(module).__name__} generates no jets, and has no likelihood of them"
            )
        parts = [jets[i : i + AT_ONCE] for i in range(0, len(jets), AT_ONCE)]
        return torch.cat([module.log_prob(part) for part in parts]).double()


def share_kept(toy: ToyShower, points: int) -> float:
    """Share of showers that the toy keeps."""
    return float(toy.kept(points, TRIED, seeded(f"{toy!r} kept"))[2].double().mean())


PAIRS = [
    (FIRST, FIRST),
    (FIRST, OTHER),
    (OTHER, FIRST),
    (OTHER, OTHER),
    (FIRST, AGAIN),
    (AGAIN, FIRST),
    (AGAIN, AGAIN),
]
"""Of which model, or coupling, densities are asked for, and of which jets."""
SECTIONS = [
    (
        "Densities",
        (FIRST, OTHER),
        "excess: what is missing of ln p per splitting [nat], in the mean over jets that were not learnt "
        "from; no model has less than 0 but by the fluctuation that the error tells. entropy: the "
        "true -ln p per splitting.",
    ),
    (
        "Ratio of two couplings",
        ("ratio",),
        "Area under the ROC curve of the ratio of both models' densities, and auc_exact, that of the true "
        "ones, which nothing exceeds; share: how much of the area above 1/2 is reached. Errors are those of "
        "bootstraps.",
    ),
    (
        "Null test",
        ("null",),
        "The ratio of two models of equal couplings: nothing is to be told apart.",
    ),
]
MADE = "Triangular distances of splittings of generated jets; the floor is that of true jets from true ones."
