"""The whole sampler as one module of tensors: conditions in physical units and noise to events in physical
units.

It holds the scaling of the conditions, the solver with all of its steps, the way back to physical units and
the threshold, as :meth:`~simulacra.training.generative.GenerativeModule.sample` does them; the noise is an
input (:mod:`simulacra.core.noise`), so that one set of numbers is one event everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, draws
from simulacra.core.draws import Kind
from simulacra.core.noise import Draw, Recording, Slices, widths
from simulacra.training.generative import GenerativeModule

CUT = ("grid", "layers", "image")
"""Kinds of events that are cut at the threshold."""
EVENTS = 11
"""Events of the run in which the draws are recorded."""


class Sampler:
    """A generator whose noise is handed in.

    Args:
        module: The generator, on the CPU; it is put into evaluation mode and is not trained any further.
        cond: Conditions of a few events, with which the draws are recorded.

    Raises:
        UserError: If it draws numbers that do not belong to single events, or works in a way that depends on
            them.
    """

    def __init__(self, module: GenerativeModule, cond: Conditions) -> None:
        self.module = module.eval().requires_grad_(False)
        self.spec = module.spec
        recording = Recording(cond.n, torch.Generator().manual_seed(0))
        with torch.no_grad(), draws.given(recording):
            self._events(cond)
        self.draws: Sequence[Draw] = tuple(recording.draws)
        self.widths: dict[Kind, int] = widths(self.draws)

    def __call__(self, cond: Conditions, numbers: dict[Kind, Tensor]) -> Batch:
        """Events of conditions and of all their numbers, each ``(B, n)``."""
        with torch.no_grad(), draws.given(Slices(self.draws, numbers)):
            return self._events(cond)

    def _events(self, cond: Conditions) -> Batch:
        latent = self.module.generate(cond)
        batch = self.module.decode(latent, cond)
        x = batch.x
        if self.spec.threshold > 0 and self.spec.kind in CUT:
            x = torch.where(x < self.spec.threshold, 0.0, x)
        return Batch(x, {}, batch.event, batch.mask)
