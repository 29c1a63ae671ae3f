"""Observables of showers on the mesh of the CaloChallenge that are not calibrated and come from all sides.

Those of :mod:`simulacra.physics.calochallenge`; the share of the energy that a detector sees is its own, so
that ranges of visible over incident energy come from the truth, and a classifier sees the direction, too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core import Batch
from simulacra.physics.base import Axis
from simulacra.physics.calochallenge import CaloChallengeObservables


class LemursObservables(CaloChallengeObservables):
    """See the module's docstring."""

    def axes(self) -> dict[str, Axis]:
        """Those of the public evaluation of data set 2, but for visible over incident energy."""
        return {**super().axes(), "e_tot_over_e_inc": Axis(self.ratio, "", 100, category="energy")}

    def response_axis(self, energy: float) -> Axis:
        """20 bins of E_tot/E_inc over the range of the truth."""
        return Axis(self.ratio, "", 20)

    def features(self, batch: Batch) -> Tensor:
        """The "high" inputs of data set 2, then the other conditions; of an angle that closes on itself its
        cosine and sine.
        """
        columns = [super().features(batch)]
        for field in self.spec.conditions:
            if field.role != "energy":
                value = batch.cond[field.name].double()
                columns += [value.cos(), value.sin()] if field.periodic else [value]
        return torch.cat(columns, dim=1)
