r"""SPADE: showers hit by hit, as long as they are, with an exact likelihood.

Generates the cells that are hit, layer by layer and in each layer with falling energies: layer, row, column
and energy of a hit in streams that follow each other with a delay, until a shower ends
(:mod:`simulacra.dynamics.hit_streams`). No number of hits is drawn before.
Conditions: the incident energy and whatever else the data set has, at every step. Representation: cells in
layers of any shapes and grids, or clouds of points in such cells (:mod:`simulacra.transforms.hit_lists`).
Reference: SPADE, arXiv:2606.11304; code uhh-pd-ml/SPADE.

Note:
    Here the head of a stop is one of the likelihood's, showers may have any number of hits, and energies that
    are seen in training have no noise. The published choices, a classifier of stops with a weight and a rate
    of its own, sixteen hits at least and a noise of a tenth, are those of ``model/size=published``; showers
    with fewer hits then have no likelihood. AdamW with a cosine takes the place of Ranger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Geometry, Latent, Spec, UserError
from simulacra.dynamics.clouds import by_length
from simulacra.dynamics.hit_streams import HitStreams, Lists
from simulacra.training.generative import GenerativeModule, Objective
from simulacra.training.optim import Optim
from simulacra.transforms.base import Batches
from simulacra.transforms.hit_lists import HitLists, columns_of


class SPADE(GenerativeModule):
    """See the module's docstring.

    Args:
        spec: Cells with a geometry and an incident energy, or points in such cells.
        given: Fields the generator is given (None: all conditions).
        transform: Makes the transform.
        hits: Makes the density from geometry, largest number of hits and width of the conditions.
        optim: What moves it.
        stop_optim: What moves the head of a stop, if it is trained apart (None: ``optim``).

    Raises:
        UserError: If the head of a stop has an optimizer of its own, but is part of the transformer.
    """

    transform: HitLists

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: Callable[[Spec, Sequence[Field]], HitLists],
        hits: Callable[[Geometry, int, int], HitStreams],
        optim: Optim,
        stop_optim: Optim | None = None,
    ) -> None:
        super().__init__(spec, given)
        self.transform = transform(spec, self.given_fields)
        self.hits = hits(
            self.transform.geometry, self.transform.most, self.transform.conditions.width
        )
        if stop_optim is not None and not self.hits.stop.apart:
            raise UserError(
                "the head of a stop looks at the transformer, which has one optimizer: set "
                "model.stop_optim=null, or take a classifier of stops"
            )
        self.optim, self.stop_optim = optim, stop_optim

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Cells in layers with an incident energy, or points in such cells; no event fields."""
        if spec.kind not in ("layers", "grid", "cloud"):
            return f"it generates hit cells, not events of kind '{spec.kind}'"
        if spec.geometry is None:
            return "it needs a geometry, whose cells are hit"
        if spec.kind == "cloud" and columns_of(spec) is None:
            return "it needs points with two positions, a depth and an energy"
        if spec.roles.get("energy") not in spec.conditions:
            return "it needs a condition that is the incident energy"
        if spec.event:
            return f"it generates hits alone, not {[field.name for field in spec.event]}"
        return None

    def fit_transform(self, batches: Batches) -> Self:
        """Statistics of the transform, then the start of the density from the first batch."""
        super().fit_transform(batches)
        with self.evaluating():
            latent = self.encode(next(iter(batches)).to(self.device))
            assert latent.mask is not None
            self.hits.fit(latent.x["hits"], latent.mask)
        return self

    def objectives(self) -> dict[str, Objective]:
        """One, the negative log-likelihood per hit; a second where the head of a stop is trained apart."""
        if self.stop_optim is None:
            return {"hits": Objective(self._loss, list(self.parameters()), self.optim)}
        apart = list(self.hits.stop.parameters())
        known = {id(parameter) for parameter in apart}
        rest = [parameter for parameter in self.parameters() if id(parameter) not in known]
        return {
            "hits": Objective(self._hit_loss, rest, self.optim),
            "stop": Objective(self._stop_loss, apart, self.stop_optim),
        }

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """Hit after hit."""
        scaled = self.transform.condition(cond)
        assert scaled is not None
        drawn = self.hits.sample(scaled, generator)
        return Latent({"hits": drawn.hits}, scaled, drawn.mask)

    def log_prob(self, batch: Batch) -> Tensor:
        """Log density ``(B,)`` of showers, per unit of the energy of each hit from the floor on; cells are
        hit with a probability.
        """
        with self.evaluating():
            latent = self.encode(batch)
            return self.hits.log_prob(self._lists(latent)) + self.transform.log_det(latent)

    def _lists(self, latent: Latent, generator: torch.Generator | None = None) -> Lists:
        assert latent.mask is not None
        assert latent.cond is not None
        return self.hits.lists(latent.x["hits"], latent.mask, latent.cond, generator)

    def _loss(self, latent: Latent, generator: torch.Generator | None) -> dict[str, Tensor]:
        return self._mean(latent, generator, self.hits.losses)

    def _hit_loss(self, latent: Latent, generator: torch.Generator | None) -> dict[str, Tensor]:
        return self._mean(latent, generator, self.hits.hit_losses)

    def _stop_loss(self, latent: Latent, generator: torch.Generator | None) -> dict[str, Tensor]:
        return self._mean(latent, generator, self.hits.stop_loss)

    def _mean(
        self,
        latent: Latent,
        generator: torch.Generator | None,
        losses: Callable[[Lists], dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """Losses over the hits and ends of weighted showers, those of like length together: their sum, and
        each by name.
        """
        assert latent.mask is not None
        sums: dict[str, Tensor] = {}
        for chosen, longest in by_length(latent.mask, least=4):
            some = latent[chosen]
            assert some.mask is not None
            short = replace(
                some, x={"hits": some.x["hits"][:, :longest]}, mask=some.mask[:, :longest]
            )
            for name, each in losses(self._lists(short, generator)).items():
                each = each if some.weight is None else each * some.weight.to(each)
                sums[name] = sums[name] + each.sum() if name in sums else each.sum()
        counts = latent.mask.sum(1).to(latent.x["hits"]) + 1
        counts = counts if latent.weight is None else counts * latent.weight.to(counts)
        total = counts.sum()
        parts = {name: each / torch.where(total == 0, 1.0, total) for name, each in sums.items()}
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}
