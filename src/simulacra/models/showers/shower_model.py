r"""Showers in two parts, how much energy each layer holds and where: what all families share but the parts.

.. math:: p(x | c) = p(u | c)\; p(v | E_1 \dots E_L, c),

a density of the layer energies and event numbers ``u`` and one of the cells ``v``, or one density of both; a
transform without numbers of the layers (:mod:`simulacra.transforms.whole_showers`) leaves to ``u`` the event
numbers alone, and where there are none the cells are all. The loss is the sum of theirs. Where both are
exact on a transform whose volume is known (:mod:`simulacra.transforms.showers`), it comes with the ``bits per
dimension`` of the logarithms of all energies, which no unit and no standardisation changes; empty entries
count with the density of their fill.

A family adds a card, and what it can represent, to parts that its configuration names.

Reference: CaloFlow, arXiv:2106.05285, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Layout, Spec, UserError, draws
from simulacra.dynamics.density import Density, MakeDensity, Rows
from simulacra.training.generative import GenerativeModule, Objective
from simulacra.training.optim import Optim
from simulacra.transforms.base import Batches
from simulacra.transforms.voxels import VoxelTransform

MakeTransform = Callable[[Spec, Sequence[Field]], VoxelTransform]
"""From the data set and the given fields."""
ROUNDS = 100
"""Rounds of new draws for vetoed energies; whatever is left then is scaled down to the limit."""


class ShowerModel(GenerativeModule):
    """See the module's docstring.

    Args:
        spec: Layers or grid with a geometry and an incident energy.
        given: Fields the generator is given (None: all conditions).
        transform: Makes the transform.
        energies: Makes the density of the layer energies and event numbers, where the transform has any
            (None: the other describes them too).
        cells: Makes the density of the cells.
        optim: What moves both.
    """

    transform: VoxelTransform
    energies: Density | None
    cells: Density

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTransform,
        energies: MakeDensity | None,
        cells: MakeDensity,
        optim: Optim,
    ) -> None:
        super().__init__(spec, given)
        self.transform = transform(spec, self.given_fields)
        layout = self.transform.layout
        numbers, width = self.transform.numbers, self.transform.conditions.width
        if numbers and energies is None:
            layout = Layout(numbers + layout.features, width)
        self.cells = cells(layout)
        self.energies = energies(Layout(numbers, width)) if numbers and energies else None
        self.optim = optim

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Layers and grids with a geometry and an incident energy."""
        if spec.kind not in ("layers", "grid"):
            return f"it generates cells in layers or on a grid, not events of kind '{spec.kind}'"
        if spec.geometry is None or len(spec.geometry) < 2:
            return "it needs a geometry of at least two layers"
        if spec.roles.get("energy") not in spec.conditions:
            return "it needs a condition that is the incident energy"
        return None

    def fit_transform(self, batches: Batches) -> Self:
        """Statistics of the transform, then the start of the densities from the first batch."""
        super().fit_transform(batches)
        batch = next(iter(batches)).to(self.device)
        latent = self.encode(batch, torch.Generator(device=self.device).manual_seed(0))
        with self.evaluating():
            if self.energies is not None:
                self.energies.fit([self.described(latent)["energies"]])
            self.cells.fit([self.described(latent)["cells"]])
        return self

    def objectives(self) -> dict[str, Objective]:
        """One: the sum of the losses of the densities."""
        return {"flow": Objective(self._loss, list(self.parameters()), self.optim)}

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """Layer energies, then cells."""
        scaled = self.transform.condition(cond)
        if self.energies is None:
            both = self.cells.sample(cond.n, scaled, generator)
            numbers = self.transform.numbers
            energies, cells = both.split([numbers, both.shape[1] - numbers], dim=-1)
            return Latent({"energies": energies, "cells": cells}, scaled)
        energies = self.draw_energies(cond, generator)
        layers = self.transform.context(energies, cond)
        context = self.context(Latent({} if layers is None else {"layers": layers}, scaled))
        return Latent(
            {"energies": energies, "cells": self.cells.sample(cond.n, context, generator)}, scaled
        )

    def draw_energies(self, cond: Conditions, generator: torch.Generator | None) -> Tensor:
        """Latent layer energies and event numbers ``(n, L + K)``, where a density of their own makes them;
        drawn again where the transform has a veto.
        """
        assert self.energies is not None
        energies = self.energies.sample(cond.n, self.transform.condition(cond), generator)
        bad = self.transform.vetoed(energies, cond)
        if bad is None:
            return energies
        if draws.unrolled():
            raise UserError(
                "layer energies beyond the veto are drawn again, which an exported graph cannot do: export a "
                "model trained with model.transform.veto=null"
            )
        for _ in range(ROUNDS):
            if bad is None or not bool(bad.any()):
                return energies
            wanted = cond[bad]
            again = self.energies.sample(wanted.n, self.transform.condition(wanted), generator)
            energies = energies.masked_scatter(bad[:, None], again)
            bad = self.transform.vetoed(energies, cond)
        return self.transform.limited(energies, cond)

    def log_prob(self, batch: Batch) -> Tensor:
        """Log density ``(B,)`` of layer energies, event numbers and cells, per unit of energy.

        Empty cells count with the density of their fill at its centre. Layer sums and cells are described
        both, so the numbers compare models with one transform, and are not a density of cells alone.
        """
        with self.evaluating():
            latent = self.encode(batch)
            return torch.stack(list(self.log_probs(latent).values())).sum(
                0
            ) + self.transform.log_det(batch)

    def log_probs(self, latent: Latent) -> dict[str, Tensor]:
        """Log densities ``(B,)`` of the latent numbers by part, of cells per unit of ``ln v``."""
        described = self.described(latent)
        values = {
            name: part.log_prob(described[name][0], described[name][1])
            for name, part in self.parts().items()
        }
        return {**values, "cells": values["cells"] + self.transform.log_slope(latent)}

    def parts(self) -> dict[str, Density]:
        """The densities by name."""
        parts = {"cells": self.cells, "energies": self.energies}
        return {name: part for name, part in parts.items() if part is not None}

    def described(self, latent: Latent) -> dict[str, Rows]:
        """What each part describes ``(B, D)``, given which context ``(B, C)``, and weights."""
        energies, cells, weight = latent.x["energies"], latent.x["cells"], latent.weight
        if self.energies is None:
            return {"cells": (torch.cat([energies, cells], dim=-1), latent.cond, weight)}
        return {
            "cells": (cells, self.context(latent), weight),
            "energies": (energies, latent.cond, weight),
        }

    def context(self, latent: Latent) -> Tensor | None:
        """What steers the cells ``(B, C)``."""
        layers = latent.x.get("layers")
        if self.energies is None or layers is None:
            return latent.cond
        return layers if latent.cond is None else torch.cat([latent.cond, layers], dim=-1)

    def _loss(self, latent: Latent, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Losses per number that a part describes, so that gradients are of order 1."""
        described = self.described(latent)
        terms: dict[str, tuple[Tensor, int]] = {}
        for name, part in self.parts().items():
            for key, term in part.terms(*described[name], generator).items():
                terms[key or name] = term
        found = {name: value for name, (value, _) in terms.items()}
        logged = {name: value.detach() for name, value in found.items()}
        values = {"loss": torch.stack(list(found.values())).sum(), **logged}
        exact = all(part.exact for part in self.parts().values())
        if not (exact and self.transform.measured):
            return values
        slope = latent.mean(self.transform.log_slope(latent))
        nats = torch.stack([count * logged[name] for name, (_, count) in terms.items()]).sum()
        numbers = sum(count for _, count in terms.values())
        bits = (nats - slope + self.transform.log_scale()) / (numbers * math.log(2))
        return {**values, "bits_per_dim": bits}
