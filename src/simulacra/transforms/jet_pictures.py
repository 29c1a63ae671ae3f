r"""Jets as clouds and, beside them, as pictures for convolutional networks.

Pixel :math:`(i, j)` of a picture holds :math:`z_{ij}`, the sum of the relative momenta of the particles with
:math:`\eta` in row :math:`i` and :math:`\phi` in column :math:`j` of a window around the axis, as

.. math:: y_{ij} = \frac{\ln(1 + z_{ij} / u)}{\ln(1 + 1 / u)}

with a unit :math:`u`, between 0 and about 1. Particles outside of the window are left out. The way back is
that of the clouds.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Latent, Spec, UserError
from simulacra.core.ranges import Count, Positive, Whole
from simulacra.transforms.cloud import CloudTransform, MakePoints

ANGLES = ("etarel", "phirel", "ptrel")
"""Features of the particles that a picture is made of."""


def pixel(angle: Tensor, pixels: int, half_width: float) -> tuple[Tensor, Tensor]:
    """Number of the pixel along one axis, and whether it exists; the upper edge of the window belongs to its
    last pixel.

    Args:
        angle: Distance from the axis of the jet [rad], any shape.
        pixels: Pixels along the axis.
        half_width: Half the window's width [rad].
    """
    number = torch.floor((angle.double() + half_width) * (pixels / (2 * half_width))).long()
    number = torch.where(angle.double() == half_width, pixels - 1, number)
    return number, (number >= 0) & (number < pixels)


def summed(
    x: Tensor, mask: Tensor, columns: Sequence[int], pixels: int, half_width: float
) -> tuple[Tensor, Tensor]:
    """Relative momenta in pixels ``(B, pixels^2)``, row by row, and which particles are inside the window
    ``(B, N)``.

    Args:
        x: Particles ``(B, N, F)``.
        mask: True for real ones ``(B, N)``.
        columns: Features that are eta, phi and relative momentum.
        pixels: Pixels along either axis.
        half_width: Half the window's width [rad].
    """
    eta, phi, momentum = (x[..., column] for column in columns)
    (row, inside_eta), (col, inside_phi) = (pixel(a, pixels, half_width) for a in (eta, phi))
    inside = inside_eta & inside_phi & mask
    flat = x.new_zeros(len(x), pixels**2)
    flat.scatter_add_(
        1, torch.where(inside, row * pixels + col, 0), torch.where(inside, momentum, 0.0)
    )
    return flat, inside


class JetPictures(CloudTransform):
    """As :class:`~simulacra.transforms.cloud.CloudTransform`, with a stage ``"picture"`` ``(B, 1, P, P)``.

    Args:
        spec: Jets with the features etarel, phirel and ptrel.
        given: Names of the given fields.
        points, leading: As of the base class.
        pixels: Pixels along either axis.
        half_width: Half the window's width, e.g. the jet radius [rad].
        unit: Relative momentum at which the logarithm sets in.

    Raises:
        UserError: If a feature is missing.
    """

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str],
        points: MakePoints,
        leading: Whole,
        pixels: Count,
        half_width: Positive,
        unit: Positive,
    ) -> None:
        super().__init__(spec, given, points, leading)
        names = [field.name for field in spec.features]
        if not set(ANGLES) <= set(names):
            raise UserError(f"pictures of jets need the features {', '.join(ANGLES)}, got {names}")
        self.columns = [names.index(name) for name in ANGLES]
        self.pixels, self.half_width, self.unit = pixels, half_width, unit

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """Normalise; the picture is that of the particles as they are."""
        latent = super().forward(batch, generator)
        assert batch.mask is not None
        flat, _ = summed(batch.x, batch.mask, self.columns, self.pixels, self.half_width)
        scale = torch.log1p(flat.new_tensor(1 / self.unit))
        picture = (torch.log1p(flat / self.unit) / scale).view(-1, 1, self.pixels, self.pixels)
        return Latent({**latent.x, "picture": picture}, latent.cond, latent.mask, latent.weight)
