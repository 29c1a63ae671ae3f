r"""Unusual jets by an auto-encoder that has learnt usual ones alone, and what its score knows of their mass.

The auto-encoder learns the images of all classes but one, and the error by which it repeats an image is the
score. Test jets say how well the score tells the class that it has never seen, beside that of the jet mass
alone, and boosted trees that are told the classes. A score that follows the mass shapes its spectrum: of
usual jets there is the rank correlation :math:`\rho` of both, with the error
:math:`(1 - \rho^2) / \sqrt{N}`, and the score is given again after it was standardised among usual jets of
similar mass, as :func:`~simulacra.evaluation.anomaly.anomaly_score` does with conditions. Usual jets that
were learnt from against those that were not are the null test: an auto-encoder that knows its own jets again
tells them apart.

Reference: Heimel et al., arXiv:1808.08979; Farina, Nakai, Shih, arXiv:1808.08992.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from simulacra import data
from simulacra.core import Batch, UserError
from simulacra.core.ranges import Count
from simulacra.evaluation.anomaly import anomaly_score, standardised
from simulacra.metrics.classifiers.boosted import boosted
from simulacra.metrics.engine.score import judged
from simulacra.metrics.search.significance import significance
from simulacra.physics.correlation import spearman
from simulacra.studies.bands import repeated
from simulacra.studies.bench import Bench, suffix_of
from simulacra.studies.loading import generator_of
from simulacra.studies.study import Study

SCORE, FLAT, MASS = "autoencoder", "standardised", "mass"


class JetAutoencoder(Study):
    """See the module's docstring.

    Args:
        training: Overrides of the training of a model that says how unusual an event is.
        label: Condition that holds the class.
        unusual: Name of the class that is not learnt.
        mass: Event field of the mass.
        nearest: Usual jets of similar mass that a score is compared with.
        replicas: Trainings with other seeds.
    """

    def __init__(
        self,
        training: Sequence[str],
        label: str,
        unusual: str,
        mass: str,
        nearest: Count,
        replicas: Count,
    ) -> None:
        self.training, self.replicas = list(training), replicas
        self.label, self.unusual, self.mass, self.nearest = label, unusual, mass, nearest

    def run(self, bench: Bench) -> None:
        """See the base class."""
        found = [f for f in bench.datamodule.native_spec.conditions if f.name == self.label]
        classes = list(found[0].classes or ()) if found else []
        if self.unusual not in classes or len(classes) < 2:
            raise UserError(
                f"usual jets and those of class {self.unusual!r} are needed, got the classes "
                f"{', '.join(classes) or 'none'}: take data.classes=[g,q,{self.unusual}]"
            )
        number = classes.index(self.unusual)
        files = self._usual(bench, number)
        members = []
        for k in range(self.replicas):
            trained = bench.train(
                f"replica_{k}/learnt",
                *(f"data.files.{part}=[{','.join(map(str, files))}]" for part in ("train", "test")),
                f"seed={bench.seed + k}",
                *self.training,
            )
            members.append(self._judged(bench, f"replica_{k}", trained.checkpoint, number, files))
        own = repeated(members)
        tables = {
            "Scores": ((SCORE, FLAT, MASS), SCORES),
            "Supervised": (("supervised",), SUPERVISED),
            "Mass": (("correlation",), CORRELATION),
            "Null test": (("null",), NULL),
        }
        told = self._told(bench, number)
        for title, (names, text) in tables.items():
            chosen = {
                key: value for key, value in (own | told).items() if key.split("/")[0] in names
            }
            bench.report(title, chosen, None, text)

    def _usual(self, bench: Bench, number: int) -> list[Path]:
        """Files of the usual jets of the training part, one for each class."""
        suffix = suffix_of(bench.datamodule)

        def work(folder: Path) -> dict[str, float]:
            events = bench.events("train")
            bench.write(folder / f"usual{suffix}", events[self._class(events) != number])
            return {"events": float((self._class(events) != number).sum())}

        bench.compute("usual", work, bench.origin(), number)
        return sorted(bench.folder("usual").glob(f"*{suffix}"))

    def _class(self, batch: Batch) -> Tensor:
        """Class number of each jet ``(N,)``."""
        return batch.cond[self.label][:, 0].long()

    def _judged(
        self, bench: Bench, place: str, learnt: Path, number: int, files: Sequence[Path]
    ) -> dict[str, float]:
        """Figures of one training."""

        def work(folder: Path) -> dict[str, float]:
            module = generator_of(bench, learnt)
            shown = data.build(module.record.config["data"], trusted=False).shown
            known = Batch.cat([bench.events(path) for path in files])
            jets = bench.events("test")
            score, usual = (anomaly_score(module, shown(batch)) for batch in (jets, known))
            mass, other = (batch.event[self.mass][:, 0] for batch in (jets, known))
            distance = (mass[:, None] - other[None]).abs()
            flat = standardised(score, usual, distance, known.weight_or_one(), self.nearest)
            unusual = self._class(jets) == number
            figures: dict[str, float] = {}
            for name, values in ((SCORE, score), (FLAT, flat), (MASS, mass)):
                figures |= area(name, values, unusual, jets.weight)
            for name, values in ((SCORE, score), (FLAT, flat)):
                figures |= correlation(f"correlation/{name}", values[~unusual], mass[~unusual])
            new = torch.arange(int((~unusual).sum()) + len(usual)) < int((~unusual).sum())
            return figures | area("null", torch.cat([score[~unusual], usual]), new, None)

        inputs = [self.nearest, number, bench.origin()]
        return bench.compute(f"{place}/judged", work, learnt, *files, *inputs)

    def _told(self, bench: Bench, number: int) -> dict[str, float]:
        """What boosted trees find that are told the classes of the test part, out of fold."""

        def work(folder: Path) -> dict[str, float]:
            jets = bench.events("test")
            first, second = (
                judged(jets[self._class(jets) == number], bench.datamodule.observables).sample,
                judged(jets[self._class(jets) != number], bench.datamodule.observables).sample,
            )
            found = boosted(
                first.features, second.features, first.weight, second.weight, bench.seed
            )
            return {
                "supervised/auc": found.auc,
                "supervised/auc/error": found.error,
                "supervised/auc/floor": 0.5,
            }

        return bench.compute("supervised", work, bench.origin(), number)


def area(name: str, score: Tensor, unusual: Tensor, weight: Tensor | None) -> dict[str, float]:
    """Area under the ROC curve of a score."""
    curve = significance(score, unusual, weight)
    return {
        f"{name}/auc": curve.auc,
        f"{name}/auc/error": curve.auc_error,
        f"{name}/auc/floor": 0.5,
    }


def correlation(name: str, score: Tensor, mass: Tensor) -> dict[str, float]:
    """Rank correlation of a score and the mass."""
    value = float(spearman(torch.stack([score, mass], 1))[0, 1])
    error = (1 - value**2) / len(score) ** 0.5
    return {name: value, f"{name}/error": error, f"{name}/floor": 0.0}


SCORES = (
    "Areas under the ROC curve of the class that was not learnt and all others, on test jets: the error of "
    "the auto-encoder, the same standardised among usual jets of similar mass, and the mass alone."
)
SUPERVISED = (
    "Boosted trees that are told the classes, on observables of the same jets, out of fold."
)
CORRELATION = "Rank correlation of the scores and the mass of usual test jets."
NULL = "Usual test jets against those that were learnt from: 0.5 where nothing is known by heart."
