r"""Showers on regular grids for networks whose last activation makes exact zeros.

Both maps keep zero at zero, so that empty cells stay empty and no noise or logit is needed:
:class:`LinearScale` :math:`y = x / u` and :class:`LogScale` :math:`y = \ln(1 + x / u)`, for cell contents
:math:`x \ge 0`; a network's small negative values come back as zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Spec, UserError
from simulacra.core.units import factor
from simulacra.transforms.base import Batches, Transform
from simulacra.transforms.image import moments
from simulacra.transforms.maps.base import Map


class LinearScale(Map):
    """``y = x / unit``.

    Args:
        unit: Content that is mapped to 1 [the data set's unit].
    """

    def __init__(self, unit: float = 1.0) -> None:
        super().__init__()
        if unit <= 0:
            raise UserError(f"a scale must be positive, got {unit}")
        self.unit = unit

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Divide by the unit."""
        return x / self.unit

    def inverse(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Multiply by the unit; negative values become 0."""
        return y.clamp_min(0) * self.unit


class LogScale(Map):
    """``y = ln(1 + x / unit)``: linear well below ``unit``, logarithmic well above.

    Args:
        unit: Content at which the map turns from linear to logarithmic [the data set's unit].
        ceiling: Largest content that the inverse returns, in units of the largest content seen in the fit.
    """

    largest: Tensor

    def __init__(self, unit: float, ceiling: float = 1.5) -> None:
        super().__init__()
        if unit <= 0 or ceiling < 1:
            raise UserError(
                f"a logarithmic scale needs unit > 0 and ceiling >= 1, got {unit} and {ceiling}"
            )
        self.unit = unit
        self.ceiling = ceiling
        self.register_buffer("largest", torch.tensor(float("inf")))

    def fit(self, x: Tensor, mask: Tensor | None = None) -> None:
        """Remember the largest content."""
        self.largest.copy_(x.max())

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logarithm of contents in units of ``unit``."""
        return torch.log1p(x / self.unit)

    def inverse(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Contents; negative values become 0."""
        top = torch.log1p(self.ceiling * self.largest / self.unit)
        return torch.expm1(torch.minimum(y.clamp_min(0), top)) * self.unit


SQUARINGS = 5
"""Powers 2, 4, 8 ... of soft hits that are summed: they respond to ever larger contents."""


class GridScaling(Transform):
    """Showers on a regular grid as one-channel volumes, and their sums along the axes.

    The latent stages are ``"shower"`` ``(B, 1, L, R, K)`` and ``"energy"``, the incident energy in GeV
    ``(B, 1)``.

    Args:
        spec: Grid data set with shape ``(L, R, K)`` and an incident energy.
        given: Fields that the generator is given.
        logarithmic: Whether cells are ``ln(1 + x / hit)`` with the public cut as ``hit``, else in MeV.
        profiles: Whether a critic is shown the sums along the axes, where ``hit`` counts as half a hit.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, spec: Spec, given: Sequence[Field], logarithmic: bool, profiles: bool
    ) -> None:
        super().__init__(given)
        self.shape = spec.shape
        self.energy = spec.by_role("energy")
        self.hit = spec.cut or spec.threshold or 1.0
        self.unit = factor("MeV", spec.unit)
        self.scale: Map = LogScale(self.hit) if logarithmic else LinearScale(self.unit)
        self.shown = self.profile_width if profiles else 0
        self.to_gev = factor(self.energy.unit, "GeV")
        self.register_buffer("mean", torch.zeros(self.profile_width))
        self.register_buffer("std", torch.ones(self.profile_width))

    @property
    def profile_width(self) -> int:
        """Columns of :meth:`profiles`."""
        return 2 * (1 + sum(self.shape)) + SQUARINGS

    def fit_statistics(self, batches: Batches) -> None:
        """Range of the contents; mean and standard deviation of the sums along the axes."""
        self.scale.fit(torch.stack([batch.x.max() for batch in batches]))
        mean, std = moments(
            self._sums(batch.x.float(), self.incident(batch.cond)) for batch in batches
        )
        self.mean.copy_(mean)
        self.std.copy_(std)

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """Scale cells and conditions."""
        given = batch.conditions(self.conditions.names)
        stages = {
            "shower": self.scale(batch.x.float())[:, None],
            "energy": self.incident(batch.cond),
        }
        return Latent(stages, self.condition(given))

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """Showers in the data set's unit."""
        return Batch(self.scale.inverse(latent.x["shower"][:, 0]), cond.values)

    def in_mev(self, shower: Tensor) -> Tensor:
        """Energies of scaled volumes [MeV]; negative values become 0."""
        return self.scale.inverse(shower) / self.unit

    def emptied(self, shower: Tensor) -> Tensor:
        """Scaled volumes without what lies below ``hit``."""
        return torch.where(shower < self.scale(shower.new_tensor(self.hit)), 0.0, shower)

    def incident(self, values: Mapping[str, Tensor]) -> Tensor:
        """Incident energies [GeV] ``(B, 1)`` of conditions."""
        return values[self.energy.name].float() * self.to_gev

    def response(self, visible: Tensor, energy: Tensor) -> Tensor:
        """Visible per incident energy on the scale of training events.

        Args:
            visible: Sums of linearly scaled volumes ``(B, 1)``.
            energy: Incident energies [GeV] ``(B, 1)``.
        """
        return (self.scale.inverse(visible) / energy - self.mean[0]) / self.std[0]

    def visible(self, response: Tensor, energy: Tensor) -> Tensor:
        """Undo :meth:`response`; energies below 0 become 0."""
        return self.scale(((response * self.std[0] + self.mean[0]) * energy).clamp_min(0))

    def show(self, shower: Tensor, energy: Tensor) -> list[Tensor]:
        """What a critic is shown beside volumes and conditions: :meth:`profiles` or nothing."""
        return [self.profiles(shower, energy)] if self.shown else []

    def profiles(self, shower: Tensor, energy: Tensor) -> Tensor:
        """Standardised sums over planes of energy and of soft hits, differentiable.

        Args:
            shower: Scaled volumes ``(B, 1, L, R, K)``.
            energy: Incident energies [GeV] ``(B, 1)``.

        Returns:
            ``(B, 2 (1 + L + R + K))``: energy per incident energy in total and per layer, row and column,
            then the same of hits ``x / (x + hit)``.
        """
        return (self._sums(self.scale.inverse(shower[:, 0]), energy) - self.mean) / self.std

    def _sums(self, x: Tensor, energy: Tensor) -> Tensor:
        parts = []
        hits = x / (x + self.hit)
        for cells in (x, hits):
            plane = cells.sum(1)  # (B, R, K)
            layers = cells.flatten(2).sum(2)
            parts += [layers.sum(1, keepdim=True), layers, plane.sum(2), plane.sum(1)]
        half = len(parts) // 2
        spectrum, power = [], hits.flatten(1)
        for _ in range(SQUARINGS):
            power = power * power
            spectrum.append(power.sum(1, keepdim=True))
        return torch.cat([part / energy for part in parts[:half]] + parts[half:] + spectrum, dim=1)


LARGEST_FACTOR = 10.0
"""What cells are multiplied by at most, so that their sum is the wanted one."""


class ToldVolumes(GridScaling):
    """:class:`GridScaling` for networks that know of energies: after the columns of all conditions comes one
    more, the incident energy over the largest one.

    Args:
        spec: See :class:`GridScaling`, as all others.
        given: Fields that the generator is given.
        logarithmic: The scale of cells.
        profiles: Whether a critic is shown sums.
    """

    def __init__(
        self, spec: Spec, given: Sequence[Field], logarithmic: bool, profiles: bool
    ) -> None:
        super().__init__(spec, given, logarithmic, profiles)
        self.largest = float(self.energy.high or 1.0) * self.to_gev

    @staticmethod
    def unfit(spec: Spec) -> str | None:
        """Why showers cannot be volumes with an incident energy, or None."""
        if spec.kind != "grid" or len(spec.shape) != 3:
            return f"it needs a regular grid (L, rows, cols), and this is a {spec.kind} of shape {spec.shape}"
        if spec.roles.get("energy") not in spec.conditions:
            return "it needs a condition that is the incident energy"
        return None

    def condition(self, cond: Conditions) -> Tensor | None:
        """Given fields and, in the last column, the incident energy over the largest ``(n, C + 1)``."""
        scaled = super().condition(cond)
        assert scaled is not None
        energy = cond.values[self.energy.name].to(scaled) * self.to_gev / self.largest
        return torch.cat([scaled, energy], dim=1)

    def incident_energy(self, cond: Tensor) -> Tensor:
        """Incident energies [GeV] ``(B, 1)`` of scaled conditions ``(B, C + 1)``."""
        return cond[:, -1:] * self.largest

    def known(self, shower: Tensor, cond: Tensor) -> Tensor:
        """What a critic knows beside volumes: conditions and what it is shown ``(B, C + shown)``."""
        shown = self.show(shower, self.incident_energy(cond))
        return torch.cat([cond[:, :-1], *shown], dim=1)

    def rescaled(self, shower: Tensor, r: Tensor, cond: Tensor) -> Tensor:
        """Volumes whose visible cells are multiplied by one factor, so that their sum per incident energy is
        ``mu exp(r sigma / mu)`` with mean and standard deviation of the training events; what is not visible
        then is empty. No factor is beyond :data:`LARGEST_FACTOR`, so that volumes that are nearly empty grow
        by their generator.

        Args:
            shower: Scaled volumes ``(B, 1, L, R, K)``.
            r: Numbers ``(B, 1)``.
            cond: Scaled conditions ``(B, C + 1)``.
        """
        x = self.seen(self.scale.inverse(shower))
        wanted = self.incident_energy(cond) * self.mean[0] * (r * self._relative_width).exp()
        factors = wanted / torch.maximum(x.flatten(1).sum(1, keepdim=True), wanted / LARGEST_FACTOR)
        return self.scale(self.seen(x * factors[..., None, None, None]))

    def log_response(self, shower: Tensor, cond: Tensor) -> Tensor:
        """The numbers ``r`` ``(B, 1)`` of volumes, see :meth:`rescaled`; minus infinity of an empty one."""
        x = self.seen(self.scale.inverse(shower)).flatten(1).sum(1, keepdim=True)
        return (x / (self.incident_energy(cond) * self.mean[0])).log() / self._relative_width

    @property
    def _relative_width(self) -> Tensor:
        return self.std[0] / self.mean[0].abs().clamp_min(1e-12)

    def seen(self, x: Tensor) -> Tensor:
        """Contents [the data set's unit], 0 where they are not visible: all are."""
        return x


class VisibleVolumes(ToldVolumes):
    """:class:`ToldVolumes` in which cells below the public cut are empty, true as well as generated ones, so
    that a generator cannot put energy where no score looks.

    Args:
        spec: See :class:`GridScaling`, as all others.
        given: Fields that the generator is given.
        logarithmic: The scale of cells.
        profiles: Whether a critic is shown sums.
    """

    exact = False

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """Scale visible cells, and conditions."""
        return super().forward(replace(batch, x=self.seen(batch.x)), generator)

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """Visible cells of showers in the data set's unit."""
        batch = super().inverse(latent, cond, generator)
        return replace(batch, x=self.seen(batch.x))

    def seen(self, x: Tensor) -> Tensor:
        """See :meth:`ToldVolumes.seen`; gradients pass as if all were visible, so that an empty cell can
        become a hit.
        """
        return x + (torch.where(x < self.hit, 0.0, x) - x).detach()

    def _sums(self, x: Tensor, energy: Tensor) -> Tensor:
        return super()._sums(self.seen(x), energy)
