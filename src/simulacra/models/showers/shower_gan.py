"""What adversarial networks of showers share, whatever their generator and critic look like.

Cells of all layers come in one pass of the generator; empty cells are zeros of its last activation.
Numbers of an event that are not given, such as the energy outside of the layers, are drawn afterwards from
a density, given conditions and layer energies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from simulacra.core import Conditions, Field, Geometry, Latent, Layout, Spec
from simulacra.dynamics.density import MakeDensity, Rows
from simulacra.models.two_player import MakePlayer, Rules, TwoPlayer
from simulacra.nn.latent_vectors import Columns
from simulacra.training.generative import Objective
from simulacra.training.optim import Optim
from simulacra.transforms.base import Batches
from simulacra.transforms.linear import PositiveShowers

MakeShowers = Callable[[Spec, Sequence[Field]], PositiveShowers]
"""From the data set and the given fields."""


class ShowerGAN(TwoPlayer):
    """See the module's docstring.

    Args:
        spec: See :class:`TwoPlayer`, as all but the two that say more.
        given: What is given.
        transform: The transform.
        net: The generator.
        critic: The critic.
        rules: How they learn from each other.
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
        transform: MakeShowers,
        net: MakePlayer,
        critic: MakePlayer,
        rules: Rules,
        numbers: MakeDensity,
        optim: Optim,
        critic_optim: Optim,
    ) -> None:
        super().__init__(
            spec=spec, given=given, transform=transform, net=net, critic=critic, rules=rules,
            optim=optim, critic_optim=critic_optim,
        )  # fmt: skip
        count, context = self.transform.numbers, self.columns.width + 1 + len(self.geometry)
        self.numbers = numbers(Layout(count, context)) if count else None

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Layers and grids with a geometry and an incident energy."""
        if spec.kind not in ("layers", "grid") or spec.geometry is None:
            return f"it generates cells of layers, and {spec.name} has events of kind {spec.kind}"
        if spec.roles.get("energy") not in spec.conditions:
            return "it needs a condition that is the incident energy"
        return None

    @property
    def geometry(self) -> Geometry:
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
        return torch.cat([latent.cond, torch.log1p(self.geometry.layer_sums(cells) / floor)], dim=1)

    @torch.no_grad()
    def _rows(self, batches: Batches) -> Iterator[Rows]:
        for batch in batches:
            latent = self.encode(batch.to(self.device))
            yield latent.x["energies"], self._context(latent), latent.weight
