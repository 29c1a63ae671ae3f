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

from simulacra.core import Batch, Conditions, Field, Latent, Spec
from simulacra.transforms.cloud import CloudStandardise, CloudTransform

TYPES = ("isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon")
CHARGED = ("isChargedHadron", "isElectron", "isMuon")
IMPACT = ("d0", "dz")
TRACK = ("d0", "d0err", "dz", "dzerr")
CHARGE = "charge"


def is_identified(features: Sequence[Field]) -> bool:
    """Whether points have types, a charge and impact parameters."""
    return {*TYPES, *TRACK, CHARGE} <= {field.name for field in features}


class ParticleStandardise(CloudStandardise):
    """Masked standardisation with arsinh for impact parameters.

    Args:
        features: The columns.
        scale: Standard deviation of the result.
        knee: See :class:`~simulacra.transforms.cloud.CloudStandardise`.
        resolution: ``k``, where the map of an impact parameter turns logarithmic [mm].
    """

    heavy: Tensor

    def __init__(
        self, features: Sequence[Field], scale: float, knee: float, resolution: float
    ) -> None:
        super().__init__(features, scale, knee)
        self.resolution = resolution
        heavy = torch.tensor([field.name in IMPACT for field in features])
        self.register_buffer("heavy", heavy, persistent=False)

    def inverse(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalised to physical points."""
        x = super().inverse(y, mask)
        bent = torch.where(self.heavy, x, 0.0)
        return torch.where(self.heavy, bent.sinh() * self.resolution, x)

    def _bend(self, x: Tensor) -> Tensor:
        return torch.where(self.heavy, (x / self.resolution).asinh(), super()._bend(x))


class ParticleTransform(CloudTransform):
    """See the module's docstring.

    Args:
        spec: Clouds of identified particles.
        given: Names of the given fields.
        count: Name of the event field that repeats the number of points, where there is one.
        scale: Standard deviation of the normalised points.
        knee: Where the map of a size turns linear, in units of its mean.
        leading: Number of leading features with centres and widths.
        calibrate: Whether the inverse gives the points the moments in ``"event"``.
        resolution: Where the map of an impact parameter turns logarithmic [mm].
    """

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str],
        count: str | None,
        scale: float = 1.0,
        knee: float = 3.0,
        leading: int = 2,
        calibrate: bool = False,
        resolution: float = 0.1,
    ) -> None:
        super().__init__(spec, given, count, scale, knee, leading, calibrate)
        names = [field.name for field in spec.features]
        self.points = ParticleStandardise(spec.features, scale, knee, resolution)
        self.types = [names.index(name) for name in TYPES]
        self.charged = [TYPES.index(name) for name in CHARGED]
        self.track = [names.index(name) for name in TRACK]
        self.charge = names.index(CHARGE)

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """Physical clouds, each particle of one type."""
        batch = super().inverse(latent, cond, generator)
        value = latent.x["points"] / self.points.scale * self.points.std + self.points.mean
        kind = value[..., self.types].argmax(-1, keepdim=True)
        flags = torch.zeros_like(value[..., self.types]).scatter_(-1, kind, 1.0)
        charged = flags[..., self.charged].sum(-1, keepdim=True)
        sign = torch.where(value[..., self.charge, None] < 0, -1.0, 1.0)
        x = batch.x.clone()
        x[..., self.types] = flags
        x[..., self.charge, None] = sign * charged
        x[..., self.track] = x[..., self.track] * charged
        if batch.mask is not None:
            x = torch.where(batch.mask[..., None], x, 0.0)
        return Batch(x, batch.cond, batch.event, batch.mask, batch.weight)
