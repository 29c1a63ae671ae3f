"""CaloGAN: adversarial networks of showers in a few layers of images that see each other.

Generates: cells of all layers in one pass. Numbers of an event that are not given, such as the energy outside
    of the layers, are drawn afterwards from a density, given conditions and layer energies.
Conditions: the incident energy; the class of the particle where the data set has several (then the critic is
    asked for it, too); anything else, such as a point of impact, stands beside the noise and is seen by the
    critic.
Representation: layers of any rasters; empty cells are zeros of a last ReLU.
Reference: Paganini, de Oliveira, Nachman 2017, arXiv:1705.02355 and arXiv:1712.10321; code hep-lbdl/CaloGAN,
    commit 1adb7ab. For layers of 3 x 96, 12 x 12 and 12 x 6 cells the generator has 29,726,280 parameters, as
    there.

Note:
    Differs from the reference: the critic takes one step on the sum of its losses on true and on generated
    showers, not one on each; generated showers are asked for the conditions of the true ones of the batch; an
    image is carried to the next layer by the overlap of their cells, which for the reference's rasters is its
    pooling and repeating. The reference has no further conditions. Options that are off at published size:
    numbers of cells relative to the incident energy or logarithmic, conditions beside the noise instead of
    multiplied with it, layers before the images, hits with a gradient, and logarithms of layer energies for
    the critic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from simulacra.core import Conditions, Field, Geometry, Latent, Layout, Spec
from simulacra.core.ranges import NotNegative
from simulacra.dynamics.density import MakeDensity, Rows
from simulacra.models.two_player import MakePlayer, Rules, TwoPlayer
from simulacra.nn.latent_vectors import Columns
from simulacra.nn.verdicts import Verdict
from simulacra.training.generative import Objective
from simulacra.training.optim import Optim
from simulacra.transforms.base import Batches
from simulacra.transforms.linear import PositiveShowers


class CaloGAN(TwoPlayer):
    """See the module's docstring.

    Args:
        spec: See :class:`TwoPlayer`, as all but the two that say more.
        given: What is given.
        transform: The transform.
        net: The generator.
        critic: The critic.
        rules: How they learn from each other.
        balance: Weight of the mean absolute difference of visible and incident energy in the generator's loss
            [1/GeV].
        numbers: Makes the density of the event's numbers that are not given.
        optim: What moves the generator, and the density if it has parameters.
        critic_optim: What moves the critic.
    """

    transform: PositiveShowers
    stage = "cells"

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: Callable[[Spec, Sequence[Field]], PositiveShowers],
        net: MakePlayer,
        critic: MakePlayer,
        rules: Rules,
        balance: NotNegative,
        numbers: MakeDensity,
        optim: Optim,
        critic_optim: Optim,
    ) -> None:
        super().__init__(
            spec=spec, given=given, transform=transform, net=net, critic=critic, rules=rules,
            optim=optim, critic_optim=critic_optim,
        )  # fmt: skip
        self.balance = balance
        count, context = self.transform.numbers, self.columns.width + 1 + len(self.canvas)
        self.numbers = numbers(Layout(count, context)) if count else None

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Layers and grids with a geometry and an incident energy."""
        if spec.kind not in ("layers", "grid") or spec.geometry is None:
            return f"it generates images of layers, and {spec.name} has events of kind {spec.kind}"
        if spec.roles.get("energy") not in spec.conditions:
            return "it needs a condition that is the incident energy"
        return None

    @property
    def canvas(self) -> Geometry:
        """The layers."""
        assert self.spec.geometry is not None
        return self.spec.geometry

    def described(self) -> Columns:
        """What the columns of the conditions are, the incident energy among them."""
        return Columns.of(self.given_fields, self.spec.by_role("energy"))

    def fit_transform(self, batches: Batches) -> Self:
        """Statistics of the transform, and the start of the density of the numbers."""
        super().fit_transform(batches)
        if self.numbers is not None:
            with self.evaluating():
                self.numbers.fit(self._rows(batches))
        return self

    def objectives(self) -> dict[str, Objective]:
        """Critic, generator and the density of the numbers, where it has parameters."""
        found = super().objectives()
        parameters = [] if self.numbers is None else list(self.numbers.parameters())
        if parameters:
            found["numbers"] = Objective(self.numbers_loss, parameters, self.optim)
        return found

    def used_parameters(self) -> list[nn.Parameter]:
        """Those of the generator and of the density of the numbers."""
        numbers = [] if self.numbers is None else list(self.numbers.parameters())
        return [*super().used_parameters(), *numbers]

    def verdict(self, events: Tensor, cond: Tensor | None) -> Verdict:
        """See :meth:`TwoPlayer.verdict`; the critic sees energies, too."""
        assert cond is not None
        cells = self.transform.cell_energies(events, cond)
        return self.critic(events, cells, self.transform.incident_energy(cond), cond)

    def terms(self, events: Tensor, latent: Latent) -> dict[str, Tensor]:
        """How far the visible energy is from the incident one."""
        if not self.balance:
            return {}
        assert latent.cond is not None
        visible = self.transform.cell_energies(events, latent.cond).sum(1, keepdim=True)
        gap = (visible - self.transform.incident_energy(latent.cond)).abs()
        return {"energy": self.balance * latent.mean(gap)}

    def numbers_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """What the density of the numbers minimises."""
        assert self.numbers is not None
        numbers, context = latent.x["energies"], self._context(latent)
        return {"loss": self.numbers.loss(numbers, context, latent.weight, generator)}

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """Cells, then the numbers of the event."""
        made = super().generate(cond, generator)
        cells = made.x[self.stage]
        numbers = cells.new_zeros(cond.n, 0)
        if self.numbers is not None:
            numbers = self.numbers.sample(cond.n, self._context(made), generator)
        return Latent({**made.x, "energies": numbers}, made.cond)

    def _context(self, latent: Latent) -> Tensor:
        """What the numbers of an event depend on: conditions and logarithms of layer energies."""
        assert latent.cond is not None
        cells = self.transform.cell_energies(latent.x[self.stage], latent.cond)
        floor = self.transform.floor * self.transform.to_gev
        return torch.cat([latent.cond, torch.log1p(self.canvas.layer_sums(cells) / floor)], dim=1)

    @torch.no_grad()
    def _rows(self, batches: Batches) -> Iterator[Rows]:
        for batch in batches:
            latent = self.encode(batch.to(self.device))
            yield latent.x["energies"], self._context(latent), latent.weight
