r"""Tables of four-momenta as the three-momenta of particles of known masses.

A row becomes the coordinates of its momenta (:mod:`simulacra.transforms.momentum_charts`), each
standardised. The energies follow,

.. math:: E = \sqrt{m^2 + \vec p^2},

so that every generated particle is on its mass shell. A mass that differs from event to event is replaced by
its median in training, which is what is lost. Masses :math:`M` of resonances are told as :math:`(M - \tilde
M) / \Gamma` with their median and the distance of their quartiles, which for a Breit-Wigner curve is its
full width at half maximum.

Reference: Butter, Plehn, Winterhalder, arXiv:1907.03764, section 2.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, IncompatibleError, Latent, Spec
from simulacra.core.momenta import mass
from simulacra.transforms.base import Batches, Transform
from simulacra.transforms.maps.elementwise import Moments, Standardise
from simulacra.transforms.maps.whitening import whitening
from simulacra.transforms.momentum_charts import Chart, Shown

QUARTILES = (0.25, 0.5, 0.75)


class FourMomenta(Transform):
    """See the module's docstring. A latent event has the one stage ``momenta``, ``(B, 3 n)``.

    Args:
        spec: A table whose features are the four-momenta of its particles and nothing else.
        given: Fields that the module is given.
        chart: Coordinates of a momentum.
        shown: What a critic is shown beside them.
        whiten: Whether coordinates are made independent as far as their covariance tells, which momenta that
            balance each other are not.

    Raises:
        IncompatibleError: If the table holds anything else.
    """

    exact = False
    columns: Tensor
    places: Tensor
    parts: Tensor
    masses: Tensor
    centre: Tensor
    width: Tensor
    root: Tensor
    back: Tensor

    def __init__(
        self, spec: Spec, given: Sequence[Field], chart: Chart, shown: Shown, whiten: bool
    ) -> None:
        super().__init__(given)
        lacking = only_momenta(spec)
        if lacking is not None:
            raise IncompatibleError(f"{type(self).__name__} cannot take {spec.name}: {lacking}")
        self.chart, self.shown, self.whiten = chart, shown, whiten
        self.fixed = [particle.mass for particle in spec.particles]
        columns = torch.tensor([particle.columns for particle in spec.particles])  # (n, 4)
        self.register_buffer("columns", columns.flatten(), persistent=False)
        self.register_buffer("places", columns.flatten().argsort(), persistent=False)
        names = [particle.name for particle in spec.particles]
        parts = [
            [float(name in resonance.particles) for name in names] for resonance in spec.resonances
        ]
        self.register_buffer("parts", torch.tensor(parts).view(-1, len(names)), persistent=False)
        self.register_buffer("masses", torch.zeros(len(names)))
        self.register_buffer("centre", torch.zeros(len(parts)))
        self.register_buffer("width", torch.ones(len(parts)))
        self.made, self.seen = 3 * len(names), (3 + shown.width) * len(names)
        self.coordinates = Standardise(self.made)
        self.register_buffer("root", torch.eye(self.made))
        self.register_buffer("back", torch.eye(self.made))
        self.derived = Standardise(self.seen - self.made)

    def fit_statistics(self, batches: Batches) -> None:
        """Masses of particles and resonances, then all means and spreads."""
        momenta = torch.cat([self._momenta(batch) for batch in batches])  # (B, n, 4)
        found = mass(momenta.double()).median(0).values
        fixed = [
            value if m is None else m for m, value in zip(self.fixed, found.tolist(), strict=True)
        ]
        self.masses.copy_(torch.tensor(fixed))
        if len(self.parts):
            masses = self._resonances(momenta.double()).cpu().numpy()
            low, middle, high = torch.from_numpy(np.quantile(masses, QUARTILES, axis=0))
            self.centre.copy_(middle)
            self.width.copy_(torch.where(high > low, high - low, 1.0))
        for part, values in (
            (self.coordinates, self.chart.forward(momenta[..., 1:])),
            (self.derived, self.shown(momenta)),
        ):
            moments = Moments()
            moments.add(values.flatten(1))
            part.set(moments)
        if self.whiten:
            space = self.coordinates(self.chart.forward(momenta[..., 1:]).flatten(1))
            _, root, back = whitening(space.double())
            self.root.copy_(root)
            self.back.copy_(back)

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """See :meth:`~simulacra.transforms.base.Transform.forward`; nothing is drawn."""
        space = self.chart.forward(self._momenta(batch)[..., 1:])
        cond = self.condition(batch.conditions(self.conditions.names))
        return Latent({"momenta": self.coordinates(space.flatten(1)) @ self.root}, cond)

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """See :meth:`~simulacra.transforms.base.Transform.inverse`; nothing is drawn."""
        rows = self.four_momenta(latent.x["momenta"]).flatten(1)
        return Batch(rows[:, self.places], dict(cond.values))

    def four_momenta(self, z: Tensor) -> Tensor:
        """Four-momenta ``(B, n, 4)`` in the data's unit of latent events ``(B, 3 n)``, differentiable."""
        space = self.chart.inverse(self.coordinates.inverse(z @ self.back).unflatten(1, (-1, 3)))
        square = space.square().sum(-1) + self.masses.square()
        energy = torch.where(square > 0, square, 1e-30).sqrt()
        return torch.cat([energy[..., None], space], -1)

    def seen_by_critic(self, z: Tensor) -> Tensor:
        """Latent events and what follows from them ``(B, seen)``, differentiable."""
        return torch.cat([z, self.derived(self.shown(self.four_momenta(z)).flatten(1))], 1)

    def resonance_masses(self, z: Tensor) -> Tensor:
        """Masses ``(B, R)`` of the resonances in latent events, relative to their widths, differentiable."""
        return (self._resonances(self.four_momenta(z)) - self.centre) / self.width

    def _momenta(self, batch: Batch) -> Tensor:
        return batch.x[:, self.columns].unflatten(1, (-1, 4))

    def _resonances(self, momenta: Tensor) -> Tensor:
        return mass(torch.einsum("rn,bnc->brc", self.parts.to(momenta), momenta))


def only_momenta(spec: Spec) -> str | None:
    """What of a data set is no four-momentum, or None if it consists of nothing else."""
    if spec.kind != "table":
        return (
            f"it generates tables of four-momenta, and {spec.name} has events of kind {spec.kind}"
        )
    held = {column for particle in spec.particles for column in particle.columns}
    others = [field.name for i, field in enumerate(spec.features) if i not in held]
    if others or spec.event:
        names = ", ".join([*others, *(field.name for field in spec.event)][:3])
        return f"it generates four-momenta alone, and in {spec.name} no particle's is {names}"
    return None
