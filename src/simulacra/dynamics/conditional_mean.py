r"""Conditional means of weights by cross entropy.

.. math:: L(f) = \langle w \ln(1 + e^{-f(x)}) + \ln(1 + e^{f(x)}) \rangle, \qquad
          e^{f(x)} = E[w | x] \text{ at the minimum.}

It is the loss of a classifier between the events with their weights and the same events with none. Weights
may be negative, as long as their mean is not; the mean that is found is positive everywhere.

References: Nachman and Thaler, arXiv:2007.11586; Andreassen et al., arXiv:1911.09107, for the second step of
OmniFold, which is the same.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus


def mean_entropy(logit: Tensor, weight: Tensor) -> Tensor:
    """The loss of each event ``(B,)``.

    Args:
        logit: ``f``, ``(B,)``.
        weight: What the conditional mean is found of ``(B,)``, best of order 1.
    """
    return weight * softplus(-logit) + softplus(logit)
