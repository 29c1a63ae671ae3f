r"""Log-posterior of several generators (arXiv:2410.21611): which of them the truth looks most like.

One classifier is trained to tell :math:`K` generated samples apart and is then asked about the truth:

.. math:: \ell_k = \frac1N \sum_i \log p(k \mid x_i), \qquad x_i \text{ true}.

or their weighted mean. The higher the better; :math:`-\log K` for all where the samples are equal.
Values depend on the set of samples: they rank its members and mean nothing outside of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from simulacra.core import UserError
from simulacra.core.constructors import constructor
from simulacra.metrics.classifiers.inputs import Inputs, Source
from simulacra.metrics.classifiers.networks import MIN_EVENTS, TOO_FEW, dense, initialised
from simulacra.metrics.classifiers.recipe import Part, Recipe, fit, outputs, split
from simulacra.metrics.engine.score import Figure, Judged, NotRun, refuse_negative
from simulacra.metrics.engine.weighted import Weight, deviation, mean, worth

SPLIT = (3.0, 1.0, 0.0)
"""Of training and selection part; what reports is the truth."""


def log_posterior(
    generated: Mapping[str, Inputs],
    reference: Inputs,
    network: Callable[..., nn.Module],
    *,
    trainings: int = 1,
    seed: int = 0,
    recipe: Recipe | None = None,
    weights: Mapping[str, Weight] | None = None,
    reference_weight: Weight = None,
) -> dict[str, Figure]:
    """Mean over true events of the log-probability of each sample.

    Args:
        generated: Classifier inputs ``(M, F)`` of each sample by name; as many of each
            are used as the smallest holds, so that all have the same prior.
        reference: Classifier inputs of the truth ``(N, F)``.
        network: Builds the classifier, ``network(inputs, outputs=K)``.
        trainings: Independent trainings.
        seed: Seed of the first training.
        recipe: How it is trained.
        weights: Weights of the events of each sample by name; None: in each all weigh the same.
        reference_weight: Those of the truth.

    Returns:
        Mean over the trainings and its error: that of the mean over events and, of several trainings, that of
        the mean over them, in quadrature; then their standard deviation stands beside it as ``spread``.

    Raises:
        UserError: With fewer than two samples.
    """
    if len(generated) < 2:
        raise UserError(f"a log-posterior compares several samples, got {sorted(generated)}")
    classes = list(generated.values())
    own = [weights[name] for name in generated] if weights else []
    found = [
        _train(classes, own, reference, network, seed + turn, recipe or Recipe())
        for turn in range(trainings)
    ]
    values = torch.stack([mean(logs, reference_weight) for logs in found])  # (trainings, K)
    n = worth(len(reference), reference_weight)
    squares = torch.stack([deviation(logs, reference_weight).square() for logs in found]).mean(0)
    several = trainings > 1
    spreads = values.std(0) if several else torch.zeros(len(classes))
    errors = (squares / (n - 1) + spreads.square() / trainings).sqrt()
    return {
        name: Figure(
            float(value),
            float(error),
            power=0.0,
            floor=-math.log(len(generated)),
            details={"spread": float(spread)} if several else {},
        )
        for name, value, error, spread in zip(
            generated, values.mean(0), errors, spreads, strict=True
        )
    }


@constructor
@dataclass(frozen=True)
class Posterior:
    """``log_posterior`` of several generated samples, one figure each.

    Args:
        inputs: What the classifier sees of a sample.
        network: What is trained.
        recipe: How.
        trainings: Number of trainings.
        force: Whether to train also below 10,000 events of each kind, with a label.
    """

    inputs: Source
    network: Callable[..., nn.Module] = dense
    recipe: Recipe | None = None
    trainings: int = 1
    force: bool = False

    def __call__(
        self, reference: Judged, generated: Mapping[str, Judged], seed: int
    ) -> dict[str, Figure]:
        """Train over all samples; figures by the names of the samples.

        Raises:
            NotRun: With fewer than 10,000 events of a kind, unless forced.
        """
        refuse_negative(reference, *generated.values())
        few = min(map(len, [reference, *generated.values()])) < MIN_EVENTS
        if few and not self.force:
            raise NotRun(f"{TOO_FEW}: a log-posterior needs {MIN_EVENTS} of each kind")
        found = log_posterior(
            {name: self.inputs(sample) for name, sample in generated.items()},
            self.inputs(reference),
            self.network,
            trainings=self.trainings,
            seed=seed,
            recipe=self.recipe,
            weights={name: sample.weight for name, sample in generated.items()},
            reference_weight=reference.weight,
        )
        note = f"relative to the {len(generated)} samples judged together"
        label = f"{note}, {TOO_FEW}" if few else note
        return {name: replace(figure, note=label) for name, figure in found.items()}


def _train(
    classes: Sequence[Inputs],
    weights: Sequence[Weight],
    reference: Inputs,
    network: Callable[..., nn.Module],
    seed: int,
    recipe: Recipe,
) -> Tensor:
    """Log-probabilities of one training ``(N, K)``."""
    generator = torch.Generator().manual_seed(seed)
    smallest = min(len(source) for source in classes)
    train, select, _ = split(classes, SPLIT, generator, most=smallest, weights=weights)
    inputs = train.batch(torch.arange(1), torch.device("cpu"))[0].shape[1]
    built = initialised(lambda width: network(width, outputs=len(classes)), inputs, seed)
    trained = fit(built, train, select, recipe, generator)
    truth = Part(
        [reference], torch.zeros(len(reference), dtype=torch.int64), torch.arange(len(reference))
    )
    return outputs(trained, truth)[0].log_softmax(1)
