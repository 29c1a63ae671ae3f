"""Toy of an observable in regions, whose means add up or not, to predict one region from the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from simulacra.core.ranges import Positive
from simulacra.data.toy_samples import Toy, normal

SHARES = {"jets": (0.4, 0.3, 0.2, 0.1), "tags": (0.6, 0.4)}
"""Probabilities of the values 0, 1 … of the control variables, which are independent."""


@dataclass(frozen=True)
class ToyRegions(Toy):
    r"""An observable :math:`x` given two control variables, numbers of further jets :math:`j` and tags
    :math:`k`.

    .. math:: x \sim N(a + b\,j + d\,k + \kappa\,j k,\; w).

    With :math:`\kappa = 0` the means of regions add up, and any of them follows from three others.

    Args:
        seed: Seed of the rows.
        offset: :math:`a`.
        jets: :math:`b`.
        tags: :math:`d`.
        interaction: :math:`\kappa`.
        width: :math:`w`.
    """

    offset: float = 0.0
    jets: float = 0.5
    tags: float = 0.3
    interaction: float = 0.0
    width: Positive = 1.0

    @property
    def columns(self) -> Mapping[str, Mapping[str, Any]]:
        """The observable, and both control variables as conditions."""
        known = {
            name: {"low": 0, "high": len(shares) - 1, "integer": True, "use": "condition"}
            for name, shares in SHARES.items()
        }
        return {"x": {}, **known}

    def draw(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """See the base class."""
        jets, tags = (
            torch.multinomial(
                torch.tensor(shares, dtype=torch.float64), n, replacement=True, generator=generator
            ).double()
            for shares in SHARES.values()
        )
        mean = self.offset + self.jets * jets + self.tags * tags + self.interaction * jets * tags
        return {"x": mean + self.width * normal(n, 1, generator)[:, 0], "jets": jets, "tags": tags}
