r"""Energies as levels on a logarithmic scale, and back by drawing within a level.

Between a floor ``f`` and a largest energy :math:`f e^G` lie :math:`K - 1` levels of one width in the
logarithm, :math:`w = G / (K - 1)`; level 0 is no energy:

.. math:: q = 1 + \lfloor \ln(v / f) / w \rfloor \ \text{for}\ v \ge f, \qquad q = 0 \ \text{else}.

On the way back :math:`\ln(v / f) = w (q - 1 + u)` with ``u`` uniform in (0, 1), never the middle of a level:
a comb of energies is seen by any classifier. A density of levels is then one of energies,
:math:`p(v) = P(q) / (w v)`. A level blurs an energy by about :math:`w / \sqrt{12}` of it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from simulacra.core import UserError, draws


class LogLevels(nn.Module):
    """See the module's docstring.

    Args:
        count: ``K``, with that of no energy.

    Raises:
        UserError: If there are fewer than three levels.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        if count < 3:
            raise UserError(
                f"energies need at least two levels beside that of none, count=3, not {count}"
            )
        self.count = count

    def forward(self, log: Tensor, reach: Tensor) -> Tensor:
        """Levels, whole numbers in the type of ``log``.

        Args:
            log: ``ln(v / f)``, negative for no energy; what lies beyond ``G`` gets the last level.
            reach: ``G``, positive, of a shape that goes with ``log``.
        """
        level = torch.floor(log * ((self.count - 1) / reach)).clamp(max=self.count - 2) + 1
        return torch.where(log < 0, 0.0, level)

    def inverse(
        self, level: Tensor, reach: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """``ln(v / f)`` of levels, -1 for no energy."""
        place = level - 1 + draws.uniform(level.shape, level, generator)
        return torch.where(level <= 0, -1.0, place * (reach / (self.count - 1)))

    def log_slope(self, level: Tensor, reach: Tensor) -> Tensor:
        """``-ln w`` of each number, 0 where there is no energy."""
        return torch.where(level > 0, math.log(self.count - 1) - torch.log(reach), 0.0)
