r"""How far what a classifier predicts of bags is from what is known of them.

With the weighted mean :math:`h_a` of the predictions in a bag :math:`a`, the known share of signal
:math:`f_a` and the share :math:`s_a` of the bag in the weight of the batch,

- :class:`Squares`: :math:`\sum_a s_a (h_a - f_a)^2`;
- :class:`Entropy`: :math:`-\sum_a s_a [f_a \ln h_a + (1 - f_a) \ln(1 - h_a)]`, which is never below the
  entropy of the fractions.

Reference: arXiv:1801.10158, which calls them WMSE and WCE and has no shares, its bags being of one size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from simulacra.core.constructors import role

LEAST = 1e-6
"""Mean predictions in the logarithm keep as far from 0 and 1."""


@role
class Proportions(ABC):
    """See the module's docstring."""

    @abstractmethod
    def __call__(self, predicted: Tensor, known: Tensor) -> Tensor:
        """Distances ``(K,)`` of mean predictions ``(K,)`` from fractions ``(K,)``."""


class Squares(Proportions):
    """See the module's docstring."""

    def __call__(self, predicted: Tensor, known: Tensor) -> Tensor:
        return (predicted - known).square()


class Entropy(Proportions):
    """See the module's docstring [nat]."""

    def __call__(self, predicted: Tensor, known: Tensor) -> Tensor:
        inside = predicted.clamp(LEAST, 1 - LEAST)
        return -(known * inside.log() + (1 - known) * (1 - inside).log())
