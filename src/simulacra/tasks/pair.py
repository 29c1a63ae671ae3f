"""What all tasks on two samples share: events of ``second`` are made to look like those of ``first``.

The data are those of :class:`~simulacra.data.pair.PairDataModule`, whose events carry a label. The truth is
``first``, and what is judged is ``second`` after :meth:`~simulacra.training.module.Module.applied`.

What was learnt from an event must not be applied to it (:mod:`simulacra.tasks.remembering`). Who needs all
rows changed trains on folds, each with one left out, and joins them (:mod:`simulacra.tasks.folds`).
"""

from __future__ import annotations

from dataclasses import replace

import torch

from simulacra.core import Batch, Latent, Spec
from simulacra.core.pair import FIRST, LABEL, SECOND, of_sample
from simulacra.tasks.remembering import Remembering


class PairTask(Remembering):
    """A module that learns from two samples; a family implements ``applied``, which meets unlabelled events
    and asks :meth:`refuse_learnt` first.

    ``Latent.x["label"]`` is the label ``(B,)``, as a number.
    """

    marks = (LABEL.name,)
    remedy = (
        "take other events, or train with data.folds=5 and data.fold=0 to 4 and give the five checkpoints as "
        "one file of folds"
    )

    @classmethod
    def unfit(cls, spec: Spec) -> str | None:
        """As of the base class; there must be two samples."""
        if LABEL not in spec.event:
            return "it compares two samples: take data=pair data/first=NAME data/second=NAME"
        return super().unfit(spec)

    def truth(self, batch: Batch) -> Batch:
        """The events of ``first``, without the label."""
        return of_sample(batch, FIRST)

    def judged(
        self,
        batch: Batch,
        *,
        batch_size: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Batch:
        """The events of ``second``, changed.

        Raises:
            UserError: If there are none, or ``batch_size`` is not positive.
        """
        chunks = self.chunks(of_sample(batch, SECOND), batch_size)
        return Batch.cat([self.applied(chunk, generator) for chunk in chunks])

    def encode(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """As of the base class, with the label."""
        latent = super().encode(batch, generator)
        label = batch.event[LABEL.name][:, 0].float()
        return replace(latent, x={**latent.x, LABEL.name: label})
