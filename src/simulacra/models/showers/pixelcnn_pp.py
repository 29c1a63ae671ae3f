r"""PixelCNN++ of showers: levels of cells as a mixture of few distributions, with an exact likelihood.

Generates what :mod:`simulacra.models.showers.pixelcnn` generates, in the same order. A cell is empty or not,
and its level, if not, follows a discretised mixture of logistic distributions
(:mod:`simulacra.dynamics.level_heads`), so that the levels may be many; the network has residual blocks
(:mod:`simulacra.nn.residual_pixels`).
Conditions and representation: those of PixelCNN.
Reference: Salimans et al., arXiv:1701.05517, of natural images; sizes are our own.

Note:
    Differs from the reference, beside what differs in the network: the atom at an empty cell.
"""

from __future__ import annotations

from simulacra.models.showers.pixelcnn import PixelCNN


class PixelCNNPP(PixelCNN):
    """See the module's docstring and :class:`~simulacra.models.showers.pixelcnn.PixelCNN`."""
