"""Unfolding event by event: draws of particle level, given detector level.

An unfolder is a generator of the particle level of an event, the features of a table, whose conditions are
its detector level. A model draws from the posterior :math:`p(z|x)` that belongs to the particle-level
spectrum of its training events; how far that prior shows in unfolded data is for an iteration to find out, as
in ``study=unfolding``.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import replace

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Spec, UserError
from simulacra.training.generative import GenerativeModule


class Unfolder(GenerativeModule, ABC):
    """See the module's docstring; a family adds what any generator owes."""

    @classmethod
    def unfit(cls, spec: Spec) -> str | None:
        """As of the base class; there must be a detector level."""
        if not spec.conditions:
            return f"it unfolds detector level, which are conditions, and {spec.name} has none"
        return super().unfit(spec)

    def applied(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        """The same events and weights, with a draw of the posterior as their particle level."""
        made = self.sample(batch.conditions(self.given), generator=generator)
        return replace(batch, x=made.x, event={**batch.event, **made.event})

    def posterior(
        self, cond: Conditions, draws: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Several draws for each event, ``(draws, B, F)`` in physical units on the CPU.

        Args:
            cond: Detector level of ``B`` events.
            draws: Number of draws.
            generator: Source of all randomness, on the module's device.

        Raises:
            UserError: If ``draws`` is not positive.
        """
        if draws < 1:
            raise UserError(f"a posterior needs draws from 1, got {draws}")
        repeated = Conditions.cat([cond] * draws)
        return self.sample(repeated, generator=generator).x.unflatten(0, (draws, len(cond)))
