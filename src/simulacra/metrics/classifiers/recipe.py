"""Training of a classifier between samples, as the published classifier tests do it.

Events of each class are shuffled and split into a training, a selection and a report part.  Adam minimises
the cross-entropy (one output: the logit of class 1; more: one logit per class); after each epoch the accuracy
on the selection part decides whether the weights are kept.  Everything is float64.

Events may have weights, which enter the means of loss, accuracy and standardisation; the classes then have
equal sums. A network that was trained until it knows its events by heart has forgotten their weights
(arXiv:1812.03372), so that the selection of an epoch matters more than without.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulacra.core import UserError
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, Positive
from simulacra.core.weights import weighted_mean
from simulacra.metrics.classifiers.inputs import Inputs
from simulacra.metrics.engine.weighted import Weight, balanced, part

EVALUATED = 1000
"""Events that are evaluated at once."""


@constructor
@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained; the defaults are the CaloChallenge's.

    Args:
        epochs: Passes over the training part.
        batch_size: Events per step.
        learning_rate: Adam's learning rate.
        select: Whether to keep the epoch with the best accuracy on the selection part, not the last one.
        calibrate: Whether outputs are calibrated on the selection part by isotonic regression.
        standardise: Whether inputs are standardised by the training part.
        rotate: Whether trainings are folds of one shuffle in place of shuffles of their own.
    """

    epochs: Count = 50
    batch_size: Count = 1000
    learning_rate: Positive = 2e-4
    select: bool = True
    calibrate: bool = True
    standardise: bool = False
    rotate: bool = False


@dataclass(frozen=True)
class Part:
    """Events of several classes.

    Args:
        classes: Inputs of each class.
        label: Class of each event ``(n,)``, int64.
        row: Its row in the inputs of that class ``(n,)``, int64.
        weight: Its weight ``(n,)``, float64; None: all weigh the same.
    """

    classes: Sequence[Inputs]
    label: Tensor
    row: Tensor
    weight: Weight = None

    def __len__(self) -> int:
        return len(self.label)

    def batch(self, index: Tensor, device: torch.device) -> tuple[Tensor, Tensor, Weight]:
        """Inputs ``(n, F)``, float64, labels and weights ``(n,)`` of some events, class by class."""
        label, row = self.label[index], self.row[index]
        inputs = [source[row[label == k]].double() for k, source in enumerate(self.classes)]
        labels, order = label.sort(stable=True)
        weight = None if self.weight is None else self.weight[index][order].to(device)
        return torch.cat(inputs).to(device), labels.to(device), weight


def sizes(n: int, proportions: Sequence[float]) -> tuple[int, int, int]:
    """Events for training, selection and report, in these proportions.

    Raises:
        UserError: If a part whose proportion is not 0 would hold fewer than two events.
    """
    train = math.floor(n * proportions[0] / sum(proportions))
    select = math.floor(n * proportions[1] / sum(proportions))
    found = train, select, n - train - select
    if any(part < 2 for part, share in zip(found, proportions, strict=True) if share):
        raise UserError(
            f"{n} events per class cannot be split {tuple(proportions)} for a classifier test"
        )
    return found


def split(
    classes: Sequence[Inputs],
    proportions: Sequence[float],
    generator: torch.Generator,
    turn: float = 0.0,
    most: int | None = None,
    weights: Sequence[Weight] = (),
) -> tuple[Part, Part, Part]:
    """Training, selection and report part, each class shuffled on its own.

    Args:
        classes: Inputs of each class.
        proportions: Of the three parts.
        generator: Of the shuffles.
        turn: Share of the events by which the shuffled ones are rotated.
        most: Events of each class at most; None: all.
        weights: Weights of the events of each class; empty: all weigh the same.
    """
    orders = []
    for source in classes:
        order = torch.randperm(len(source), generator=generator)[:most]
        orders.append(order.roll(-round(turn * len(order))))
    each = (
        [part(weight, order) for weight, order in zip(weights, orders, strict=True)]
        if weights
        else []
    )
    shared = balanced([len(order) for order in orders], each) if each else None
    chosen: list[list[tuple[int, Tensor, Weight]]] = [[], [], []]
    for k, order in enumerate(orders):
        lengths = list(sizes(len(order), proportions))
        pieces = [None] * 3 if shared is None else shared[k].split(lengths)
        for rows, weight, found in zip(order.split(lengths), pieces, chosen, strict=True):
            found.append((k, rows, weight))
    train, select, report = (_part(classes, parts) for parts in chosen)
    return train, select, report


def _part(classes: Sequence[Inputs], parts: Sequence[tuple[int, Tensor, Weight]]) -> Part:
    """Some rows of each class ``(class, rows, weights)``."""
    weights = [weight for _, _, weight in parts if weight is not None]
    return Part(
        classes,
        torch.cat([torch.full((len(rows),), k) for k, rows, _ in parts]),
        torch.cat([rows for _, rows, _ in parts]),
        torch.cat(weights) if weights else None,
    )


def fit(
    network: nn.Module, train: Part, select: Part, recipe: Recipe, generator: torch.Generator
) -> nn.Module:
    """Train a network in place and return what gives its logits; on a CUDA device where there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if recipe.standardise:
        network = nn.Sequential(Standardise.of(train), network)
    network.double().to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)
    best, kept = -1.0, network.state_dict()
    for _ in range(recipe.epochs):
        network.train()
        for index in torch.randperm(len(train), generator=generator).split(recipe.batch_size):
            if len(index) == 1:
                continue  # has no variance for a batch norm
            inputs, labels, weight = train.batch(index, device)
            optimizer.zero_grad()
            cross_entropy(network(inputs), labels, weight).backward()
            optimizer.step()
        if recipe.select:
            found = accuracy(*outputs(network, select))
            if found > best:
                best, kept = found, deepcopy(network.state_dict())
            if found == 1.0:
                break
    network.load_state_dict(kept)
    return network.eval()


def outputs(network: nn.Module, part: Part) -> tuple[Tensor, Tensor, Weight]:
    """Logits ``(n, K)``, labels and weights ``(n,)`` of a part, on the CPU."""
    device = next(network.parameters()).device
    network.eval()
    with torch.no_grad():
        pairs = [part.batch(index, device) for index in torch.arange(len(part)).split(EVALUATED)]
        logits = torch.cat([network(inputs).cpu() for inputs, _, _ in pairs])
    weights = [weight.cpu() for _, _, weight in pairs if weight is not None]
    labels = torch.cat([labels.cpu() for _, labels, _ in pairs])
    return logits, labels, torch.cat(weights) if weights else None


def cross_entropy(logits: Tensor, labels: Tensor, weight: Weight = None) -> Tensor:
    """Mean over weighted events; one logit is that of class 1 against class 0."""
    kind = "mean" if weight is None else "none"
    if logits.shape[1] == 1:
        target = labels.double()
        loss = functional.binary_cross_entropy_with_logits(logits[:, 0], target, reduction=kind)
    else:
        loss = functional.cross_entropy(logits, labels, reduction=kind)
    return loss if weight is None else weighted_mean(loss, weight)


def accuracy(logits: Tensor, labels: Tensor, weight: Weight = None) -> float:
    """Share of the events, or of their weight, whose class is found."""
    found = (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)
    return float(weighted_mean((found == labels).double(), weight))


class Standardise(nn.Module):
    """Subtracts a mean and divides by a deviation, both ``(F,)``."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    @classmethod
    def of(cls, part: Part) -> Standardise:
        """Of the events of a part; a constant input keeps its scale."""
        cpu = torch.device("cpu")
        batches = [part.batch(index, cpu) for index in torch.arange(len(part)).split(EVALUATED)]
        total = len(part) if part.weight is None else part.weight.sum()
        mean = torch.stack([_sum(x, weight) for x, _, weight in batches]).sum(0) / total
        squares = torch.stack([_sum((x - mean).square(), weight) for x, _, weight in batches])
        variance = squares.sum(0) / total
        return cls(mean, torch.where(variance > 0, variance.sqrt(), torch.ones_like(variance)))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, F)``."""
        return (x - self.mean) / self.deviation


def _sum(values: Tensor, weight: Weight) -> Tensor:
    """Sum ``(F,)`` of ``(n, F)`` over weighted events."""
    return values.sum(0) if weight is None else weight @ values
