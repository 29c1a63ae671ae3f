r"""Point clouds of identified particles: momenta, types, charges and impact parameters.

To :mod:`simulacra.transforms.cloud` this adds: impact parameters go through :math:`\mathrm{arsinh}(d / k)`,
as their tails reach over decades on both sides; on the way back each particle has exactly one type, the flag
of largest value; charged types have the charge of the nearest sign, neutral ones have no charge, no impact
parameters and no errors of them.

Reference: Birk, Buhmann, Ewen, Kasieczka, Shih 2023, arXiv:2312.00123 (features; argmax of types).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import Field
from simulacra.core.ranges import Positive
from simulacra.transforms.cloud import CloudStandardise, masked

TYPES = ("isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon")
CHARGED = ("isChargedHadron", "isElectron", "isMuon")
IMPACT = ("d0", "dz")
TRACK = ("d0", "d0err", "dz", "dzerr")
CHARGE = "charge"


def is_identified(features: Sequence[Field]) -> bool:
    """Whether points have types, a charge and impact parameters."""
    return {*TYPES, *TRACK, CHARGE} <= {field.name for field in features}


class ParticleStandardise(CloudStandardise):
    """Masked standardisation with arsinh for impact parameters; on the way back each particle has one type.

    Exact for particles of exactly one type with the charge and the track of that type.

    Args:
        features: The columns.
        scale: Standard deviation of the result.
        knee: See :class:`~simulacra.transforms.cloud.CloudStandardise`.
        resolution: ``k``, where the map of an impact parameter turns logarithmic [mm].
    """

    heavy: Tensor

    def __init__(
        self,
        features: Sequence[Field],
        scale: Positive = 1.0,
        knee: Positive = 3.0,
        resolution: Positive = 0.1,
    ) -> None:
        super().__init__(features, scale, knee)
        self.resolution = resolution
        names = [field.name for field in features]
        self.types = [names.index(name) for name in TYPES]
        self.charged = [TYPES.index(name) for name in CHARGED]
        self.track = [names.index(name) for name in TRACK]
        self.charge = names.index(CHARGE)
        heavy = torch.tensor([name in IMPACT for name in names])
        self.register_buffer("heavy", heavy, persistent=False)

    def inverse(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalised to physical points, each of one type."""
        value = y / self.scale * self.std + self.mean
        kind = value[..., self.types].argmax(-1, keepdim=True)
        flags = torch.zeros_like(value[..., self.types]).scatter_(-1, kind, 1.0)
        charged = flags[..., self.charged].sum(-1, keepdim=True)
        sign = torch.where(value[..., self.charge, None] < 0, -1.0, 1.0)
        x = super().inverse(y, mask)
        x = torch.where(self.heavy, torch.where(self.heavy, x, 0.0).sinh() * self.resolution, x)
        x[..., self.types] = flags
        x[..., self.charge, None] = sign * charged
        x[..., self.track] = x[..., self.track] * charged
        return masked(x, mask)

    def _bend(self, x: Tensor) -> Tensor:
        return torch.where(self.heavy, (x / self.resolution).asinh(), super()._bend(x))
