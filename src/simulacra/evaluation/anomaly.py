r"""How unusual an event is, by a model that was trained on usual ones.

The plain score is :math:`-\ln p(x | c)`, or what stands for it in a model without a likelihood, such as the
error of an auto-encoder (:meth:`~simulacra.training.generative.GenerativeModule.surprise`). Its level follows
from what was asked for: a shower of more energy has more hit cells and another density. With events that are
known to be usual it is therefore standardised among those with the most similar conditions,

.. math:: s(x, c) = \frac{-\ln p(x | c) - m(c)}{w(c)},

with mean :math:`m` and standard deviation :math:`w` of the plain score of the nearest reference events,
weighted where they have weights; weights of the events that are scored play no part.
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core import Batch, UserError
from simulacra.training.generative import GenerativeModule

NEAREST = 100
"""Reference events that say what is usual at given conditions."""


@torch.no_grad()
def anomaly_score(
    module: GenerativeModule, batch: Batch, reference: Batch | None = None, nearest: int = NEAREST
) -> Tensor:
    """Score ``(B,)`` of events, the higher the more anomalous.

    Args:
        module: A trained model with a likelihood, or another measure of what is usual.
        batch: Events in physical units.
        reference: Usual events, best ones that the model was not trained on; without them the score is
            the plain one, which compares events of equal conditions only.
        nearest: Reference events, at least two, with the most similar conditions that each event is
            compared with (fewer if there are fewer).

    Returns:
        Without a reference nats where the model has a likelihood; with one standard deviations above what is
        usual.

    Raises:
        UserError: If the model has no such measure, or the reference has fewer than two events.
    """
    surprise = module.surprise(batch)
    if reference is None:
        return surprise
    if min(nearest, len(reference)) < 2:
        raise UserError(
            f"what is usual takes at least two reference events, got {min(nearest, len(reference))}"
        )
    usual = module.surprise(reference)
    asked, known = (
        module.transform.condition(part.conditions(module.given)) for part in (batch, reference)
    )
    weight = reference.weight_or_one().to(usual)
    if asked is None or known is None:  # nothing is asked for: all events are alike
        return _standardised(surprise, usual[None], weight[None])
    return standardised(surprise, usual, torch.cdist(asked, known), weight, nearest)


def standardised(
    values: Tensor, usual: Tensor, distance: Tensor, weight: Tensor, nearest: int = NEAREST
) -> Tensor:
    """Values ``(B,)`` in standard deviations above those of the nearest usual events.

    Args:
        values: Of the events in question.
        usual: The same of usual events ``(M,)``.
        distance: How far each event is from each usual one ``(B, M)``.
        weight: Weights of the usual events ``(M,)``; those of none do not count.
        nearest: Usual events that each is compared with.
    """
    far = distance.masked_fill(weight == 0, torch.inf)
    index = far.topk(min(nearest, len(usual)), largest=False).indices
    return _standardised(values, usual[index], weight[index])  # among (B, nearest)


def _standardised(values: Tensor, usual: Tensor, weight: Tensor) -> Tensor:
    """Values ``(B,)`` minus the mean and over the deviation of usual ones ``(B, n)`` with weights; the
    variance is unbiased, with the effective number of events.
    """
    share = weight / weight.sum(1, keepdim=True)
    mean = (share * usual).sum(1)
    spread = (share * (usual - mean[:, None]).square()).sum(1)
    return (values - mean) / (spread / (1 - share.square().sum(1))).sqrt()
