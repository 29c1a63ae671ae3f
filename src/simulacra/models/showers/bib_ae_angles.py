r"""BIB-AE of showers at angles: a density draws the encoder's numbers together with the visible energy.

Generates cell energies on ``(L, rows, cols)`` grids, given incident energy and angles.
Conditions: whatever the data set is conditioned on.
Representation: regular grids with an incident energy.
Reference: Diefenbacher et al., arXiv:2303.18150. Code FLC-QU-hep/new_angles. At 30 x 60 x 30 cells and two
    conditions the auto-encoder has 12,258,170 parameters and the critic 10,494,545, published are 12,322,220
    and 10,648,693.

The visible energy ``s`` of cells above the cut stands beside the numbers as :math:`s / E`, standardised. The
post-processor is told ``s`` of the true shower in training and the one that was drawn in sampling, and what
it makes is rescaled to that, so that the response is as good as the density, whatever the decoder does.

Note:
    Differs from the reference: the numbers of the density have mean 0 and width 1 of the training events
    instead of fixed scales, conditions enter scaled to [-1, 1]; and cells that would fall below the cut when
    rescaled are emptied first, so that the sum holds and no cell lies below the cut.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from simulacra.core import Conditions, Latent
from simulacra.models.showers.bib_ae import BIBAE, known


class BIBAEAngles(BIBAE):
    """See the module's docstring; the arguments are those of the base class."""

    beside: ClassVar[int] = 1

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """Numbers and visible energy, what is decoded and post-processed, rescaled."""
        scaled = known(self.transform.condition(cond))
        drawn = self.latent.sample(cond.n, scaled, generator)
        z, response = drawn.split([self.coder.encoded, 1], dim=1)
        visible = self.transform.visible(response, self.transform.incident(cond.values))
        shower = self.coder.decode(self.coder.filled(z, generator), scaled)
        made = self.transform.emptied(self.post(shower, _beside(scaled, visible)))
        return Latent({"shower": self.rescaled(made, visible)}, scaled)

    def rescaled(self, shower: Tensor, visible: Tensor) -> Tensor:
        """Volumes ``(B, 1, *)`` without cells below the cut and with visible energies ``(B, 1)``; empty ones
        stay as they are.
        """
        factor = _to(visible, shower)
        kept = torch.where(self.transform.emptied(factor * shower) == 0, 0.0, shower)
        return torch.maximum(factor, _to(visible, kept)) * kept

    def numbers(self, z: Tensor, latent: Latent) -> Tensor:
        """The encoder's numbers, then the response."""
        return torch.cat([z, self.transform.response(self.seen(latent), latent.x["energy"])], dim=1)

    def told(self, latent: Latent) -> Tensor:
        """Conditions and the visible energy."""
        return _beside(known(latent.cond), self.seen(latent))

    def seen(self, latent: Latent) -> Tensor:
        """Visible energies ``(B, 1)`` of true showers."""
        return self.transform.emptied(latent.x["shower"]).flatten(1).sum(1, keepdim=True)


def _beside(scaled: Tensor, visible: Tensor) -> Tensor:
    return torch.cat([scaled, 1e-3 * visible], dim=1)  # of order 1, as the conditions are


def _to(visible: Tensor, shower: Tensor) -> Tensor:
    """Factors ``(B, 1, 1, 1, 1)`` to visible energies, 1 for an empty shower; NaN stays NaN."""
    total = shower.flatten(1).sum(1, keepdim=True)
    empty = total == 0
    factor = torch.where(empty, 1.0 + 0.0 * visible, visible / torch.where(empty, 1.0, total))
    return factor[..., None, None, None]
