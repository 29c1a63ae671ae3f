"""Toy of a momentum that is measured with a known response, to calibrate it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.core.ranges import NotNegative, Positive
from simulacra.data.toy_samples import Toy, normal

DRAWN, WEIGHED = 2.5, 5.0
"""Powers of the spectrum that rows are drawn from, and of that which their weights make of it."""
PILEUP = 20.0
"""Mean number of further collisions."""


@dataclass(frozen=True)
class ToyResponse(Toy):
    r"""A true momentum :math:`t`, a number :math:`\mu` of further collisions, and the measured momentum.

    .. math:: r = f(t, \mu)\,(1 + \sigma n), \qquad f = 0.7\,t + 3 \ln t + p\,(\mu - 20),

    with :math:`\mu \sim \mathrm{Poisson}(20)`, standard normal :math:`n` and all momenta in GeV. Rows are
    drawn from :math:`t^{-2.5}` and weigh :math:`t^{-2.5}`, so that the weighted spectrum is :math:`t^{-5}`
    and neither it nor a flat one rests on few rows.

    Args:
        seed: Seed of the rows.
        low: Smallest true momentum [GeV].
        high: Largest one [GeV].
        resolution: :math:`\sigma`.
        pileup: :math:`p` [GeV].

    Raises:
        UserError: If ``high`` is not above ``low``, or the mean response is not above 0 everywhere.
    """

    low: Positive = 20.0
    high: Positive = 100.0
    resolution: NotNegative = 0.15
    pileup: NotNegative = 0.2

    def __post_init__(self) -> None:
        lowest = torch.tensor([self.low, 0.0], dtype=torch.float64)
        if self.high <= self.low or float(self.response(*lowest)) <= 0:
            raise UserError(
                "a toy of a response needs high above low and a mean response above 0, got "
                f"low={self.low:g}, high={self.high:g}, pileup={self.pileup:g}"
            )

    @property
    def columns(self) -> Mapping[str, Mapping[str, Any]]:
        """Measured momentum, further collisions, true momentum and weight."""
        return {
            "pt": {"unit": "GeV", "low": 0.1, "log": True},
            "pileup": {"low": 0, "integer": True},
            "true_pt": {
                "unit": "GeV", "low": self.low, "high": self.high, "log": True, "use": "condition",
            },
            "weight": {"role": "weight"},
        }  # fmt: skip

    def response(self, true: Tensor, pileup: Tensor) -> Tensor:
        """``f`` [GeV] of true momenta [GeV] and numbers of further collisions."""
        return 0.7 * true + 3 * true.log() + self.pileup * (pileup - PILEUP)

    def draw(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """See the base class."""
        share = torch.rand(n, generator=generator, dtype=torch.float64)
        power = 1 - DRAWN
        ends = self.low**power, self.high**power
        true = (ends[0] + share * (ends[1] - ends[0])) ** (1 / power)
        pileup = torch.poisson(torch.full_like(true, PILEUP), generator=generator)
        fluctuation = 1 + self.resolution * normal(n, 1, generator)[:, 0]
        return {
            "pt": (self.response(true, pileup) * fluctuation).clamp_min(0.1),
            "pileup": pileup,
            "true_pt": true.clamp(self.low, self.high),
            "weight": (true / self.low) ** (DRAWN - WEIGHED),
        }
