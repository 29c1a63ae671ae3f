"""CaloScore: showers by score matching along a stochastic differential equation.

Generates: cell energies of ragged layers or regular grids, all cells of a shower at once, as logits of their
    share in the incident energy; event numbers such as an overflow, where a data set has them, come first and
    from a network of their own.
Conditions: the incident energy and any further condition; logarithms cover the range that the data set
    declares.
Representation: grids and layers. Layers that are all alike are a volume, others one line of cells.
Reference: Mikuni, Nachman 2022, arXiv:2206.11898; paths and solver after Song et al. 2020, arXiv:2011.13456.

Note:
    Differences from the paper: cells stay on the polar grid, closed along the angle, where the authors sum
    them into square bins of a Cartesian one, from which cells cannot be told again; a line of cells is not
    padded (368 cells are joined as 384 with 16 empty ones would be); maps of the coordinates stand beside the
    cells; the energy of a condition ends where the data end, not at 100 GeV; data set 1 has no layer energies
    beside its cells. The step of the corrector is that of
    :class:`~simulacra.dynamics.samplers.PredictorCorrector`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core import Latent, refuse_weights
from simulacra.models.showers.shower_model import ShowerModel


class CaloScore(ShowerModel):
    """Cells, and what a data set has beside them, by score matching."""

    def _loss(self, latent: Latent, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Without event weights, which the statistics of a batch do not count."""
        refuse_weights(latent.weight, "the batch normalisation of CaloScore")
        return super()._loss(latent, generator)
