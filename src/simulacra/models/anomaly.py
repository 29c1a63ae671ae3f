r"""How unusual an event is, by the likelihood of a model that was trained on usual ones.

The plain score is :math:`-\ln p(x | c)`. Its level follows from what was asked for: a shower of more energy
has more hit cells and another density. With events that are known to be usual it is therefore standardised
among those with the most similar conditions,

.. math:: s(x, c) = \frac{-\ln p(x | c) - m(c)}{w(c)},

with mean :math:`m` and standard deviation :math:`w` of :math:`-\ln p` of the nearest reference events.
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core import Batch, UserError
from simulacra.models.base import GenerativeModule

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
    if asked is None or known is None:  # nothing is asked for: all events are alike
        return (surprise - usual.mean()) / usual.std()
    index = torch.cdist(asked, known).topk(min(nearest, len(reference)), largest=False).indices
    near = usual[index]  # (B, nearest)
    return (surprise - near.mean(1)) / near.std(1)
