"""Observables of jets that are told relative to their axis, with the splittings of their trees.

To those of :mod:`simulacra.physics.jets` this adds, for each splitting of the Cambridge/Aachen tree
(:mod:`simulacra.transforms.clustering`), the logarithms of its angle and of the share of its softer part.
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core import Batch
from simulacra.physics.base import Axis
from simulacra.physics.jets import JetObservables
from simulacra.transforms.clustering import ANGLE, SHARE, cluster

LOG_ANGLE, LOG_SHARE = "split_log_angle", "split_log_share"
SMALL = 1e-12
"""Angles and shares below it count as such."""


class PartonShowerObservables(JetObservables):
    """See the module's docstring.

    Args:
        spec: The data set.
    """

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Per splitting ``(B, N - 1)`` with NaN for padding."""
        values = super().__call__(batch)
        mask = self.mask(batch)
        place = [self.columns[name] for name in ("etarel", "phirel", "ptrel")]
        filled = mask.any(1)
        trees = cluster(batch.x[filled][..., place], mask[filled])
        for name, column in ((LOG_ANGLE, ANGLE), (LOG_SHARE, SHARE)):
            found = trees.splitting[..., column].clamp_min(SMALL).log()
            whole = batch.x.new_full((len(batch), found.shape[1]), torch.nan)
            whole[filled] = torch.where(trees.mask, found, torch.nan).to(batch.x.dtype)
            values[name] = whole
        return values

    def axes(self) -> dict[str, Axis]:
        """All ranges come from the truth."""
        return {
            **super().axes(),
            LOG_ANGLE: Axis(r"$\ln$ angle of splittings", category="substructure"),
            LOG_SHARE: Axis(r"$\ln$ share of the softer part", category="substructure"),
        }
