r"""PixelCNN of showers: levels of cells one after the other, with an exact likelihood.

Generates layer energies by a flow, then the cells of one layer after the other
(:mod:`simulacra.dynamics.pixels`) by a gated network (:mod:`simulacra.nn.gated_pixels`) with a softmax over
levels, in every gate given the conditions and the energies of all layers.
Conditions: the incident energy and whatever else the data set has. Representation: layers of any shapes or
grids; cells as levels (:mod:`simulacra.transforms.shower_levels`).
References: van den Oord et al., arXiv:1606.05328 and arXiv:1601.06759, of natural images; no published
network of this kind for calorimeters is known to us, so that all sizes are our own.

Note:
    A shower costs one small step per cell, many of them in a row: thousands of cells are slow, though not a
    memory.
"""

from __future__ import annotations

from simulacra.core import Spec
from simulacra.models.showers.shower_model import ShowerModel

MOST_CELLS = 10_000
"""Cells that are drawn one after the other, at most."""


class PixelCNN(ShowerModel):
    """See the module's docstring and :class:`~simulacra.models.showers.shower_model.ShowerModel`."""

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """What a shower model does, of not too many cells."""
        reason = super().accepts(spec)
        if reason is None and spec.n_voxels > MOST_CELLS:
            return (
                f"it draws one cell after the other, and {spec.n_voxels:,} cells are more than "
                f"{MOST_CELLS:,}: take a model that draws layers or all cells at once"
            )
        return reason
