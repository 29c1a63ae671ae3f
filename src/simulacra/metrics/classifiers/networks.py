r"""The published network classifiers that tell generated (0) from true (1) events.

A network is trained on one part of both samples (:mod:`simulacra.metrics.classifiers.recipe`); its outputs
are calibrated on a second one by isotonic regression, and on a third

.. math:: \mathrm{AUC}, \qquad \mathrm{JSD} = (\ln 2 - \mathrm{BCE}) / \ln 2

are quoted: 0.5 and 0 for a perfect generator.  The CaloChallenge (arXiv:2410.21611) trains :func:`dense` on
``high``, ``low`` and ``low_normed`` inputs and :class:`~simulacra.nn.resnet.ResNet3d` on ``low`` ones, ten
times each, and quotes mean and standard deviation.  A few thousand events do not train such a network: it
cannot tell shuffled voxels from the truth then, and its score is labelled.

That deviation :math:`s` is not the error of the mean of :math:`T` trainings: they share their events, and
their own fluctuations average out. With the error :math:`\sigma` of one report part (of an AUC that of
Hanley and McNeil, of a JSD the standard error of its mean), which holds :math:`n_r` of :math:`n` events,

.. math:: \sqrt{\max(\sigma^2, s^2) / T + \sigma^2 \, n_r / (n - n_r)}

is it (Nadeau and Bengio, Machine Learning 52 (2003) 239, section 3); :math:`s` stands beside it as
``classifier/<name>/auc/spread``.

Note:
    Calibration lowers the JSD: the steps of the regression follow the selection part, not the truth. A
    perfect generator scores about -0.05 with 250 events of each kind in it, so that the JSD of few events may
    lie below the floor of 0 by more than its error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_auc_score
from torch import nn

from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, NotNegative
from simulacra.metrics.classifiers.boosted import hanley_mcneil
from simulacra.metrics.classifiers.inputs import Inputs, Source
from simulacra.metrics.classifiers.recipe import Part, Recipe, fit, outputs, split
from simulacra.metrics.engine.score import Figure, Judged, NotRun, score_constructor
from simulacra.metrics.engine.weighted import (
    UNWEIGHTED,
    Weight,
    Weights,
    deviation,
    mean,
    part,
    worth,
)

MIN_EVENTS = 10_000
"""Events per class below which the scores are not meaningful."""
TOO_FEW = "too few events"
FLOORS = 0.5, 0.0
"""What a perfect generator has, AUC and JSD."""
CLIP = 1e-6
"""Least calibrated probability of either class."""

Array = NDArray[np.float64]
Reported = tuple[float, float, float]
"""Value, error, and error of truth against truth (NaN: not known)."""
Network = Callable[[int], nn.Module]
"""Builds a network of one logit from the number of its inputs."""


@constructor
def dense(
    inputs: int,
    hidden: Sequence[Count] = (2048, 2048, 2048),
    slope: NotNegative = 0.01,
    outputs: int = 1,
) -> nn.Sequential:
    """Fully connected layers with LeakyReLU; the defaults are the CaloChallenge's.

    Args:
        inputs: Number of inputs.
        hidden: Widths of the hidden layers.
        slope: Of the LeakyReLU below 0.
        outputs: Logits.
    """
    blocks: list[nn.Module] = []
    for first, second in pairwise([inputs, *hidden]):
        blocks += [nn.Linear(first, second), nn.LeakyReLU(slope)]
    return nn.Sequential(*blocks, nn.Linear([inputs, *hidden][-1], outputs))


def network_test(
    reference: Inputs,
    generated: Inputs,
    proportions: Sequence[float],
    trainings: int = 1,
    seed: int = 0,
    network: Network = dense,
    recipe: Recipe | None = None,
    weights: Weights = UNWEIGHTED,
) -> tuple[Figure, Figure]:
    """Train and report.

    Args:
        reference: Classifier inputs of the truth ``(N, F)``.
        generated: Classifier inputs of generated events ``(M, F)``.
        proportions: Of training, selection and report part.
        trainings: Independent trainings (new split, new weights), or folds.
        seed: Seed of the first training.
        network: What is trained.
        recipe: How.
        weights: Weights of the true and of the generated events; the published figures are those of equal
            ones.

    Returns:
        AUC and JSD: mean over the trainings and its error; of several with their standard deviation as
        ``spread``.
    """
    recipe = recipe or Recipe()
    found, shared = [], 0.0
    for number in range(trainings):
        turn, own = (number / trainings, seed) if recipe.rotate else (0.0, seed + number)
        generator = torch.Generator().manual_seed(own)
        train, select, report = split(
            [generated, reference], proportions, generator, turn, weights=weights[::-1]
        )
        built = initialised(
            network, len(train.batch(torch.arange(1), torch.device("cpu"))[0][0]), seed + number
        )
        shared = len(report) / (len(train) + len(select))
        found.append(_report(fit(built, train, select, recipe, generator), select, report, recipe))
    auc, jsd = (
        _mean(figures, shared, floor)
        for figures, floor in zip(zip(*found, strict=True), FLOORS, strict=True)
    )
    return auc, jsd


def _mean(figures: Sequence[Reported], shared: float, floor: float) -> Figure:
    """Mean over trainings.

    Args:
        figures: Value, error and error of truth against truth of each, from its report part.
        shared: Events of a report part over all others.
        floor: Of the figure.
    """
    values, errors, nulls = (np.array(column) for column in zip(*figures, strict=True))
    own, several = float(np.square(errors).mean()), len(values) > 1
    null = math.sqrt(float(np.square(nulls).mean()) * (1 / len(values) + shared))
    spread = float(values.std(ddof=1)) if several else 0.0
    error = math.sqrt(max(own, spread**2) / len(values) + shared * own)
    details = {"spread": spread} if several else {}
    known = None if math.isnan(null) else null
    return Figure(float(values.mean()), error, floor=floor, null=known, details=details)


def initialised(network: Network, inputs: int, seed: int) -> nn.Module:
    """A new network whose weights are a function of the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return network(inputs)


@score_constructor
@dataclass(frozen=True)
class NetworkScore:
    """``classifier/<name>/auc`` and ``classifier/<name>/jsd`` as a score.

    Args:
        name: Name of the classifier.
        inputs: What it sees of a sample.
        network: What is trained.
        recipe: How.
        trainings: Number of trainings.
        proportions: Of training, selection and report part; None for those of the data set.
        force: Whether to train also below 10,000 events per class, with a label.
    """

    name: str
    inputs: Source
    network: Network = dense
    recipe: Recipe | None = None
    trainings: Count = 1
    proportions: Sequence[float] | None = None
    force: bool = False

    def __call__(self, reference: Judged, generated: Judged, seed: int) -> dict[str, Figure]:
        """Train and report.

        Raises:
            NotRun: With fewer than 10,000 events of a kind, unless forced.
        """
        few = min(len(reference), len(generated)) < MIN_EVENTS
        if few and not self.force:
            raise NotRun(
                f"{TOO_FEW}: {len(reference)} true and {len(generated)} generated, not {MIN_EVENTS}"
            )
        figures = network_test(
            self.inputs(reference),
            self.inputs(generated),
            self.proportions or reference.observables.split,
            self.trainings,
            seed,
            self.network,
            self.recipe,
            (reference.weight, generated.weight),
        )
        note = TOO_FEW if few else None
        return {
            f"classifier/{self.name}/{key}": replace(figure, note=note)
            for key, figure in zip(("auc", "jsd"), figures, strict=True)
        }


def _report(
    network: nn.Module, select: Part, report: Part, recipe: Recipe
) -> tuple[Reported, Reported]:
    """AUC and JSD, each with the error from the report part."""
    scores, labels, weight = _scores(network, report)
    if recipe.calibrate:
        calibration = IsotonicRegression(out_of_bounds="clip", y_min=CLIP, y_max=1 - CLIP)
        scores = calibration.fit(*_scores(network, select)).predict(scores)
    auc = float(roc_auc_score(labels, scores, sample_weight=weight))
    chosen = np.where(labels == 1, scores, 1 - scores).clip(min=np.finfo(np.float64).tiny)
    bits = torch.from_numpy(np.log2(chosen))
    true, made = (torch.from_numpy(labels == k) for k in (1, 0))
    sizes = [worth(int(k.sum()), part(weight, k)) for k in (true, made)]
    error, null = (hanley_mcneil(area, sizes[0], sizes[1]) for area in (auc, 0.5))
    spread = float(deviation(bits, weight)) / math.sqrt(worth(len(bits), weight))
    jsd = float(1 + mean(bits, weight))
    return (auc, error, null), (jsd, spread, math.nan)


def _scores(network: nn.Module, part: Part) -> tuple[Array, Array, Weight]:
    """Probability of truth, label and weight of each event."""
    logits, labels, weight = outputs(network, part)
    return logits[:, 0].sigmoid().numpy(), labels.double().numpy(), weight
