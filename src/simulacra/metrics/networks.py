r"""The published network classifiers of the CaloChallenge (arXiv:2410.21611, section on classifier tests).

A fully connected network (``hidden`` layers of ``width`` units, LeakyReLU 0.01, float64) is
trained with binary cross-entropy to tell generated (0) from true (1) events; the epoch with the
best accuracy on the selection part is kept, its outputs are calibrated there by isotonic
regression, and on the report part

.. math:: \mathrm{AUC}, \qquad \mathrm{JSD} = (\ln 2 - \mathrm{BCE}) / \ln 2

are quoted: 0.5 and 0 for a perfect generator.  A few thousand events do not train such a network:
it cannot tell shuffled voxels from the truth then, and its score is labelled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss, roc_auc_score
from torch import Tensor, nn

from simulacra.core import UserError

MIN_EVENTS = 10_000
"""Events per class below which the scores are not meaningful."""
TOO_FEW = "too few events"


@dataclass(frozen=True)
class NetworkScore:
    """Mean over trainings, with the standard deviation (NaN for one training)."""

    auc: float
    jsd: float
    auc_error: float
    jsd_error: float


@dataclass(frozen=True)
class Recipe:
    """Size and training of the network; the defaults are the published ones.

    Args:
        width: Units per hidden layer.
        hidden: Hidden layers.
        epochs: Passes over the training part.
        batch_size: Events per step.
        learning_rate: Adam's learning rate.
    """

    width: int = 2048
    hidden: int = 3
    epochs: int = 50
    batch_size: int = 1000
    learning_rate: float = 2e-4


def classifier(inputs: int, recipe: Recipe) -> nn.Sequential:
    """The network, float64."""
    sizes = [inputs, *[recipe.width] * recipe.hidden]
    blocks: list[nn.Module] = []
    for first, second in pairwise(sizes):
        blocks += [nn.Linear(first, second), nn.LeakyReLU(0.01)]
    return nn.Sequential(*blocks, nn.Linear(sizes[-1], 1)).double()


def parts(n: int, proportions: Sequence[float]) -> tuple[int, int, int]:
    """Events for training, selection and report, in these proportions.

    Raises:
        UserError: If a part would hold fewer than two events.
    """
    train = math.floor(n * proportions[0] / sum(proportions))
    select = math.floor(n * proportions[1] / sum(proportions))
    if min(train, select, n - train - select) < 2:
        raise UserError(
            f"{n} events per class cannot be split {tuple(proportions)} for a classifier test"
        )
    return train, select, n - train - select


def network_test(
    reference: Tensor,
    generated: Tensor,
    split: Sequence[float],
    trainings: int = 1,
    seed: int = 0,
    recipe: Recipe | None = None,
) -> NetworkScore:
    """Train and report.

    Args:
        reference: Classifier inputs of the truth ``(N, F)``.
        generated: Classifier inputs of generated events ``(M, F)``.
        split: Proportions of training, selection and report part.
        trainings: Independent trainings (new split, new weights), whose mean and spread are quoted.
        seed: Seed of the first training.
        recipe: Size and training.
    """
    recipe = recipe or Recipe()
    scores = [_train(reference, generated, split, seed + i, recipe) for i in range(trainings)]
    auc, jsd = (np.array(values) for values in zip(*scores, strict=True))
    spread = [float(v.std(ddof=1)) if trainings > 1 else math.nan for v in (auc, jsd)]
    return NetworkScore(float(auc.mean()), float(jsd.mean()), spread[0], spread[1])


def _train(
    reference: Tensor, generated: Tensor, split: Sequence[float], seed: int, recipe: Recipe
) -> tuple[float, float]:
    """AUC and JSD of one training."""
    generator = torch.Generator().manual_seed(seed)
    train, select, report = _split(reference.double(), generated.double(), split, generator)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.set_state(generator.get_state())
        network = classifier(reference.shape[1], recipe)
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)
    loss = nn.BCEWithLogitsLoss()
    best, kept = -1.0, deepcopy(network.state_dict())
    for _ in range(recipe.epochs):
        order = torch.randperm(len(train[0]), generator=generator)
        for index in order.split(recipe.batch_size):
            optimizer.zero_grad()
            loss(network(train[0][index])[:, 0], train[1][index]).backward()
            optimizer.step()
        accuracy = float(
            ((_outputs(network, select[0]) > 0.5) == (select[1] > 0.5)).double().mean()
        )
        if accuracy > best:
            best, kept = accuracy, deepcopy(network.state_dict())
        if accuracy == 1.0:
            break
    network.load_state_dict(kept)
    calibration = IsotonicRegression(out_of_bounds="clip", y_min=1e-6, y_max=1 - 1e-6)
    calibration.fit(_outputs(network, select[0]).numpy(), select[1].numpy())
    scores, labels = calibration.predict(_outputs(network, report[0]).numpy()), report[1].numpy()
    return float(roc_auc_score(labels, scores)), float(1 - log_loss(labels, scores) / math.log(2))


def _split(
    reference: Tensor, generated: Tensor, split: Sequence[float], generator: torch.Generator
) -> list[tuple[Tensor, Tensor]]:
    """Training, selection and report inputs and labels, each class shuffled on its own."""
    found: list[list[Tensor]] = [[], [], []]
    for values in (generated, reference):
        shuffled = values[torch.randperm(len(values), generator=generator)]
        for number, part in enumerate(shuffled.split(list(parts(len(values), split)))):
            found[number].append(part)
    return [
        (torch.cat(pair), torch.cat([torch.zeros(len(pair[0])), torch.ones(len(pair[1]))]).double())
        for pair in found
    ]


def _outputs(network: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([network(part)[:, 0].sigmoid() for part in inputs.split(10_000)])
