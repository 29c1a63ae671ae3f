r"""White-box shower: a GAN whose generator splits partons, so that what it has learnt can be read.

Generates: jets as clouds of massless partons: one parton emits the others, one after the other.
Conditions: whatever the data set is conditioned on; none are needed.
Representation: jets told relative to their own axis and momentum, by etarel, phirel and ptrel, without
    weights that differ in sign.
Reference: Lai, Neill, Ploskon, Ringer 2020, arXiv:2012.06582.

The same small network draws each emission (:mod:`simulacra.nn.white_box`). It is trained against a critic
that sees final partons alone, and no splitting; the distribution of the shares that it draws,
:meth:`WhiteBoxShower.splittings`, is then an estimate of the splitting function. That the share z is that
of the parton that goes on, and that angles fall, is a convention which data of the same convention identify.

Note:
    Differs from the reference, whose settings we do not have: the shower follows one parton; numbers of
    emissions are drawn as often as in the training jets; the critic is a network of sets; azimuths are
    even. Sizes are ours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Self

import torch

from simulacra.core import Conditions, Latent, Spec
from simulacra.models.two_player import TwoPlayer
from simulacra.nn.white_box import PARTONS, REAL, SEEN, Emissions, SetCritic, Splitter, canvas
from simulacra.transforms.base import Batches
from simulacra.transforms.parton_canvas import PlainPartons
from simulacra.transforms.shower_trees import only_partons


class WhiteBoxShower(TwoPlayer):
    """See the module's docstring; arguments as of :class:`TwoPlayer`."""

    transform: PlainPartons
    net: Splitter
    critic: SetCritic
    stage = "partons"

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Jets of partons and nothing else."""
        return only_partons(spec)

    @property
    def canvas(self) -> int:
        """Most partons of a jet."""
        return self.spec.shape[0]

    def fit_transform(self, batches: Batches) -> Self:
        """As of the base class; how many partons there are, and what they look like."""
        super().fit_transform(batches)
        counts, seen, widest = torch.zeros(self.canvas), [], 0.0
        for batch in batches:
            events = self.drawn(self.encode(batch.to(self.device))).x[self.stage]
            real = events[..., REAL] > 0
            counts += torch.bincount(real.sum(1).cpu() - 1, minlength=self.canvas)
            seen.append(events[real][:, SEEN].cpu())
            widest = max(widest, float(events[real][:, SEEN][:, 1].exp().max()))
        self.net.learn(counts, widest)
        self.critic.learn(torch.cat(seen))
        return self

    def drawn(self, latent: Latent, generator: torch.Generator | None = None) -> Latent:
        """With what the critic sees of partons."""
        assert latent.mask is not None
        events = canvas(latent.x[self.stage], latent.mask.float())
        return replace(latent, x={self.stage: events})

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """One shower for each."""
        latent = super().generate(cond, generator)
        events = latent.x[self.stage]
        return replace(latent, x={self.stage: events[..., PARTONS]}, mask=events[..., REAL] > 0)

    @torch.no_grad()
    def splittings(self, cond: Conditions, generator: torch.Generator | None = None) -> Emissions:
        """What the generator draws for jets of given conditions: the share and the angle of each emission."""
        with self.evaluating():
            scaled = self.transform.condition(cond.to(self.device))
            return self.net.emissions(cond.n, scaled, generator)
