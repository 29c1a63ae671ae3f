r"""How unusual an event is, by the likelihood of a model that was trained on usual ones.

The plain score is :math:`-\ln p(x | c)`. Its level follows from what was asked for: a shower of more energy
has more hit cells and another density. With events that are known to be usual it is therefore standardised
among those with the most similar conditions,

.. math:: s(x, c) = \frac{-\ln p(x | c) - m(c)}{w(c)},

with mean :math:`m` and standard deviation :math:`w` of :math:`-\ln p` of the nearest reference events,
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
        module: A trained model with a likelihood.
        batch: Events in physical units.
        reference: Usual events, best ones that the model was not trained on; without them the score is
            ``-log p``, which compares events of equal conditions only.
        nearest: Reference events, at least two, with the most similar conditions that each event is
            compared with (fewer if there are fewer).

    Returns:
        Without a reference nats, else standard deviations above what is usual.

    Raises:
        UserError: If the model has no likelihood, or the reference has fewer than two events.
    """
    surprise = -module.log_prob(batch)
    if reference is None:
        return surprise
    if min(nearest, len(reference)) < 2:
        raise UserError(
            f"what is usual takes at least two reference events, got {min(nearest, len(reference))}"
        )
    usual = -module.log_prob(reference)
    asked, known = (
        module.transform.condition(part.conditions(module.given)) for part in (batch, reference)
    )
    weight = reference.weight_or_one().to(usual)
    if asked is None or known is None:  # nothing is asked for: all events are alike
        return _standardised(surprise, usual[None], weight[None])
    distance = torch.cdist(asked, known).masked_fill(weight == 0, torch.inf)
    index = distance.topk(min(nearest, len(reference)), largest=False).indices
    return _standardised(surprise, usual[index], weight[index])  # among (B, nearest)


def _standardised(values: Tensor, usual: Tensor, weight: Tensor) -> Tensor:
    """Values ``(B,)`` minus the mean and over the deviation of usual ones ``(B, n)`` with weights; the
    variance is unbiased, with the effective number of events.
    """
    share = weight / weight.sum(1, keepdim=True)
    mean = (share * usual).sum(1)
    spread = (share * (usual - mean[:, None]).square()).sum(1)
    return (values - mean) / (spread / (1 - share.square().sum(1))).sqrt()
