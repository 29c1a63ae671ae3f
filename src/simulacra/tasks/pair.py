"""What all tasks on two samples share: events of ``second`` are made to look like those of ``first``.

The data are those of :class:`~simulacra.data.pair.PairDataModule`, whose events carry a label. The truth is
``first``, and what is judged is ``second`` after :meth:`~simulacra.training.module.Module.applied`.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from simulacra.core import Batch, Latent, Spec, UserError
from simulacra.core.pair import FIRST, LABEL, SECOND, of_sample
from simulacra.training.module import Module


class PairTask(Module):
    """A module that learns from two samples; a family implements ``applied``, which meets unlabelled events.

    ``Latent.x["label"]`` is the label ``(B,)``, as a number.
    """

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
        size = self.spec.sample_batch if batch_size is None else batch_size
        found = of_sample(batch, SECOND)
        if size < 1 or not len(found):
            raise UserError(
                f"judging needs events of the second sample and a batch_size from 1, got {len(found)} "
                f"events and batch_size={size}"
            )
        starts = range(0, len(found), size)
        return Batch.cat([self.applied(found[start : start + size], generator) for start in starts])

    def encode(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """As of the base class, with the label."""
        latent = super().encode(batch, generator)
        label = batch.event[LABEL.name][:, 0].float()
        return replace(latent, x={**latent.x, LABEL.name: label})
