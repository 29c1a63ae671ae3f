r"""Vectors that tell a network which sensor an image belongs to.

:class:`ClassLabels` learns one vector per sensor. :class:`PriorLabels` puts a number beside it that physics
knows of the sensor, such as its mean occupancy :math:`o_s`, normalised over the sensors:

.. math:: v_s = W_2 \left[\, e_s,\; W_1\, o_s / \|o\|_2 \,\right].

The sensor is the place of an image in the stack, whose number is in the data set's geometry: an order in
which files were listed never enters.

References: IEA-GAN, arXiv:2303.08046; PE-GAN, arXiv:2303.00693, prior embedding.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from simulacra.core.ranges import Count


class ClassLabels(nn.Module):
    """A learned vector per sensor.

    Args:
        sensors: How many.
        width: Length of a vector.
    """

    def __init__(self, sensors: int, width: int) -> None:
        super().__init__()
        self.own = nn.Embedding(sensors, width)

    def forward(self, prior: Tensor) -> Tensor:
        """Vectors ``(S, width)``; what is known of the sensors, ``(S,)``, is not looked at."""
        return self.own.weight


class PriorLabels(nn.Module):
    """A learned vector per sensor joined with a known number.

    Args:
        sensors: How many.
        width: Length of a vector.
        hidden: Length of both parts that are joined.
    """

    def __init__(self, sensors: int, width: int, hidden: Count) -> None:
        super().__init__()
        self.own = nn.Embedding(sensors, hidden)
        self.known = nn.Linear(1, hidden)
        self.joint = nn.Linear(2 * hidden, width)

    def forward(self, prior: Tensor) -> Tensor:
        """Vectors ``(S, width)`` given one number per sensor, ``(S,)`` of norm 1."""
        known = self.known(prior[:, None].to(self.own.weight.dtype))
        joined: Tensor = self.joint(torch.cat([self.own.weight, known], dim=1))
        return joined


MakeLabels = Callable[[int, int], nn.Module]
"""From the number of sensors and the length of a vector."""
